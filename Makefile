# The two commands of a newcomer are `make demo` and `make test`; everything else is listed by `make`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "huntaze needs CPython 3.11 to 3.13; found %d.%d. Choose one with: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV) (once, about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: install
install: $(STAMP) ## create .venv from the hashed lock

.PHONY: demo
demo: $(STAMP) ## run a real campaign on the embedded stack, then stop it (SCENARIO=cached, review or budget)
	@$(BIN)/huntaze demo $(if $(SCENARIO),--scenario $(SCENARIO))

.PHONY: up
up: $(STAMP) ## start the embedded stack and keep it running
	@$(BIN)/huntaze up

.PHONY: test
test: $(STAMP) ## run the tests, in three processes
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: chaos
chaos: $(STAMP) ## run a campaign while servers are killed, and check its promises (about 10 minutes)
	@$(BIN)/python -m local.chaos

.PHONY: bench
bench: $(STAMP) ## run the benchmarks and write benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks

.PHONY: lint
lint: $(STAMP) ## lint, formatting, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: $(STAMP) ## format the code and mend what lint can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: doctor
doctor: $(STAMP) ## check every part and say how to mend it
	@$(BIN)/huntaze doctor

.PHONY: lock
lock: $(STAMP) ## renew both locks from pyproject.toml (installs uv beside the venv)
	@test -x .huntaze/uv/bin/uv || ($(PYTHON) -m venv .huntaze/uv && .huntaze/uv/bin/pip install --quiet uv)
	@.huntaze/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	@.huntaze/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade --custom-compile-command "make lock" -c requirements.lock --extra dev pyproject.toml -o requirements-dev.lock

.PHONY: clean
clean: ## remove the venv, the stack's state and every cache
	@rm -rf $(VENV) .huntaze .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
