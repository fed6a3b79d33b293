"""What can be wrong with the database or its keys before a person asked for anything, and what stands for a foreign error.

While people are served, failures are the refusals of ``domain/failures.py``; these here end a start or a command with one sentence.
"""


class StorageProblem(Exception):  # noqa: N818 - a fact about the installation, told to its owner
    """Hullwatch cannot work with what it found; the text is one sentence that says so and holds no secret."""


class DatabaseUnusable(StorageProblem):
    """The database cannot be opened, is not hullwatch's, is damaged, or comes from another version."""


class KeysUnusable(StorageProblem):
    """The encryption keys are missing, malformed, readable by others, or not those of this database."""


class Undecryptable(Exception):  # noqa: N818 - a fact about one stored secret
    """A stored secret fits none of the keys, was changed, or was moved from another row; holds nothing of it."""


class DatabaseFault(Exception):  # noqa: N818 - the safe remains of a foreign error
    """A driver's error without its text: that text may quote statements, rows and parameters."""

    def __init__(self, kind: str, code: str | None) -> None:
        super().__init__(f"{kind} {code}" if code else kind)
        self.kind = kind
        """The name of the foreign error's class."""
        self.code = code
        """SQLite's error name or PostgreSQL's SQLSTATE, where there is one."""
