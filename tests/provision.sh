#!/usr/bin/env bash
# Installs what the tests need beyond .venv. Names select a part; without one, everything is installed.
#   oracle:  the official Fyers SDKs for Python and Node, each in an environment of its own
#   compiler: a C compiler from Debian, for the library that sets the clock of a process
#   browser: Chromium and its fonts, from Debian
set -euo pipefail
cd "$(dirname "$0")/.."
parts=" ${*:-oracle compiler browser} "
missing() { echo "skipped by name: the official Fyers SDK ($1) could not be installed; its oracle tests report that" >&2; }
# The newest Python SDK, and one that decodes an index differently. Each pins packages of its own.
for version in 3.2.0 3.1.11; do
  folder=.venv-oracle-$version
  if [[ $parts == *" oracle "* ]] && [ ! -f $folder/.ready ]; then
    if .venv/bin/uv venv --quiet --clear --python .venv/bin/python $folder \
      && VIRTUAL_ENV=$folder .venv/bin/uv pip install --quiet "fyers-apiv3==$version"; then
      touch $folder/.ready
    else
      missing "Python $version"
    fi
  fi
done
# The Node SDK, with the npm that builds the pages. The lock file has the exact versions and their checksums.
if [[ $parts == *" oracle "* ]] && ! cmp -s tests/oracle/node/package-lock.json .venv-oracle-node/.ready; then
  mkdir -p .venv-oracle-node && cp tests/oracle/node/{package.json,package-lock.json,.npmrc} .venv-oracle-node
  if .venv/bin/python ui/build_pages.py --npm .venv-oracle-node ci --ignore-scripts >/dev/null; then
    cp tests/oracle/node/package-lock.json .venv-oracle-node/.ready
  else
    missing Node
  fi
fi
if [[ $parts == *" compiler "* ]] && ! command -v cc >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null \
    && { apt-get update -qq || true; } && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq gcc libc6-dev >/dev/null; then
    :
  else
    echo "skipped by name: the Debian packages gcc and libc6-dev are missing; the test of the machine's clock reports that" >&2
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
