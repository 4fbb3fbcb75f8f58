# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
INSTALLED_DOCS := .venv/installed-docs
CONSTRAINTS := constraints.txt

.PHONY: demo test test-slow docs lint upgrade check-newest clean-venv
.DEFAULT_GOAL := demo

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint $(CONSTRAINTS) --compile-bytecode \
		--build-constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $(INSTALLED)

# Sphinx and what it needs are installed only for the documentation.
$(INSTALLED_DOCS): $(INSTALLED)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint $(CONSTRAINTS) --compile-bytecode \
		--build-constraint $(CONSTRAINTS) --editable '.[dev,docs]'
	touch $(INSTALLED_DOCS)

demo: $(INSTALLED)  ## train on the embedded grammar and show the results (minutes on 2 cores)
	$(BIN)/transformer demo

test: $(INSTALLED)  ## the default test suite
	$(BIN)/python -m pytest

test-slow: $(INSTALLED)  ## the tests that take minutes; OPTIONS="..." goes to pytest
	$(BIN)/python -m pytest -m slow $(OPTIONS)

docs: $(INSTALLED_DOCS)  ## the documentation, into docs/_build/html; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html
	$(BIN)/python -m tests.documentation

lint: $(INSTALLED)  ## ruff (lint and format), mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

upgrade: $(INSTALLED)  ## write the newest versions into constraints.txt and install them
	$(BIN)/uv pip compile --quiet --upgrade --python $(BIN)/python --extra dev --extra docs --no-annotate \
		--custom-compile-command 'make upgrade' --output-file $(CONSTRAINTS) pyproject.toml
	$(MAKE) $(INSTALLED)

check-newest: $(INSTALLED)  ## does the package work with the newest versions of its dependencies?
	.ci/newest

clean-venv:
	rm -rf .venv .venv-newest
