#!/usr/bin/env bash
# Brings what the suite needs beyond .venv: the official Fyers SDK, in an environment of its own, as the oracle.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -f .venv-oracle/.ready ]; then
  if .venv/bin/uv venv --quiet --clear --python .venv/bin/python .venv-oracle \
    && VIRTUAL_ENV=.venv-oracle .venv/bin/uv pip install --quiet 'fyers-apiv3==3.2.0'; then
    touch .venv-oracle/.ready
  else
    echo "skipped by name: the official Fyers SDK could not be installed; its oracle tests will say so" >&2
  fi
fi
