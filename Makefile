# Every target makes its own virtual environment; needed are make, Python 3.10 or newer, and a package index.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test bench interop buckets crashes lint types clean

help: ## print this help
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(READY) ## watch a client update from real repositories, and refuse tampered ones
	$(BIN)/python examples/demo.py

test: $(READY) ## run the tests
	$(BIN)/python -m pytest -n 2

BENCH ?= 100000 1000000

bench: $(READY) ## measure how long it takes to publish very many targets, and one more
	$(BIN)/python benchmarks/repository.py $(BENCH)

interop: $(READY) ## let the reference client follow a repository
	$(PYTHON) -m venv $(VENV)/reference
	$(VENV)/reference/bin/python -m pip install --quiet --disable-pip-version-check tuf==7.0.1 requests
	REFERENCE_PYTHON=$(abspath $(VENV))/reference/bin/python $(BIN)/python -m pytest tests/repository/test_history.py

buckets: $(READY) ## test object stores on a real S3 server, which is built with Go
	@if ! command -v go >/dev/null; then echo "skipped: to build the S3 server, install Go"; else \
	  GOBIN=$(abspath $(VENV))/go go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 && \
	  VERSITYGW=$(abspath $(VENV))/go/versitygw $(BIN)/python -m pytest tests/repository/test_stores.py -k s3; fi

crashes: $(READY) ## kill publications at each of their calls to the disk, seen by others or not
	TUF_TEST_ALL_CRASHES=1 $(BIN)/python -m pytest -n 2 tests/repository/test_crashes.py

lint: $(READY) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## check types in the source, the examples and the documentation
	$(BIN)/mypy src tools examples conformance/client
	$(BIN)/python tools/doc_blocks.py

clean: ## remove everything that make made
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find src tests tools $(wildcard examples) -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is as new as the last whole set-up: a changed pyproject.toml, or a set-up that failed, begins anew.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: $(PYTHON) is not Python 3.10 or newer" >&2; \
	  echo "hint: name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "error: $(PYTHON) cannot make a virtual environment: it lacks ensurepip or venv" >&2; \
	  echo "hint: on Debian and Ubuntu, install the package python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV) ..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --editable '.[test,lint]'
	@touch $@
