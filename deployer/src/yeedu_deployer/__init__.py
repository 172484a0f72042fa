"""Registers the deployments of a prefect.yaml."""
