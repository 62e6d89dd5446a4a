# The two commands of a fresh machine are `make demo` and `make test`.
SEED ?= 0
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs clean

demo: $(VENV)/.installed
	$(BIN)/python tools/demo.py --seed $(SEED)

# Workers here and not in setup.cfg: a single file is done before they have
# imported torch, and a debugger needs pytest's own process. A worker a core,
# but each takes 1 GB. By worksteal neighbours mostly stay together, with the
# fixtures that they share, and no worker waits for a long file of the other.
test: $(VENV)/.installed lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 \
		--dist worksteal

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/isort --check-only --quiet tadfkd benchmarks tools tests setup.py
	$(BIN)/yapf --diff --recursive tadfkd benchmarks tools tests configs setup.py
	$(BIN)/mypy

docs: $(VENV)/.installed
	$(BIN)/pip install --quiet -r requirements/docs.txt
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) docs/_build

# Everything a checkout needs, pinned; again whenever a pin changes.
# Not compiled, which takes longer than all the rest, because most of it is
# never imported. Not isolated: the build takes the pinned setuptools, which
# mmengine needs too.
$(VENV)/.installed: requirements/runtime.txt requirements/tests.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile -r requirements/tests.txt
	$(BIN)/pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@
