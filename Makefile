# The verbs of this house. Each does its own set-up: a fresh clone, Python >= 3.11 and make are enough.
# Another Python beside the usual one: make test PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
SEEDS ?= 1000
MINUTES ?= 1

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest --quiet
# Tests run side by side; those that are marked `alone` follow one after the other.
PARALLEL := --numprocesses 2
# They differ much in length: who is ready takes over half of what the other one has before it.
SLOW := $(PARALLEL) --dist worksteal

# Tests start thousands of interpreters: none of them should compile again what another one has compiled.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: help run test check sim sim-scale chaos bench bench-executor bench-peers bench-growth bench-scale bench-lustre bench-database faults format clean dist format-check lint types fast-tests simulation-sample
.DEFAULT_GOAL := help

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.installed ## SHA-256 of every file of a folder: DIR=/path (default: Python's own library), WORKERS=2
	@mkdir -p runs
	@$(BIN)/cyclone run -f Configuration/checksum.conf --workers $(WORKERS) \
	    $${DIR:+--set "directory.path=$$DIR"} --results "runs/checksum-$$(date -u +%Y%m%dT%H%M%SZ).jsonl"

test: $(VENV)/.installed-dev .parts/.installed ## everything: fast tests, 200 seeds of the simulation, real processes, packages
	$(PYTEST) $(PARALLEL) -m 'not slow'
	$(BIN)/python -m tests.simulation --seeds 200
	$(PYTEST) $(SLOW) -m 'slow and not alone'
	$(PYTEST) -m alone

check: format-check lint types fast-tests simulation-sample ## before each commit, in under a minute

sim: $(VENV)/.installed-dev ## the simulation: SEEDS=1000 of them, or one again: SEED=n
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

sim-scale: $(VENV)/.installed-dev ## 10,000 virtual controllers on a master that takes time, against the model of docs/scaling.md
	$(BIN)/python -m tests.simulation.scale $(SCALE)

chaos: $(VENV)/.installed-dev ## real processes under faults, judged by a separate checker: MINUTES=1, the same again: SEED=n
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(CHAOS)

bench: $(VENV)/.installed ## the benchmark table
	$(BIN)/python benchmarks/bench.py

bench-peers: $(VENV)/.installed ## Cyclone beside Dask, Parsl, Ray, Celery...; writes docs/peers.md; a part: PEERS="--only dask"
	$(BIN)/python -m benchmarks.peers --environment $(VENV)-peers $(or $(PEERS),--write docs/peers.md)

bench-executor: $(VENV)/.installed ## the Executor beside ProcessPoolExecutor, and beside joblib where that is installed
	$(BIN)/python -m benchmarks.executor $(EXECUTOR)

bench-growth: $(VENV)/.installed ## cost per task from 10^3 to 10^7 of them, the master's memory up to 10^8; briefly: GROWTH=--quick
	$(BIN)/python -m benchmarks.growth $(GROWTH)

bench-scale: $(VENV)/.installed ## 10,000 controllers on one master, over real sockets; fewer: SCALE="--controllers 1000"
	$(BIN)/python -m benchmarks.scale $(SCALE)

bench-database: $(VENV)/.installed-dev .parts/.installed ## rows/s of the database proxy into a MariaDB, beside the bare driver's
	$(BIN)/python -m benchmarks.database_proxy $(DATABASE)

bench-lustre: $(VENV)/.installed-dev ## a million files from 610 OSTs to 174, the master killed twice, and 2,000 by an executable lfs; less: LUSTRE="--paths 20000"
	$(BIN)/python -m benchmarks.lustre $(LUSTRE)
	$(BIN)/python -m benchmarks.lustre_executable $(LUSTRE_EXECUTABLE)

faults: $(VENV)/.installed-dev ## figures about kills, restarts, slow links and floods; the quick form, a few minutes
	$(BIN)/python benchmarks/redispatch.py --kills 20
	$(BIN)/python -m benchmarks.faults redispatch-controller --kills 5
	$(BIN)/python -m benchmarks.faults restarts --times 10
	$(BIN)/python benchmarks/restart.py
	$(BIN)/python -m benchmarks.faults slow-link --link stopped
	$(BIN)/python -m benchmarks.faults generator-flood
	$(BIN)/python -m benchmarks.faults generator-flood --durability off

format: $(VENV)/.installed-dev ## format the code, and mend what lint can mend by itself
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format .

dist: $(VENV)/.installed-dev ## build the source package and the wheel into dist/
	$(BIN)/python -m build --quiet --outdir dist

clean: ## remove what was built and cached; the environment and runs/ stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

format-check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check --quiet .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

fast-tests: $(VENV)/.installed-dev
	$(PYTEST) $(PARALLEL) -m 'not slow' tests/unit tests/chaos tests/test_*.py

simulation-sample: $(VENV)/.installed-dev
	$(BIN)/python -m tests.simulation --seeds 20

# The last file that venv writes, so that an interrupted attempt is taken up again.
$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null \
	    || { echo "make: there is no $(PYTHON); Cyclone needs Python >= 3.11: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "make: Cyclone needs Python >= 3.11, $(PYTHON) is $$($(PYTHON) --version 2>&1):" \
	              "make PYTHON=/path/to/a/newer/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	    || { echo "make: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: sudo apt install python3-venv" >&2; \
	         exit 1; }
	@echo "making the private environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# Installed in place: a change of the code needs no new installation, a change of what is installed does.
$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/pip
	@echo "installing Cyclone into $(VENV)"
	@$(PIP) install --editable .
	@touch $@

# Programs that tests use, unpacked and not installed: MariaDB, Prometheus, the Pushgateway, logrotate, visudo, zsh, fish.
.parts/.installed: tests/parts/__main__.py | $(BIN)/pip
	@echo "unpacking the programs for the tests into .parts"
	@$(BIN)/python -m tests.parts .parts
	@touch $@

# After the other, never beside it: two installations into one environment must not run at once.
$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing the tools for tests and checks into $(VENV)"
	@$(PIP) install --editable '.[dev]'
	@touch $@
