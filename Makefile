# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= runs/demo
ROBOT ?= hw_configs/furuta.toml
SEED ?= 2
REAL_TIME := tests/chaos tests/e2e
ROBOT_PYTHON ?= python3.10
ROBOT_VENV ?= .venv-robot
ROBOT_READY := $(ROBOT_VENV)/.ready
SERVER_ONLY := $(addprefix --ignore=,tests/unit/server tests/property/server tests/e2e/test_stages.py tests/e2e/test_closed_loop.py)
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo bench-transfer test test-robot check lint type imports clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(READY)  ## create the virtual environment and install everything

$(READY): requirements/*.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "wombet needs Python 3.10 or newer; set PYTHON=")'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) \
		|| { rm -rf $(VENV); echo "install python3-venv first: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c requirements/constraints.txt -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY)  ## the whole loop on this machine: source task to weights swapped on a moving robot
	$(BIN)/wombet-offboard demo --robot $(ROBOT) --out $(OUT) --seed $(SEED)

bench-transfer: OUT := runs/bench
bench-transfer: $(READY)  ## learning methods against each other, resumable; FULL=1 for every pair, PAIRS=, METHODS=, SEEDS= for a part
	$(BIN)/python -m pip install --quiet -c requirements/constraints.txt -r requirements/bench.txt
	$(BIN)/wombet-offboard bench --out $(OUT) $(if $(FULL),--select.full) $(if $(PAIRS),--select.pairs $(PAIRS)) \
		$(if $(METHODS),--select.methods $(METHODS)) $(if $(SEEDS),--select.seeds $(SEEDS))

test: $(READY)  ## the whole test suite; what runs in real time has the machine to itself
	$(BIN)/python -m pytest -n 2 --dist loadfile tests $(addprefix --ignore=,$(REAL_TIME))
	$(BIN)/python -m pytest $(REAL_TIME)

check: lint type imports test  ## lint, types, import rules, tests

test-robot: $(ROBOT_READY)  ## protocol and onboard on the robot's Python (ROBOT_PYTHON, default python3.10)
	$(ROBOT_VENV)/bin/python -m pytest -n 2 --dist loadfile tests $(SERVER_ONLY) $(addprefix --ignore=,$(REAL_TIME))
	$(ROBOT_VENV)/bin/python -m pytest $(REAL_TIME) $(SERVER_ONLY)

$(ROBOT_READY): requirements/*.txt pyproject.toml
	$(ROBOT_PYTHON) -m venv $(ROBOT_VENV)
	$(ROBOT_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(ROBOT_VENV)/bin/python -m pip install --quiet -c requirements/constraints.txt -r requirements/robot-test.txt
	$(ROBOT_VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

clean:  ## remove the virtual environment and all runs
	rm -rf $(VENV) $(ROBOT_VENV) runs build dist
