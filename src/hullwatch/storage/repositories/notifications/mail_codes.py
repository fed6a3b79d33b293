"""Mailed codes."""

from datetime import datetime

from sqlalchemy import delete, select, update

from hullwatch.domain.notifications.mail_codes import MailCode
from hullwatch.storage.models import MailCodeRow
from hullwatch.storage.rows import row_of, value_of
from hullwatch.storage.transaction import MAIL_CODES_LOCK, Transaction


class MailCodes:
    """Satisfies `MailCodeRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def lock(self) -> None:
        """Lock all codes until the unit of work ends; call it before counting them or trying one."""
        await self._transaction.lock(MAIL_CODES_LOCK)

    async def add(self, code: MailCode) -> None:
        """Store a code."""
        await self._transaction.execute(self._transaction.insert_row(row_of(MailCodeRow, code)))

    async def remove(self, code_id: str) -> None:
        """Remove a code that was not mailed."""
        await self._transaction.execute(delete(MailCodeRow).where(MailCodeRow.id == code_id))

    async def newest_of(self, channel_id: str) -> MailCode | None:
        """Return the code that was mailed last for this channel."""
        query = select(MailCodeRow).where(MailCodeRow.channel_id == channel_id)
        row = await self._transaction.row(query.order_by(MailCodeRow.sent_at.desc()).limit(1))
        return None if row is None else value_of(MailCode, row)

    async def sent_to(self, recipient_hash: str, *, since: datetime) -> list[datetime]:
        """Return when codes were mailed to this recipient, by all users."""
        query = select(MailCodeRow.sent_at).where(MailCodeRow.recipient_hash == recipient_hash)
        return await self._transaction.rows(query.where(MailCodeRow.sent_at > since))

    async def sent_by(self, user_id: str, *, since: datetime) -> list[datetime]:
        """Return when codes were mailed for this user, to all recipients."""
        query = select(MailCodeRow.sent_at).where(MailCodeRow.user_id == user_id)
        return await self._transaction.rows(query.where(MailCodeRow.sent_at > since))

    async def count_wrong(self, code_id: str) -> None:
        """Count a wrong code that was entered for this one."""
        await self._transaction.execute(
            update(MailCodeRow)
            .where(MailCodeRow.id == code_id)
            .values(wrong_codes=MailCodeRow.wrong_codes + 1)
        )

    async def purge(self, *, before: datetime) -> None:
        """Remove the codes that were mailed before this moment."""
        await self._transaction.execute(delete(MailCodeRow).where(MailCodeRow.sent_at < before))
