"""The import path of the published guide."""
