"""Named texts of the installation."""

from sqlalchemy import select

from hullwatch.storage.models import InstallationRow
from hullwatch.storage.transaction import KEYS_LOCK, Transaction


class Installation:
    """Encrypted texts; only the store itself reads them."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def value(self, name: str) -> str | None:
        """Return the text of this name, or None. Keys cannot change until the transaction ends."""
        await self._transaction.lock(KEYS_LOCK, shared=True)
        return await self._transaction.row(select(InstallationRow.value).where(InstallationRow.name == name))

    async def put(self, name: str, value: str) -> None:
        """Store a text, unless the name exists."""
        insert = self._transaction.insert_row(InstallationRow(name=name, value=value))
        await self._transaction.execute(insert.on_conflict_do_nothing())
