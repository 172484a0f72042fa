# The commands of the host; `make help` describes each in one line. They need git, make, and Python 3.11 or newer.
PYTHON ?= python3
PROGRAMS := .venv/bin
ASKED = $(if $(value ENVIRONMENT),--environment "$$ENVIRONMENT") $(if $(value ONLY),--only "$$ONLY") $(if $(value ARGS),-- $(ARGS))
# The code that rolls back an upgrade interrupted in its switch, since the checkout's own may be half new.
LEFT := .local/upgrade
IS_INTERRUPTED = test -f $(LEFT)/code/__main__.py && grep -qs '"phase": "switching"' $(LEFT)/journal.json
unexport PYTHONDONTWRITEBYTECODE # tests start hundreds of processes that import Prefect

.DEFAULT_GOAL := help
.PHONY: backup restore help up down logs status drain plan deploy new-flow activate-windows destroy clean install lint format docs check test test-unit test-e2e test-faults test-endurance test-abuse test-contract pictures bench size weather-table lock audit doctor upgrade

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Start the platform, as containers or (without Docker) local processes, and wait for its first Yeedu run
	@$(PYTHON) -m local up

down: ## Stop the platform; its data stays
	@$(PYTHON) -m local down

logs: ## Follow the logs of all services
	@$(PYTHON) -m local logs

status: ## Print the state of services, flow runs and deployments, and what takes space (ENVIRONMENT=, ONLY=)
	@$(PYTHON) -m local status $(ASKED) || [ $$? -eq 2 ]

doctor: ## Diagnose the platform, and say how to fix what is wrong (JSON=1; BUNDLE=1 for a support archive)
	@$(PYTHON) -m local doctor $(if $(value JSON),--json) $(if $(filter-out 1,$(value BUNDLE)),--bundle "$$BUNDLE",$(if $(value BUNDLE),--bundle))

drain: ## Stop the worker once its flow runs have ended; waits a day at most
	@$(PYTHON) -m local drain

plan: ## Show what `make deploy` would change (ENVIRONMENT=staging, ONLY="flow-a project/*", ARGS=--json)
	@$(PYTHON) -m local plan $(ASKED) || [ $$? -eq 2 ]

deploy: ## Apply prefect.yaml to the server (ENVIRONMENT=staging, ONLY="flow-a project/*")
	@$(PYTHON) -m local deploy $(ASKED)

new-flow: ## Create a flow that runs, with its test and its deployment (NAME=project/name)
	@$(PYTHON) -m local new-flow $(if $(value NAME),"$$NAME")

activate-windows: ## Activate the Windows deployment's schedule, once a Windows worker is attached
	@$(PYTHON) -m local activate-windows

backup: ## Write a backup of the running platform to backups/ (FILE=... for another path)
	@$(PYTHON) -m local backup $(if $(value FILE),"$$FILE")

restore: ## Replace the platform's data with a backup's (FILE=backups/NAME.tar), and start it
	@$(PYTHON) -m local restore $(if $(value FILE),"$$FILE")

upgrade: ## Upgrade to a later release, tried on a copy first, rolled back on failure (VERSION=1.2.3, FROM=path, DRY_RUN=1)
	@$(PYTHON) $$($(IS_INTERRUPTED) && echo $(LEFT)/code || echo -m local) upgrade $(if $(value VERSION),--version "$$VERSION") $(if $(value FROM),--from "$$FROM") $(if $(filter-out 0,$(value DRY_RUN)),--dry-run)

destroy: ## Stop the platform and delete its data: runs, deployments, secrets; asks first (YES=1: for scripts)
	@$(PYTHON) -m local destroy

clean: ## Delete the output of tests and tools; the platform's data stays
	rm -rf build bench/results.* tests/output .pytest_cache .ruff_cache .hypothesis
	@echo 'The platform is as it was; `make destroy` deletes its data.'

install: ## Create .venv with everything that a contributor needs, from the hashed lock
	@$(PYTHON) -m local install

lint: install ## Check style, types, shell scripts, Dockerfiles and workflows
	$(PROGRAMS)/ruff check
	$(PROGRAMS)/ruff format --check
	$(PROGRAMS)/pyright
	$(PROGRAMS)/pyright --pythonplatform Windows worker/attach
	$(PROGRAMS)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(PROGRAMS)/check-jsonschema --quiet --builtin-schema vendor.renovate .github/renovate.json
	$(PROGRAMS)/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(PROGRAMS)/check-jsonschema --quiet --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	@if [ -x $(PROGRAMS)/hadolint ]; then set -x; $(PROGRAMS)/hadolint */Dockerfile; else echo "hadolint has no wheel for this machine: Dockerfiles were left out"; fi
	@if command -v shellcheck >/dev/null; then set -x; shellcheck $(SHELL_SCRIPTS); else echo "shellcheck is not installed: shell scripts were left out"; fi

