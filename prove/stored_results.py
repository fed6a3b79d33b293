"""Results as JSON files, one folder for each commit; runs with different seeds are added up."""

import json
import subprocess
from pathlib import Path

from prove.result import PartResult, Size, as_json, from_json

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "prove" / "results"
"""Ignored by git."""
CHANGED = "+changes"
"""Marks results of files that are not committed; the next such run replaces them."""


def commit() -> str:
    """Return the commit of the working tree, marked if files were changed since."""
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return _git("rev-parse", "HEAD")[:12] + (CHANGED if changes else "")


def _git(*args: str) -> str:
    done = subprocess.run(("git", *args), cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def keep(result: PartResult, of_commit: str) -> Path:
    """Store a result; one of the same part, seed and size is replaced, because it would be the same run."""
    folder = FOLDER / of_commit
    folder.mkdir(parents=True, exist_ok=True)
    if of_commit.endswith(CHANGED):
        for old in folder.glob(f"{result.part}-*.json"):
            old.unlink()
    file = folder / f"{result.part}-{result.size}-{result.seed}.json"
    file.write_text(json.dumps(as_json(result)))
    return file


def read(of_commit: str, part: str) -> list[PartResult]:
    """Return the stored results of a part that are added up: one for each seed, of the full size if there are both."""
    found: dict[int, PartResult] = {}
    for file in sorted((FOLDER / of_commit).glob(f"{part}-*.json")):
        result = from_json(json.loads(file.read_text()))
        if result.size is Size.FULL or result.seed not in found:
            found[result.seed] = result
    return [found[seed] for seed in sorted(found)]
