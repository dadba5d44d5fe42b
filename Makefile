# make demo        the demo, with all its set-up
# make test        the tests, with all their set-up
# make test-slow   the tests that take minutes
# make benchmark   the navigation benchmark of the built-in model
# make clean       removes .venv and caches; results in outputs/, runs/ and data/ stay

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: demo test test-slow benchmark clean

demo: $(READY)
	$(RUN) sample.py

# Two processes with a thread each: with more, those of one wait for those of the other.
test: $(READY)
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile -m "not slow and not gpu"

test-slow: $(READY)
	$(RUN) -m pytest -m slow

benchmark: $(READY)
	$(RUN) -m video4spatial.cli.main benchmark navigation --model rooms --scenes 64 --json benchmarks/results/navigation_rooms.json

clean:
	rm -rf $(VENV) .pytest_cache *.egg-info

# The stamp is newer than what it was made from, so a ready environment costs nothing. torch goes first and alone: its exact
# version is the one without CUDA, which a resolution together with the rest might replace.
$(READY): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "video4spatial needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV): the first time this takes some minutes."
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -c constraints.txt torch==2.13.0
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
