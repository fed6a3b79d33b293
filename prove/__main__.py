"""``python -m prove``: runs the reliability programme and prints its table.

Each part runs in a process of its own. The status is 1 if a trial failed, a limit was exceeded or a part did not end.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from prove.parts import BY_NAME, PARTS, Part
from prove.result import Conclusion, PartResult, Size, from_json
from prove.stored_results import REPOSITORY, commit, keep
from prove.table import conclusions, format_part

LIMIT_S = {Size.DEFAULT: 900, Size.FULL: 3600}
"""The longest time of one part."""


def main(args: list[str]) -> int:
    """Run the chosen parts and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m prove", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--part", action="append", choices=list(BY_NAME), help="run this part alone; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed is another run; runs are added up")
    parser.add_argument("--full", action="store_true", help="the published size, at most 60 minutes a part")
    parser.add_argument(
        "--show", action="store_true", help="print the stored results of this commit, run nothing"
    )
    chosen = parser.parse_args(args)
    size = Size.FULL if chosen.full else Size.DEFAULT
    parts = [part for part in PARTS if not chosen.part or part.name in chosen.part]
    of_commit = commit()
    is_complete = True
    if not chosen.show:
        for part in parts:
            is_complete &= _run_and_keep(part, chosen.seed, size, of_commit)
    print(f"\ncommit {of_commit}, runs of all seeds added up; bounds of rates are upper 95 % bounds\n")
    for part in parts:
        print(format_part(part, of_commit))
    is_failed = Conclusion.NOT_REACHED in conclusions(parts, of_commit)
    return 0 if is_complete and not is_failed else 1


def _run_and_keep(part: Part, seed: int, size: Size, of_commit: str) -> bool:
    print(f"{part.name}, seed {seed}, {size} size …", flush=True)
    result = _run_alone(part, seed, size)
    if result is None:
        print("  the part did not end; it counts as not run")
        return False
    keep(result, of_commit)
    print(f"  took {result.took_s:.0f} s", flush=True)
    return True


def _run_alone(part: Part, seed: int, size: Size) -> PartResult | None:
    """Run a part in a process of its own; None if it failed or took too long, which it has printed."""
    with TemporaryDirectory(prefix="hullwatch-prove-") as folder:
        file = Path(folder) / "result.json"
        paths = [str(REPOSITORY), str(REPOSITORY / "tests"), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        command = [sys.executable, "-m", "prove.part_process", part.name, str(seed), size, str(file)]
        began = time.monotonic()
        try:
            subprocess.run(command, env=environment, check=True, timeout=LIMIT_S[size])
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"  {error}")
            return None
        return from_json({**json.loads(file.read_text()), "took_s": time.monotonic() - began})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
