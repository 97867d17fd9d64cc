# Two commands for a newcomer: `make demo` and `make test`. Each sets up .venv by itself, once.
# Nothing but Python 3.11 and make is needed. PYTHON=... picks another interpreter.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INPUTS := setup.cfg pyproject.toml constraints.txt
WORKERS ?= auto

.PHONY: demo test test-all lint docs figures dist clean

demo: .venv/installed-demo  ## digits -> teacher -> physical student -> runs/demo/{masks.h5,metrics.json,report.html}
	$(BIN)/python -m experiments demo experiments/configs/demo.toml --out runs/demo

test: .venv/installed-dev  ## all tests but those marked slow
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS)

test-all: .venv/installed-dev
	$(BIN)/python -m pytest -n $(WORKERS)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: .venv/installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q -j auto -b html docs docs/_build/html
	@echo docs/_build/html/index.html

figures: .venv/installed-docs  ## what the pages print and show, and the page of all commands, written again
	$(BIN)/python docs/figures.py
	$(BIN)/python docs/command_line.py

dist: .venv/installed-dev  ## dist/*.tar.gz and, made from it, dist/*.whl
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf .venv runs docs/_build build dist *.egg-info

.venv/installed-demo: EXTRAS = kd
.venv/installed-dev: EXTRAS = kd,dev
.venv/installed-docs: EXTRAS = kd,docs

# A stamp is written only after a complete installation, so an interrupted one starts again.
.venv/installed-%: $(INPUTS) | .venv/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@

.venv/pyvenv.cfg:
	$(PYTHON) -m venv .venv
