# One obvious command for each thing a contributor does. Needs Python 3.11 or newer as $(PYTHON).
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SERVER := .venv-endpoint
FAST_TESTS := $(patsubst %,tests/test_%.py,habits imports registry definitions metrics recipes threads trojan datasets \
	written_files reach_values exhibit signature docs_code)

.PHONY: help setup demo test test-fast coverage hooks endpoint-server docs browser lint format bench clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / \t/' | expand -t 12

setup: $(READY)  ## Make the virtual environment and install onepixel with everything for development

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[dev]"
	@touch $@

demo: setup  ## Train a detector on digit networks, audit unseen ones, write a report and a picture below demo/
	$(BIN)/onepixel demo --output demo

test: setup  ## Run every test
	-$(MAKE) --silent endpoint-server
	$(BIN)/pytest --numprocesses auto --dist loadfile $(COVERAGE)

test-fast: setup  ## Run chosen tests of what most changes touch: less than a minute
	$(BIN)/pytest --numprocesses auto --dist loadfile -m "not slow" $(FAST_TESTS)

coverage:  ## Run every test, and fail where less than 90 % of the lines and branches of src/ are run
	$(MAKE) test COVERAGE="--cov --cov-report=term"

hooks: setup  ## Check style and types before every commit
	$(BIN)/pre-commit install

endpoint-server: $(SERVER)/.ready  ## Install MLServer in an environment of its own; without it one test is skipped

$(SERVER)/.ready:
	$(PYTHON) -m venv $(SERVER)
	$(SERVER)/bin/pip install --quiet "mlserver>=1.7" "onnxruntime>=1.21"
	@touch $@

docs: setup  ## Build the documentation site below site/; open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

browser: setup  ## Fetch a Chromium for the tests that look at the site; not needed where one is installed
	$(BIN)/playwright install --only-shell chromium

lint: setup  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## Format the code and mend what can be mended automatically
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## Measure the engines and population builds; writes results/
	$(BIN)/python benchmarks/signature.py
	$(BIN)/python benchmarks/population.py

clean:  ## Remove the virtual environment and everything that was built
	rm -rf $(VENV) $(SERVER) demo build site .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
