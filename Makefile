# `make` lists the targets. Everything is installed into .venv; only the browser tests may install Debian packages.
.NOTPARALLEL:
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header
PIP := VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet
# A test starts many processes; with stored bytecode none of them compiles the packages again.
export PYTHONDONTWRITEBYTECODE :=
PAGES := $(shell find ui -path ui/node_modules -prune -o -type f -not -name schema.d.ts -print 2>/dev/null)

.PHONY: help install dev demo serve test test-unit test-browser check format bench prove calendar lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(VENV)/.build: requirements-build.lock requirements-node.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "hullwatch needs Python 3.11 or newer; set PYTHON=…")'
	@echo 'making $(VENV) …'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.lock
	@$(BIN)/python ui/build_pages.py --has-npm || $(PIP) --require-hashes -r requirements-node.lock
	@touch $@

$(VENV)/.product: $(VENV)/.build requirements.lock pyproject.toml hatch_build.py $(PAGES)
	@echo 'installing hullwatch into $(VENV) …'
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.product requirements-dev.lock ui/package-lock.json
	@echo 'installing what checks and tests need …'
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(BIN)/python ui/build_pages.py --install
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements-bench.lock
	@echo 'installing what the benchmarks compare with …'
	@$(PIP) --require-hashes -r requirements-bench.lock
	@touch $@

install: $(VENV)/.product ## put the product into .venv (.venv/bin/hullwatch)

dev: $(VENV)/.dev ## the product and everything its checks and tests need

demo: $(VENV)/.product ## the whole product on this machine, no Fyers account needed; ARGS="--candles DIR"
	@exec $(BIN)/hullwatch demo $(ARGS)

serve: $(VENV)/.product ## the server against real Fyers
	@exec $(BIN)/hullwatch serve $(ARGS)

test: test-unit test-browser ## the whole test suite, browser and servers included; ARGS="-k name"

# A selection by ARGS may be empty in one of the two parts; pytest reports that with status 5.
test-unit: $(VENV)/.dev ## all tests but those in a browser
	@tests/provision.sh oracle compiler
	@$(BIN)/pytest -n auto $(ARGS) || { [ $$? -eq 5 ] && [ -n '$(ARGS)' ]; }

test-browser: $(VENV)/.dev ## the tests in a real browser
	@tests/provision.sh browser
	@$(BIN)/pytest tests/browser $(ARGS) || { [ $$? -eq 5 ] && [ -n '$(ARGS)' ]; }

check: $(VENV)/.dev ## format, lint, types, layers, words; the pages too
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/tools/plain_words.py
	$(BIN)/python ui/build_pages.py --check

format: $(VENV)/.dev ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench ## the benchmarks, side by side in one run
	$(BIN)/python -m benchmarks $(ARGS)

prove: $(VENV)/.dev ## the reliability programme; ARGS="--part NAME --seed N --full"
	@$(BIN)/python -m prove $(ARGS)

calendar: $(VENV)/.dev ## rewrite the closed days from the exchange-calendar library
	@$(BIN)/python docs/tools/trading_days.py
	@git diff --stat -- src/hullwatch/domain/market/calendar

lock: $(VENV)/.build ## rewrite the lock files from pyproject.toml
	$(LOCK) pyproject.toml --extra plot --group dev -o requirements-dev.lock
	$(LOCK) pyproject.toml --extra plot --group dev --group bench -o requirements-bench.lock
	# The product and its build get the versions that the tests run with.
	$(LOCK) pyproject.toml --extra plot -c requirements-dev.lock -o requirements.lock
	$(LOCK) --group build -c requirements-dev.lock -o requirements-build.lock
	$(LOCK) --group node -o requirements-node.lock

clean: ## remove the environment and the caches
	rm -rf $(VENV) .venv-* .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
