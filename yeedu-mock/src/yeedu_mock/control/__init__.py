"""What tests may change about a running mock: switches, faults, and the journal of requests."""
