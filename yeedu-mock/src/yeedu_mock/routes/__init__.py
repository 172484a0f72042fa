"""The API's HTTP and websocket routes; all state and work is in `state` and `execution`."""
