"""``python -m hullwatch``: the same as ``hullwatch``."""

from hullwatch.cli import main

main()
