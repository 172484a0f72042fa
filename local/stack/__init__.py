"""The platform on a Docker Swarm: what the compose files say, as `docker stack deploy` takes it."""
