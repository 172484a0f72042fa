"""Git repositories: read, checked, and explained without showing a secret."""
