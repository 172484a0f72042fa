"""The platform as containers of a Compose project."""
