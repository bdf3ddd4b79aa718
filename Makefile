# The same verbs by hand and in CI: make setup check test bench run
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PY := .venv/bin/python
# Two worker processes halve the suite's time on two cores; 0 runs everything in one process.
TEST_WORKERS ?= 2
TESTS ?= tests
# What "make bench" measures: modules of bench/ that print their figures.
BENCHES ?= decide overhead
# COVERAGE=1 fails the suite unless router_core is covered to the last branch ("make coverage" shows what is missing).
COVERAGE ?= 0
GATE := --cov=router_core --cov-branch --cov-report=term:skip-covered --cov-fail-under=100

# numpy and tokenizers would each start a thread per core in each of them.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: train help setup setup-run setup-dev check test coverage bench run format lock clean

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

setup: ## Everything serving, testing and measuring needs, from the locks
	@scripts/setup dev
	@scripts/system-packages
	@scripts/setup-sdks

setup-run:
	@scripts/setup run

setup-dev:
	@scripts/setup dev

run: setup-run ## Serve on HOST:PORT (127.0.0.1:8080); without provider keys, with built-in demo providers
	@MOE_PYTHON=$(PY) exec scripts/with-keys $(PY) -m gateway.cli serve

check: setup-dev ## Lint, types, import floors, sizes, generated files, supply chain
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy router_core gateway scripts/*.py
	.venv/bin/lint-imports --no-cache
	$(PY) scripts/check_sizes.py
	$(PY) scripts/check_generated.py
	$(PY) scripts/check_supply_chain.py
	$(PY) scripts/check_tree.py

test: setup ## The whole suite; TESTS=path for a part of it
	$(PY) -m pytest -n $(TEST_WORKERS) --dist loadfile $(if $(filter 1,$(COVERAGE)),$(if $(filter tests,$(TESTS)),$(GATE))) $(TESTS)

coverage: setup-dev ## router_core's branch coverage, from the tests that exercise it, with the missing lines
	$(PY) -m pytest -n $(TEST_WORKERS) --dist loadfile -q --cov=router_core --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100 tests/unit tests/behaviour

train: setup-dev ## Make the task classifier's weights (config/classifier.npz) from training/corpus
	@$(PY) -m training.train

bench: setup-dev ## Measure: decisions and the gateway's overhead
	@for each in $(BENCHES); do $(PY) -m bench.$$each; done

format: setup-dev ## Apply the formatter and the fixes that are safe
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lock: setup-dev ## Resolve the dependencies again and write the locks
	scripts/lock

clean: ## Remove what can be made again
	rm -rf .venv .venv-sdk3 var .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis tests/sdk/node/node_modules
