"""The HTTP and websocket shape of the API; everything it knows lives in `state` and `execution`."""
