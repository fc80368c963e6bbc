# Everything a clone needs: Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# To run it takes much less than to test it: ``make up`` in a new clone installs only that.
RUNS := $(if $(wildcard $(STAMP)),$(STAMP),$(VENV)/.runs)

# A file's tests stay together: they share clusters, certificates and the ports that the documentation names. One worker
# more than there are cores, for many tests wait for processes; files in their order, as those of many short tests,
# which are easily shared out, come last.
ON_EVERY_CORE = -n $$($(BIN)/python -c 'import os; print(os.cpu_count() + 1)') --dist loadfile --no-loadscope-reorder

# Hundreds of processes start in the tests: where this is set, each of them would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up test test-fast coverage lint proto docs flags bench sim replay clean

up: $(RUNS)  ## run three replicas and an API server here, in the foreground
	$(BIN)/apilayer up $(ARGS)

test: $(STAMP)  ## every test, on every core
	$(BIN)/python -m pytest $(ON_EVERY_CORE) $(ARGS)

test-fast: $(STAMP)  ## the tests that take milliseconds, on every core
	$(BIN)/python -m pytest -m "not slow" $(ON_EVERY_CORE) $(ARGS)

coverage: $(STAMP)  ## the raft core and the wire formats, whose every branch must be tested
	$(BIN)/coverage run --source=kvraft/raft,kvraft/wire -m pytest -q tests/kvraft/raft tests/kvraft/wire
	$(BIN)/coverage report --show-missing --skip-covered --fail-under=100

lint: $(STAMP)  ## formatting, lint rules, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

proto: $(STAMP)  ## Python modules from the .proto files
	$(BIN)/python -m tests.kvraft.wire.generate

flags: $(STAMP)  ## write the reference page of the flags of `kvraft serve`
	$(BIN)/python -c "from kvraft.cli.serve_help import reference_page; print(reference_page(), end='')" > docs/reference/serve-flags.md
	$(BIN)/python -c "from kvraft.cli.help import reference_page; print(reference_page(), end='')" > docs/reference/kvraft-command.md

docs: $(STAMP)  ## build the documentation, warnings are errors
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

bench: $(STAMP)  ## measure, print the table and write docs/benchmarks.md
	$(BIN)/python -m tests.bench $(ARGS)

sim: $(STAMP)  ## simulate whole clusters from 2,000 seeds
	$(BIN)/jepsen sim --seeds 0:2000

$(VENV)/.runs: pyproject.toml
	@echo "installing into $(VENV), which is done once"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	$(BIN)/python -m compileall -q apilayer kvraft jepsen
	touch $@

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint,docs]'
	$(BIN)/python -m compileall -q apilayer kvraft jepsen
	touch $@

replay: $(STAMP)  ## play what a real kube-apiserver was recorded to answer, where the recordings are
	$(BIN)/python -m tests.replay $(ARGS)

clean:
	rm -rf $(VENV) docs/_build build *.egg-info
