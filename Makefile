# make demo, make test: set everything up on first use. Needs Python 3.11 to 3.13, Java 17+ and make.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DATA := $(wildcard ../shared/data)
export KERASQL_TEST_DATA ?= $(abspath $(DATA))

.PHONY: demo test check lint types imports benchmarks lock clean

demo: $(READY)
	@$(BIN)/kerasql demo

test: $(READY) check
	@$(BIN)/python -m pytest --cov --cov-report=term:skip-covered $(PYTEST)

check: lint types imports

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)
	@$(BIN)/mypy

imports: $(READY)
	@cd src && ../$(BIN)/lint-imports --config ../pyproject.toml

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
		echo "kerasql needs Python 3.11, 3.12 or 3.13; install it (Debian: python3.11 python3.11-venv) or name it: make PYTHON=python3.12"; exit 2; }
	@java -version 2>&1 | grep -qE 'version "(1[7-9]|[2-9][0-9])' || { \
		echo "kerasql needs Java 17 or newer; install it (Debian: openjdk-17-jre-headless) and see that it is first on PATH"; exit 2; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	@echo "installing the locked dependencies (TensorFlow is large; a few minutes the first time) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock:
	@uv pip compile --quiet --universal --python-version 3.11 --extra demo --extra s3 --extra connect --extra mlflow --group dev \
		--generate-hashes --no-annotate --custom-compile-command "make lock" \
		--upgrade pyproject.toml --output-file requirements.lock

clean:
	rm -rf .venv build dist demo src/*.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache
