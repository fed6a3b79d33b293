#!/usr/bin/env bash
# Installs what the tests need beyond .venv. Names select a part; without one, everything is installed.
#   oracle:  the official Fyers SDK, in an environment of its own
#   browser: Chromium and its fonts, from Debian
set -euo pipefail
cd "$(dirname "$0")/.."
parts=" ${*:-oracle browser} "
if [[ $parts == *" oracle "* ]] && [ ! -f .venv-oracle/.ready ]; then
  if .venv/bin/uv venv --quiet --clear --python .venv/bin/python .venv-oracle \
    && VIRTUAL_ENV=.venv-oracle .venv/bin/uv pip install --quiet 'fyers-apiv3==3.2.0'; then
    touch .venv-oracle/.ready
  else
    echo "skipped by name: the official Fyers SDK could not be installed; its oracle tests report that" >&2
  fi
fi
if [[ $parts == *" browser "* ]] \
  && { ! command -v chromium >/dev/null || ! command -v fc-list >/dev/null || ! fc-list | grep -qi dejavu; }; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null \
    && { apt-get update -qq || true; } && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fontconfig fonts-dejavu fonts-noto-core >/dev/null; then
    :
  else
    echo "skipped by name: the Debian packages chromium, fonts-dejavu and fonts-noto-core are missing; the browser tests report that" >&2
  fi
fi
