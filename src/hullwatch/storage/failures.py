"""Failures of the installation, and the safe form of drivers' errors."""


class StorageProblem(Exception):  # noqa: N818 - a fact about the installation
    """Hullwatch cannot work with the database or the keys; the text is one sentence without secrets."""


class DatabaseUnusable(StorageProblem):
    """The database cannot be opened, is not hullwatch's, is damaged, or comes from another version."""


class KeysUnusable(StorageProblem):
    """The encryption keys are missing, malformed, readable by others, or not those of this database."""


class Undecryptable(Exception):  # noqa: N818 - a fact about one stored secret
    """A stored secret fits no key, was changed or moved; the text holds no part of it."""


class DatabaseFault(Exception):  # noqa: N818 - the safe part of a driver's error
    """A driver's error without its text, which can quote statements, rows and parameters."""

    def __init__(self, kind: str, code: str | None) -> None:
        super().__init__(f"{kind} {code}" if code else kind)
        self.kind = kind
        """The class name of the driver's error."""
        self.code = code
        """SQLite's error name or PostgreSQL's SQLSTATE, where there is one."""
