"""The Linux worker of the platform."""
