PYTHON := .venv/bin/python

.PHONY: run test tang bench

# An interrupted set-up left no mark: it is done anew.
.venv/ready: pyproject.toml constraints.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, and python3 is {sys.version.split()[0]}")'
	python3 -m venv $(if $(wildcard .venv/ready),,--clear) .venv
	.venv/bin/pip install -q -c constraints.txt -e ".[dev]"
	touch .venv/ready

run: .venv/ready  ## set up, then the whole journey on the embedded corpus
	$(PYTHON) run.py --recipe sample

test: .venv/ready  ## set up, then tests, lint, format and types
	$(PYTHON) -m pytest -q tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

tang: .venv/ready  ## the Tang poems; CORPUS=PATH for a local copy
	$(PYTHON) run.py --recipe tang $(if $(CORPUS),--corpus $(CORPUS))

bench: .venv/ready  ## what is measured against what; QUICK=1 for three minutes, CORPUS=PATH for a local copy
	$(PYTHON) benchmarks/bench.py $(if $(QUICK),--quick) $(if $(CORPUS),--corpus $(CORPUS))
