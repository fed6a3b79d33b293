"""What concerns the installation as a whole; no service asks for it."""

from sqlalchemy import select

from hullwatch.storage.models import InstallationRow
from hullwatch.storage.transaction import KEYS_LOCK, Transaction


class Installation:
    """Named texts."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def value(self, name: str) -> str | None:
        """Return the text of this name, or None; nobody changes keys until the transaction ends."""
        await self._transaction.lock(KEYS_LOCK, shared=True)
        return await self._transaction.row(select(InstallationRow.value).where(InstallationRow.name == name))

    async def put(self, name: str, value: str) -> None:
        """Store it, unless there is one of this name."""
        insert = self._transaction.insert_row(InstallationRow(name=name, value=value))
        await self._transaction.execute(insert.on_conflict_do_nothing())
