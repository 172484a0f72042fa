"""The platform on a Docker Swarm: the compose files rendered for `docker stack deploy`."""
