"""The platform's settings: where they come from, and which of them have to be set together."""
