# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= runs/demo
ROBOT ?= hw_configs/furuta.toml
SEED ?= 2
REAL_TIME := $(addprefix tests/chaos/test_,control_process.py estop_process.py halt_process.py self_test_process.py whole_robot.py) $\
	$(addprefix tests/e2e/test_,arm_process.py budget.py closed_loop.py hil.py hil_bodies.py hil_remote.py mcu_board.py mcu_process.py quadruped_process.py)
CLUSTER := tests/scale
LOCK_STEP := tests/lock_step
ROBOT_PYTHON ?= python3.10
ROBOT_VENV ?= .venv-robot
ROBOT_READY := $(ROBOT_VENV)/.ready
SERVER_ONLY := $(CLUSTER) $(LOCK_STEP) tests/unit/server tests/property/server $\
	$(addprefix tests/chaos/test_,curve_door.py hostile_peers.py storm.py) $\
	$(addprefix tests/e2e/test_,closed_loop.py hil.py hil_bodies.py hil_remote.py page_browser.py quadruped_process.py stages.py)
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo bench-transfer bench-flagship bench-runtime bench-gpu bench-data bench-scale sizing chaos test-one-apart hil bench-harness test test-lock-step test-scale test-page test-robot test-exports test-tensorrt flash provision deploy test-fleet check lint type imports coverage-safety mutation fuzz docs test-tutorial conformance clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

install: $(READY)  ## create the virtual environment and install everything

