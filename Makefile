PYTHON := .venv/bin/python

.PHONY: help run test test-slow tang book bench chaos
.DEFAULT_GOAL := help

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Without the mark `ready`, the last set-up was interrupted, and the environment is made again.
.venv/ready: pyproject.toml constraints.txt
	@python3 -c 'import sys; v = sys.version.split()[0]; \
		sys.exit(sys.version_info < (3, 11, 5) and \
		f"python3 is version {v}. Install Python 3.11.5 or newer.")'
	python3 -m venv $(if $(wildcard .venv/ready),,--clear) .venv
	.venv/bin/pip install -q -c constraints.txt -e ".[dev]"
	touch .venv/ready

run: .venv/ready  ## set up, then train all stages on the embedded poems (3 to 6 minutes)
	$(PYTHON) run.py --recipe sample

test: .venv/ready  ## set up, then run the tests, ruff and mypy
	$(PYTHON) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

test-slow: .venv/ready  ## the tests that take more than ten seconds each
	$(PYTHON) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m slow tests

tang: .venv/ready  ## train on the Tang poems (11 to 20 minutes; CORPUS=PATH: a local copy)
	$(PYTHON) run.py --recipe tang $(if $(CORPUS),--corpus $(CORPUS))

book: .venv/ready  ## write the book's numbers, code and site again (after make run)
	$(PYTHON) book/code/export_weights.py runs/sample/dpo book/figures/weights.js
	$(PYTHON) book/build.py
	$(PYTHON) book/site.py

bench: .venv/ready  ## measure the speed (30 minutes; QUICK=1: 3 minutes; CORPUS=PATH)
	$(PYTHON) benchmarks/bench.py $(if $(QUICK),--quick) $(if $(CORPUS),--corpus $(CORPUS))

chaos: .venv/ready  ## kill each training script at every file that it writes (hours)
	.venv/bin/pip install -q -c constraints.txt -e ".[chaos]"
	$(PYTHON) benchmarks/chaos.py --jobs 2
