# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test test-slow lint clean-venv
.DEFAULT_GOAL := demo

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev]'
	touch $(INSTALLED)

demo: $(INSTALLED)  ## train on the embedded grammar and show what came of it (6 minutes on 2 cores)
	$(BIN)/transformer demo

test: $(INSTALLED)  ## the default test suite
	$(BIN)/python -m pytest

test-slow: $(INSTALLED)  ## the minutes-long tests
	$(BIN)/python -m pytest -m slow

lint: $(INSTALLED)  ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
