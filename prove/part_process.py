"""The process of one part: ``python -m prove.part_process NAME SEED SIZE FILE``."""

import json
import logging
import sys
from pathlib import Path

import structlog

from prove.parts import BY_NAME
from prove.result import Size, as_json


def main(name: str, seed: str, size: str, file: str) -> None:
    """Run the part and write its result; the log of the intended failures is not of interest."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    result = BY_NAME[name].load()(int(seed), Size(size))
    Path(file).write_text(json.dumps(as_json(result)))


if __name__ == "__main__":
    main(*sys.argv[1:])
