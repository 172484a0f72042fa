"""What has to be done: the desired state against the server, before anything is written."""
