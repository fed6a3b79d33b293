"""Runs tests of the repository by name and counts their results."""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prove.stored_results import REPOSITORY

TEST_LIMIT_S = 3600


@dataclass(frozen=True, slots=True)
class TestCounts:
    """The results of one run of pytest."""

    run: int
    failed: tuple[str, ...]
    skipped: int


def run_tests(names: Sequence[str], *, seed: int, variables: Mapping[str, str] | None = None) -> TestCounts:
    """Run these tests in an order and with random choices that depend on the seed.

    Raises:
        RuntimeError: pytest could not run them.
    """
    with tempfile.TemporaryDirectory(prefix="hullwatch-tests-") as folder:
        report = Path(folder) / "report.xml"
        seeds = (f"--randomly-seed={seed}", f"--hypothesis-seed={seed}")
        options = ("-q", *seeds, f"--junitxml={report}", f"--timeout={TEST_LIMIT_S}")
        done = subprocess.run(
            (sys.executable, "-m", "pytest", *options, *names),
            cwd=REPOSITORY,
            env={**os.environ, **(variables or {})},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode not in (0, 1) or not report.exists():
            raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}")
        return _counts(ET.parse(report).getroot())


def _counts(root: ET.Element) -> TestCounts:
    cases = list(root.iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    names = tuple(f"{case.get('classname')}::{case.get('name')}" for case in failed)
    return TestCounts(len(cases) - skipped, names, skipped)
