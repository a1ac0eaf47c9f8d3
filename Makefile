# Every target makes the virtual environment itself when it is missing or older than the two files that define it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
REAL   ?= ../shared/data/ultrasound/manifest.csv

.PHONY: help .venv demo real test test-slow check bench clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z.-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z.-]+):.*## /\1\t/' | expand -t 14

.venv: $(READY) ## set up the virtual environment

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## phantom hospitals, every arm, a report in runs/demo (about 4 minutes on 2 cores)
	$(BIN)/python simulations/run.py --config configs/simulation/demo.yaml --overwrite name=demo

real: $(READY) ## five unlike hospitals on real images (REAL=path to manifest.csv)
	$(BIN)/python simulations/run.py --config configs/simulation/real.yaml data.manifest=$(REAL)

test: $(READY) ## the tests (minutes)
	$(BIN)/python -m pytest -q

test-slow: $(READY) ## the tests that take longer
	$(BIN)/python -m pytest -q -m slow

check: $(READY) ## formatter, linter, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## speed and memory, as ratios against a named baseline
	$(BIN)/python -m simulations.bench

clean: ## remove the environment and every cache (runs/ and data/ stay)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
