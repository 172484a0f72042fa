# The commands of the host; each is described in one line by `make help`. Only git, make and Python 3.11 are needed.
PYTHON ?= python3
VENV := .venv/bin
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help up down logs status deploy clean install lint format test test-unit test-e2e lock

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Start the platform and wait until its first Yeedu run is over (containers, or local processes without Docker)
	@$(PYTHON) -m local up

down: ## Stop the platform; its data stays
	@$(PYTHON) -m local down

logs: ## Follow the logs of all services
	@$(PYTHON) -m local logs

status: ## Print the state of every service
	@$(PYTHON) -m local status

deploy: ## Register what deployer/prefect.yaml says, once more
	@$(PYTHON) -m local deploy

clean: ## Stop the platform and delete its data: runs, deployments, secrets
	@$(PYTHON) -m local clean
