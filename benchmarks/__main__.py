"""``python -m benchmarks [NAME …] [--quick]``: measures all figures or the named ones, each in a process of its own.

A missed target is shown and does not fail the command, because machines differ.
"""

import argparse
import subprocess
import sys
import time

from benchmarks.report import header

NAMES = (
    "sweep",
    "cycle",
    "close",
    "readiness",
    "status",
    "latency",
    "memory",
    "dashboard",
    "one_tap",
    "outbox",
    "hma",
)
QUICK_HMA = ("--rounds", "3", "--candles", "1000")
"""Options of the only benchmark without ``--quick``."""


def main(args: list[str]) -> int:
    """Run the requested benchmarks and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog=f"Benchmarks: {', '.join(NAMES)}. Options after a single name go to it: sweep --accounts 500.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; default: all")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, marked in the output")
    if args[:1] and args[0] in NAMES and {"-h", "--help"} & set(args[1:]):
        return _run_alone(args[0], ["--help"], is_quick=False)
    chosen, rest = parser.parse_known_args(args)
    unknown = [name for name in chosen.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown benchmark {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    names = chosen.names or list(NAMES)
    if rest and len(names) != 1:
        parser.error(f"{' '.join(rest)} needs exactly one benchmark name")
    print(f"{time.strftime('%Y-%m-%d')}: {header()}\n", flush=True)
    codes = [_run_alone(name, rest, is_quick=chosen.quick) for name in names]
    return 1 if any(codes) else 0


def _run_alone(name: str, rest: list[str], *, is_quick: bool) -> int:
    """Run one benchmark in its own process, so that it shares no memory or caches with others."""
    quick = (QUICK_HMA if name == "hma" else ("--quick",)) if is_quick else ()
    began = time.monotonic()
    code = f"from benchmarks.{name} import main; import sys; main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *quick, *rest], check=False)
    if done.returncode:
        print(f"{name} failed with status {done.returncode}")
    print(f"  ({name} took {time.monotonic() - began:.0f} s)\n", flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