tests_of = $(patsubst %,$(1)/test_%.py,$(2)) # FOLDER, NAMES
QUICK = $(call tests_of,tests/architecture,compose first_hour house line_ends map pages private_names published_defects releases) \
	$(call tests_of,yeedu-operator/tests,cell_outputs exports kernel_protocol layers notebook_parameters options responses retry_policy urls) \
	$(call tests_of,deployer/tests,block_names diff report rooms schema selection spec steps) \
	$(call tests_of,worker/tests,attach_paths attach_settings missing_package patching printable run_process) \
	$(call tests_of,server/tests,generate_secrets guesses shared_state) \
	$(call tests_of,local/tests,archive child_environment doctor_backups doctor_masking doctor_settings dotenv follow_logs lock new_flow ports settings)
check: install ## Check style and types, and run the tests that take seconds and start no platform
	$(PROGRAMS)/ruff check
	$(PROGRAMS)/ruff format --check
	$(PROGRAMS)/pyright
	$(PROGRAMS)/pytest $(QUICK) $(ARGS)

docs: install ## Make the documentation's site, to be read without a network: build/docs/index.html
	@$(PROGRAMS)/python -m docs.site
	@echo 'Open $(CURDIR)/build/docs/index.html'

format: install ## Fix and format the code
	$(PROGRAMS)/ruff check --fix
	$(PROGRAMS)/ruff format

test: install ## Run every test that this machine can run (ARGS="-k name" for some; REQUIRE_DOCKER=1 to leave none out)
	$(PROGRAMS)/pytest $(ARGS)

test-unit: install ## Run the tests that start no platform
	$(PROGRAMS)/pytest --ignore=tests/e2e --ignore=tests/browser $(ARGS)

test-e2e: install ## Run the tests of the whole platform
	$(PROGRAMS)/pytest tests/e2e tests/browser $(ARGS)

pictures: install ## Retake the screenshots in docs/images, on a platform of their own
	PICTURES=1 LONG_TESTS=1 $(PROGRAMS)/pytest tests/browser/test_tour.py --numprocesses=0 $(ARGS)

test-faults: install ## Inject faults into the platform, and print what held (FAULT_KILLS=3, FAULT_OUTAGE_MINUTES=1)
	ALL_FAULTS=1 $(PROGRAMS)/pytest tests/faults --numprocesses=0 $(ARGS)

test-abuse: install ## Attack the platform, and print what held and which risks docs/security.md accepts
	$(PROGRAMS)/pytest tests/abuse --numprocesses=0 $(ARGS)

test-endurance: install ## Run a compressed day, and look for leaks (ENDURANCE_HOURS=2 for a short one)
	$(PROGRAMS)/pytest tests/endurance --numprocesses=0 $(ARGS)

test-contract: install ## Check the operator's assumptions against your own Yeedu (YEEDU_URL=..., docs/yeedu.md)
	@$(PROGRAMS)/python yeedu-operator/contract $(ARGS)

bench: install ## Run the benchmarks, side by side with stock Prefect (ARGS="operator" for one part, ARGS=peers for other platforms)
	$(PROGRAMS)/python -m bench $(ARGS)

size: ## Say what a platform for so many flow runs a minute needs (RUNS=100, SECONDS=60, TASKS=10, JOBS=1)
	@$(PYTHON) bench/sizing.py --runs "$(RUNS)" $(if $(value SECONDS),--seconds "$(SECONDS)") $(if $(value TASKS),--tasks "$(TASKS)") $(if $(filter-out 0,$(value JOBS)),--jobs)

weather-table: install ## Compare the operator's behaviour under faults with another commit's (BEFORE=COMMIT)
	$(PROGRAMS)/python -m bench.weather $(BEFORE)

lock: ## Compile flows/requirements.txt and requirements/*.in to hashed locks (ARGS=--upgrade for new versions)
	@$(PYTHON) -m local lock $(ARGS)

.PHONY: release bundle
release: ## Commit and tag a version, with the changelog's open section as its own; pushes nothing (VERSION=1.4.0)
	@$(PYTHON) -m local release $(if $(value VERSION),"$$VERSION")

bundle: ## Write one file from which a machine without a network starts the platform (FILE=..., PYTHONS=3.13)
	@$(PYTHON) -m local bundle $(if $(value FILE),"$$FILE") $(if $(value PYTHONS),--pythons "$$PYTHONS")

.PHONY: stack stack-up
stack: ## Write the platform as a stack for a Docker Swarm, and say what it leaves out (FILE=..., docs/swarm.md)
	@$(PYTHON) -m local stack $(if $(value FILE),"$$FILE")

stack-up: ## Run the platform on this machine's Docker Swarm, and wait until everything works (docs/swarm.md)
	@$(PYTHON) -m local stack-up

audit: install ## Look for secrets in files and known vulnerabilities in locked versions; write bills of materials
	UV=$(CURDIR)/$(PROGRAMS)/uv requirements/audit

SHELL_SCRIPTS = $(shell git ls-files -z | xargs -0 grep -lE '^\#!.*\b(ba)?sh\b' --)