$(READY): requirements/*.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "wombet needs Python 3.10 or newer; set PYTHON=")'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) \
		|| { rm -rf $(VENV); echo "install python3-venv first: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c requirements/constraints.txt -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/view.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY)  ## the whole loop on this machine: source task to weights swapped on a moving robot
	$(BIN)/wombet-offboard demo --robot $(ROBOT) --out $(OUT) --seed $(SEED)

bench-transfer: OUT := runs/bench
bench-transfer: $(READY)  ## learning methods against each other, resumable; FULL=1 for every pair, PAIRS=, METHODS=, SEEDS= for a part
	$(BIN)/python -m pip install --quiet -c requirements/constraints.txt -r requirements/bench.txt
	$(BIN)/wombet-offboard bench --out $(OUT) $(if $(FULL),--select.full) $(if $(PAIRS),--select.pairs $(PAIRS)) \
		$(if $(METHODS),--select.methods $(METHODS)) $(if $(SEEDS),--select.seeds $(SEEDS))

bench-flagship: OUT := runs/bench
bench-flagship: $(READY)  ## the flagship learns in real time, two minutes a cell; resumable; leave the machine alone; METHODS=, SEEDS= for a part
	$(BIN)/wombet-offboard bench --out $(OUT) --select.pairs furuta_live --speed-s 0 \
		$(if $(METHODS),--select.methods $(METHODS)) $(if $(SEEDS),--select.seeds $(SEEDS))

bench-runtime: OUT := runs/bench-runtime
bench-runtime: $(READY)  ## how well the runtime keeps time; SECONDS= per cell, CELLS="50-loaded …" for a part, SWAPS=
	PYTHONPATH=tests/benchmarks:tests/support $(BIN)/python -m runtime --out $(OUT) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(CELLS),--cells $(CELLS)) $(if $(SWAPS),--swaps $(SWAPS))

bench-gpu: OUT := runs/bench-gpu
bench-gpu: $(if $(BENCH_PYTHON),,$(READY))  ## on a machine with CUDA: learner, planner and the two-slot flip of captured graphs; BENCH_PYTHON= one with torch for CUDA
	PYTHONPATH=.:tests/benchmarks:tests/support $(or $(BENCH_PYTHON),$(BIN)/python) -m gpu --out $(OUT) $(if $(SECONDS),--seconds $(SECONDS))

bench-data: OUT := runs/bench-data
bench-data: $(READY)  ## how fast records become durable on the server, beside peers; ROUNDS=, SCALE=0.1 for a quick look
	$(BIN)/python -m pip install --quiet -c requirements/constraints.txt -r requirements/bench.txt
	PYTHONPATH=tests/benchmarks:tests/support $(BIN)/python -m data --out $(OUT) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(SCALE),--scale $(SCALE))

sizing: $(READY)  ## what a robot-hour costs a server, and fleets, from measured unit costs; MEASURED= your own, PRICES="--core-hour … --gb-month …"
	PYTHONPATH=tests/benchmarks $(BIN)/python -m sizing $(if $(MEASURED),--measured $(MEASURED)) $(PRICES)

chaos: OUT := runs/chaos
chaos: $(READY)  ## kill, cut, fill and damage everything between ring and server, then count; KILLS= (200), COURSE=harsh, STORM= another seed
	PYTHONPATH=tests/support $(BIN)/python -m storm --out $(OUT) $(if $(KILLS),--kills $(KILLS)) $(if $(STORM),--seed $(STORM)) \
		$(if $(COURSE),--course $(COURSE))

test-one-apart: OUT := runs/one-apart
test-one-apart: BEFORE ?= a91de54
test-one-apart: $(READY)  ## an agent, then a server, of the release before (BEFORE=commit, 0.1.0) in the storm beside the rest of this one; KILLS= (20)
	mkdir -p $(OUT)/before
	git archive $(BEFORE) onboard offboard protocol hw_configs sim_harness tests/support | tar -x -C $(OUT)/before
	for other in agent server; do PYTHONPATH=tests/support $(BIN)/python -m storm --out $(OUT)/$$other --kills $(or $(KILLS),20) \
		--other $$other --tree $(OUT)/before || exit 1; done

hil: OUT := runs/hil
hil: $(READY)  ## the real runtime against the simulated robot, with faults; ONLY="name …", QUICK=1 for a few, JOBS=, STATE=, SERIAL=, ONBOARD=, MORE="--option …"
	$(BIN)/wombet-sim hil --robot $(ROBOT) --out $(OUT) $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) \
		$(if $(JOBS),--jobs $(JOBS)) $(if $(STATE),--state $(STATE)) $(if $(SERIAL),--serial $(SERIAL)) \
		$(if $(ONBOARD),--onboard $(ONBOARD)) $(if $(filter command environment,$(origin SEED)),--seed $(SEED)) $(MORE)

bench-harness: OUT := runs/bench-harness
bench-harness: $(READY)  ## how fast the harness is: lock-step with the onboard code, the plant beside bare MuJoCo
	PYTHONPATH=tests/benchmarks:tests/support $(BIN)/python -m harness --out $(OUT)

test: $(READY) coverage-safety  ## the whole test suite, safety under coverage; what runs in real time has the machine to itself
	$(BIN)/python -m pytest -n 2 --dist loadfile tests $(addprefix --ignore=,$(REAL_TIME) $(CLUSTER) $(LOCK_STEP) $(SAFETY_TESTS))
	$(BIN)/python -m pytest $(REAL_TIME)

test-lock-step: $(READY)  ## every scenario that needs no processes on every robot, in simulated time; some minutes
	$(BIN)/python -m pytest -n 2 $(LOCK_STEP)

test-scale: $(READY)  ## generation, ensembles and grids on a Ray cluster of two nodes, workers killed; installs Ray
	$(BIN)/python -m pip install --quiet -c requirements/constraints.txt -r requirements/scale.txt
	$(BIN)/python -m pytest $(CLUSTER)

bench-scale: OUT := runs/bench-scale
bench-scale: $(READY)  ## generation and one learner on one worker and on two; leave the machine alone
	PYTHONPATH=tests/benchmarks:tests/support $(BIN)/python -m scale --out $(OUT)

test-page: OUT := runs/page
test-page: $(READY)  ## the live page in Debian's chromium, clicked through beside a robot that learns; pictures in OUT; 5 minutes
	@test -x /usr/bin/chromium || { echo "install chromium first: apt install chromium"; exit 1; }
	PYTHONPATH=tests/support $(BIN)/python tests/page/walk.py --out $(OUT)

check: lint type imports test  ## lint, types, import rules, tests

test-robot: $(ROBOT_READY)  ## protocol and onboard on the robot's Python (ROBOT_PYTHON, default python3.10)
	$(ROBOT_VENV)/bin/python -m pytest -n 2 --dist loadfile tests $(addprefix --ignore=,$(SERVER_ONLY) $(REAL_TIME))
	$(ROBOT_VENV)/bin/python -m pytest $(filter-out $(SERVER_ONLY),$(REAL_TIME))

$(ROBOT_READY): requirements/*.txt pyproject.toml
	$(ROBOT_PYTHON) -m venv $(ROBOT_VENV)
	$(ROBOT_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(ROBOT_VENV)/bin/python -m pip install --quiet -c requirements/constraints.txt -r requirements/robot-test.txt
	$(ROBOT_VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

READERS_VENV ?= .venv-readers
READERS := $(READERS_VENV)/.ready
FOXGLOVE := @mcap/core@2.2.2 @mcap/nodejs@1.0.2 @mcap/support@1.1.0

test-exports: $(READERS)  ## exports read back by lerobot's, Minari's, Rerun's and (where npm is) Foxglove's own readers, in a venv of their own
	$(READERS_VENV)/bin/python -m pytest tests/unit/server/test_data_readers.py tests/unit/server/test_data_minari.py \
		tests/unit/server/test_data_lerobot.py

$(READERS): requirements/*.txt pyproject.toml
	$(PYTHON) -m venv $(READERS_VENV)
	$(READERS_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(READERS_VENV)/bin/python -m pip install --quiet -r requirements/export-readers.txt
	$(READERS_VENV)/bin/python -m pip install --quiet --no-deps -r requirements/lerobot.txt
	$(READERS_VENV)/bin/python -m pip install --quiet --no-deps -e .
	! command -v npm > /dev/null || npm install --silent --no-package-lock --prefix $(READERS_VENV)/foxglove $(FOXGLOVE)
	touch $@

TENSORRT_VENV ?= .venv-tensorrt
TENSORRT := $(TENSORRT_VENV)/.ready

test-tensorrt: $(TENSORRT)  ## our graphs through NVIDIA's parser and builder, without a GPU, in a venv of their own on top of $(VENV)
	$(TENSORRT_VENV)/bin/python -c 'import tensorrt_rtx'
	$(TENSORRT_VENV)/bin/python -m pytest tests/unit/server/test_tensorrt_rtx.py

$(TENSORRT): $(READY) requirements/tensorrt-rtx.txt
	$(BIN)/python -m venv --clear $(TENSORRT_VENV)
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' \
		>"$$($(TENSORRT_VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])')/below.pth"
	$(TENSORRT_VENV)/bin/python -m pip install --quiet --ignore-installed -r requirements/tensorrt-rtx.txt
	touch $@

FLEET ?= hw_configs/fleet.toml
KEYS ?= runs/keys
UNIT_GIVEN = @test -n "$(UNIT)" || { echo "set UNIT= to a unit of $(FLEET)"; exit 1; }
UNIT_OPTIONS = $(UNIT) --fleet $(FLEET) $(if $(filter command environment,$(origin ROBOT)),--robot $(ROBOT))

flash: OUT := runs/fleet
flash: $(READY)  ## a Jetson from its box: UNIT=, BSP= Linux_for_Tegra, CONFIRM= its serial; PLAN=1 only says what it would do
	$(UNIT_GIVEN)
	$(BIN)/wombet-offboard fleet $(if $(PLAN),plan $(UNIT_OPTIONS),flash $(UNIT_OPTIONS) --keys $(KEYS) --out $(OUT) \
		$(if $(BSP),--bsp $(BSP)) $(if $(CONFIRM),--confirm $(CONFIRM)) $(if $(ACCEPT_LICENSE),--accept-license))

provision: OUT := runs/fleet
provision: $(READY)  ## the same on a Jetson that runs already, over ssh: UNIT=
	$(UNIT_GIVEN)
	$(BIN)/wombet-offboard fleet provision $(UNIT_OPTIONS) --keys $(KEYS) --out $(OUT)

deploy: OUT := runs/fleet
deploy: $(READY)  ## a release of this source tree to every unit of FLEET=: canaries, their verdict, the rest; REPOSITORY=, HEALTH=60
	$(BIN)/wombet-offboard fleet deploy --fleet $(FLEET) --keys $(KEYS) --out $(OUT) \
		$(if $(REPOSITORY),--repository $(REPOSITORY)) $(if $(HEALTH),--health-s $(HEALTH))

test-fleet: OUT := runs/test-fleet
test-fleet: $(READY)  ## three field units as containers with real systemd: deploys, broken releases, power cuts; root; ONLY="name …", HEALTH_S=60 as on a robot
	$(if $(HEALTH_S),HEALTH_S=$(HEALTH_S)) PYTHONPATH=.:tests:tests/support $(BIN)/python -m fleet --out $(OUT) $(if $(ONLY),--only $(ONLY))

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

SAFETY := protocol/modes.py,protocol/envelope.py,protocol/actuation.py,protocol/bundle.py,onboard/safety.py,onboard/modes.py,$\
	onboard/hotswap.py,onboard/staging.py,onboard/graph_check.py,onboard/weights_check.py,onboard/desk.py,$\
	onboard/command.py,onboard/control_socket.py,onboard/estop.py,onboard/estop_latch.py,$\
	onboard/estop_gpio.py,onboard/estop_input.py,onboard/guard.py,onboard/heartbeat.py,$\
	onboard/lifecycle.py,onboard/orders.py,onboard/patience.py,onboard/senses.py,onboard/helm.py,$\
	onboard/tick.py,onboard/row_packer.py,onboard/step_judge.py,onboard/probation.py
SAFETY_TESTS := $(addprefix tests/unit/test_,$(addsuffix .py,modes envelope actuation safety arm5 bundle_manifest graph_check \
	weights_check hotswap hotswap_corners staging policy_commands command desk control_socket estop estop_sources guard \
	control control_estop tick_record tick_steps row_packer step_judge probation power_on))

coverage-safety: $(READY)  ## fail unless the unit tests take every branch of the safety code
	mkdir -p runs
	COVERAGE_FILE=runs/.coverage-safety $(BIN)/python -m coverage run --branch --include=$(SAFETY) \
		-m pytest -q -p no:cacheprovider $(SAFETY_TESTS)
	COVERAGE_FILE=runs/.coverage-safety $(BIN)/python -m coverage report --show-missing --fail-under=100

mutation: $(READY)  ## mutate the safety code, see whether the tests notice; goes on where it was interrupted
	$(BIN)/python -m pip install --quiet -c requirements/constraints.txt -r requirements/mutation.txt
	$(BIN)/python tests/mutation/mutate.py --out runs/mutation

fuzz: OUT := runs/fuzz
fuzz: $(READY)  ## every decoder of foreign bytes against damaged ones; N= executions each, PIECE= at most so many now, ONLY=
	$(BIN)/python -m pip install --quiet -r requirements/fuzz.txt || echo "without atheris: drawn blindly"
	PYTHONPATH=tests/fuzz:tests/support $(BIN)/python tests/fuzz/fuzz_run.py --out $(OUT) $(if $(N),--executions $(N)) \
		$(if $(PIECE),--piece $(PIECE)) $(if $(ONLY),--only $(ONLY))

test-tutorial: OUT := runs/tutorial
test-tutorial: $(READY)  ## every command of docs/tutorial.md as it stands; some minutes, two cores
	PYTHONPATH=tests/support $(BIN)/python -m tutorial --out $(OUT)

docs: $(READY)  ## the documentation as a site in runs/site, with an API reference; a warning is an error
	$(BIN)/python -m pip install --quiet -c requirements/constraints.txt -r requirements/docs.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

conformance: OUT := runs/conformance
conformance: $(READY)  ## the public TUF conformance suite against the robot's update client; SUITE= a checkout of tuf-conformance
	@test -d "$(SUITE)/tuf_conformance" || { echo "set SUITE= to a checkout of theupdateframework/tuf-conformance"; exit 1; }
	@command -v faketime >/dev/null || { echo "install faketime first: apt install faketime"; exit 1; }
	mkdir -p $(OUT)
	$(PYTHON) -m venv $(OUT)/venv && $(OUT)/venv/bin/python -m pip install --quiet $(SUITE)
	WOMBET_PYTHON=$(abspath $(BIN)/python) $(OUT)/venv/bin/python -m pytest -p no:cacheprovider \
		--rootdir=$(SUITE) --junit-xml=$(OUT)/conformance.xml --entrypoint=$(abspath tests/conformance/client) $(SUITE)/tuf_conformance

clean:  ## remove the virtual environment and all runs
	rm -rf $(VENV) $(ROBOT_VENV) $(READERS_VENV) $(TENSORRT_VENV) runs build dist
