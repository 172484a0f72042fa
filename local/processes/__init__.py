"""The platform as local processes, each run by supervisord."""
