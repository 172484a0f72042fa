"""What asks the server: each probe makes some calls and notes what they show."""
