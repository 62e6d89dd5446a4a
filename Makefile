# The two commands of a fresh machine are `make demo` and `make test`.
SEED ?= 0
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Tests start many processes. Some container images forbid bytecode files, and
# each process would then compile all modules again, for more than 10 seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test pytest lint lint-types lint-style docs clean

demo: $(VENV)/.installed
	$(BIN)/tadfkd demo --seed $(SEED)

# The tests start when the first check of the source ends, and mypy, which takes
# longest, runs beside them.
test: $(VENV)/.installed
	@$(MAKE) --no-print-directory --jobs 2 lint-types lint-style pytest

# One worker per core, and each needs 1 GB. `worksteal` keeps neighbouring tests,
# and the fixtures that they share, mostly in one worker.
pytest: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 \
		--dist worksteal

# mypy takes longer than the other three together, and runs beside them.
lint: $(VENV)/.installed
	@$(MAKE) --no-print-directory --jobs 2 lint-types lint-style

lint-types: $(VENV)/.installed
	$(BIN)/mypy

lint-style: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/isort --check-only --quiet tadfkd benchmarks examples tools tests
	$(BIN)/yapf --parallel --diff --recursive tadfkd benchmarks examples tools tests configs

docs: $(VENV)/.installed
	$(BIN)/pip install --quiet -r requirements/docs.txt
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) docs/_build

# All pinned packages, installed again if a pin changes. They are not compiled:
# compiling takes longer than installing, and most modules are never imported.
# The build is not isolated: it uses the pinned setuptools, as mmengine does.
$(VENV)/.installed: requirements/runtime.txt requirements/tests.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile -r requirements/tests.txt
	$(BIN)/pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@
