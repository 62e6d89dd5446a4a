# The two commands of a fresh machine are `make demo` and `make test`.
SEED ?= 0
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Tests start many processes. Some container images forbid bytecode files, and
# each process would then compile all modules again, for more than 10 seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long pytest lint lint-types lint-style docs lock smoke-onedl \
	lower-bounds clean

demo: $(VENV)/.installed
	$(BIN)/tadfkd demo --fast --seed $(SEED)

# The tests start when the first check of the source ends, and mypy, which takes
# longest, runs beside them.
test: $(VENV)/.installed
	@$(MAKE) --no-print-directory --jobs 2 lint-types lint-style pytest

# One worker per core, and each needs 1 GB. `worksteal` keeps neighbouring tests,
# and the fixtures that they share, mostly in one worker.
pytest: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 \
		--dist worksteal -m "not long"

# Two hosts, Slurm's launcher, a cluster's page, torch.compile, a process that
# hangs, and two that resume.
test-long: $(VENV)/.installed
	$(BIN)/python -m pytest -m long

# mypy takes longer than the other three together, and runs beside them.
lint: $(VENV)/.installed
	@$(MAKE) --no-print-directory --jobs 2 lint-types lint-style

lint-types: $(VENV)/.installed
	$(BIN)/mypy

lint-style: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/isort --check-only --quiet tadfkd benchmarks examples tools tests
	$(BIN)/yapf --parallel --diff --recursive tadfkd benchmarks examples tools tests configs

# Links between pages are checked. `make docs BUILDER=linkcheck` follows the others.
BUILDER ?= html
docs: $(VENV)/.installed
	$(BIN)/pip install --quiet --no-deps -r requirements/docs.lock
	$(BIN)/sphinx-build -W --keep-going -b $(BUILDER) docs docs/_build/$(BUILDER)

# Every pinned package with everything that it needs, and the hashes of all.
COMPILE := .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --override requirements/overrides.txt
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv
	$(COMPILE) requirements/tests.txt --output-file requirements/tests.lock
	$(COMPILE) requirements/docs.txt --constraint requirements/tests.lock \
		--output-file requirements/docs.lock

# What a user does, with few steps, on the fork of OpenMMLab's packages.
smoke-onedl:
	$(PYTHON) -m venv .venv-onedl
	.venv-onedl/bin/pip install --quiet --no-compile -r requirements/onedl.txt \
		--editable ".[onedl,digits]"
	PATH=$(CURDIR)/.venv-onedl/bin:$$PATH sh docs/measured/onedl/run.sh

# The same, and some tests, with the lowest versions that pyproject.toml admits.
lower-bounds:
	$(PYTHON) -m venv .venv-lower
	.venv-lower/bin/pip install --quiet uv
	.venv-lower/bin/uv pip install --quiet --python .venv-lower \
		--resolution lowest-direct --editable ".[openmmlab,digits,onnx,timm,transformers,tests]"
	.venv-lower/bin/python -m benchmarks smoke
	.venv-lower/bin/python -m pytest -q tests/test_losses tests/test_selectors \
		tests/test_generators tests/test_augmentations tests/test_memory tests/test_utils \
		tests/test_checkpoints tests/test_networks tests/test_report \
		tests/test_apis/test_fast.py tests/test_apis/test_result.py

clean:
	rm -rf $(VENV) .venv-lock .venv-onedl .venv-lower docs/_build

# All locked packages, installed again if the lock changes. They are not compiled:
# compiling takes longer than installing, and most modules are never imported.
# The build is not isolated: it uses the pinned setuptools, as mmengine does.
$(VENV)/.installed: requirements/tests.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --no-deps -r requirements/tests.lock
	$(BIN)/pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@
