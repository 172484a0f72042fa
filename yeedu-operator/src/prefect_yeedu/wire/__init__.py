"""What this client and Yeedu exchange, and how to read and write it; nothing here does any I/O."""
