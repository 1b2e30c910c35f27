PYTHON := .venv/bin/python

.PHONY: run test tang

.venv/ready: pyproject.toml constraints.txt
	python3 -m venv .venv
	.venv/bin/pip install -q -c constraints.txt -e ".[dev]"
	touch .venv/ready

run: .venv/ready  ## set up, then the whole journey on the embedded corpus
	$(PYTHON) run.py --recipe sample

test: .venv/ready  ## set up, then tests, lint and format
	$(PYTHON) -m pytest -q tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

tang: .venv/ready  ## the Tang poems; CORPUS=PATH for a local copy
	$(PYTHON) run.py --recipe tang $(if $(CORPUS),--corpus $(CORPUS))
