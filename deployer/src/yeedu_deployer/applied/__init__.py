"""What is written to the server, part by part."""
