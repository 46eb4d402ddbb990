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
.PHONY: help install demo bench-transfer bench-runtime test test-robot check lint type imports coverage-safety mutation clean

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

bench-runtime: OUT := runs/bench-runtime
bench-runtime: $(READY)  ## how well the runtime keeps time; SECONDS= per cell, CELLS="50-loaded …" for a part, SWAPS=
	PYTHONPATH=tests/benchmarks:tests/support $(BIN)/python -m runtime --out $(OUT) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(CELLS),--cells $(CELLS)) $(if $(SWAPS),--swaps $(SWAPS))

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

SAFETY := protocol/modes.py,protocol/envelope.py,protocol/bundle.py,onboard/safety.py,onboard/modes.py,$\
	onboard/hotswap.py,onboard/staging.py,onboard/graph_check.py,onboard/weights_check.py,onboard/desk.py,$\
	onboard/command.py,onboard/control_socket.py,onboard/estop.py,onboard/estop_latch.py,$\
	onboard/estop_gpio.py,onboard/estop_input.py,onboard/guard.py,onboard/heartbeat.py
SAFETY_TESTS := $(addprefix tests/unit/test_,$(addsuffix .py,modes envelope safety bundle_manifest graph_check \
	weights_check hotswap hotswap_corners staging policy_commands command desk control_socket estop estop_sources guard))

coverage-safety: $(READY)  ## fail unless the unit tests take every branch of the safety code
	mkdir -p runs
	COVERAGE_FILE=runs/.coverage-safety $(BIN)/python -m coverage run --branch --include=$(SAFETY) \
		-m pytest -q -p no:cacheprovider $(SAFETY_TESTS)
	COVERAGE_FILE=runs/.coverage-safety $(BIN)/python -m coverage report --show-missing --fail-under=100

mutation: $(READY)  ## mutate the safety code, see whether the tests notice; goes on where it was interrupted
	$(BIN)/python -m pip install --quiet -c requirements/constraints.txt -r requirements/mutation.txt
	$(BIN)/python tests/mutation/mutate.py --out runs/mutation

clean:  ## remove the virtual environment and all runs
	rm -rf $(VENV) $(ROBOT_VENV) runs build dist
