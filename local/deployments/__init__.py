"""Commands for deployments: write a new flow, deploy to a remote platform, activate a schedule."""
