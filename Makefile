# `make demo` builds the sample corpus, `make test` runs everything CI checks. Nothing else needs to be installed; but without
# torch the tests of loader and trainer skip: `make torch` first makes them run.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= build/sample

.PHONY: demo test lint docs torch lock clean

demo: $(VENV)/.base
	$(BIN)/fdf build pipelines/sample.toml --out $(OUT)
	@echo "report: $$($(BIN)/fdf report $(OUT))"

test: lint
	$(BIN)/pytest -n auto --dist worksteal

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/fdf docs --check

docs: $(VENV)/.base
	$(BIN)/fdf docs

# Optional, before `make test`: with torch, loader and trainer are tested too.
torch: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/torch.txt

# Versions come from the lock, with hashes; the project itself is installed editable, without touching them.
$(VENV)/.base: requirements/base.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/base.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fdf needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet
lock:
	$(LOCK) --group test --extra insightface --extra synth --extra video --extra ui -o requirements/test.txt
	$(LOCK) --group build -c requirements/test.txt -o requirements/base.txt

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
