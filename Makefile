# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= runs/demo
ROBOT ?= hw_configs/furuta.toml
SEED ?= 2
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test check lint type imports clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(READY)  ## create the virtual environment and install everything

$(READY): requirements/*.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "wombet needs Python 3.10 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY)  ## the whole loop on this machine: source task to weights swapped on a moving robot
	$(BIN)/wombet-offboard demo --robot $(ROBOT) --out $(OUT) --seed $(SEED)

test: $(READY)  ## the whole test suite
	$(PYTEST) tests

check: lint type imports test  ## lint, types, import rules, tests

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

clean:  ## remove the virtual environment and all runs
	rm -rf $(VENV) runs build dist
