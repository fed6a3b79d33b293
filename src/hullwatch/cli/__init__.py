"""The commands of ``hullwatch``."""
