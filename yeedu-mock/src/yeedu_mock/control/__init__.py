"""What tests can change and read in a running mock: switches, faults, and the journal of requests."""
