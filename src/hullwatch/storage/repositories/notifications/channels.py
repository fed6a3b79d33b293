"""Users' channels; their addresses are encrypted and bound to the row."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import structlog
from sqlalchemy import ColumnElement, and_, delete, exists, or_, select, update

from hullwatch.domain.notifications.channels import (
    AddressProof,
    Channel,
    ChannelAddress,
    ChannelHealth,
    Destination,
    SigningSecret,
)
from hullwatch.domain.notifications.notifications import (
    DELIVERED_WITH,
    ChannelKind,
    DeliveryState,
    NotificationKind,
)
from hullwatch.storage.cipher import Cipher, channel_address_identity, signing_secret_identity
from hullwatch.storage.failures import Undecryptable
from hullwatch.storage.models import ChannelKindRow, ChannelRow, DeliveryRow, UserRow
from hullwatch.storage.rows import row_of, value_of
from hullwatch.storage.transaction import KEYS_LOCK, Transaction

_log = structlog.get_logger(component="Storage")


class Channels:
    """Satisfies `ChannelRepository`."""

    def __init__(self, transaction: Transaction, cipher: Cipher) -> None:
        self._transaction = transaction
        self._cipher = cipher

    async def lock(self, user_id: str) -> None:
        """Lock the user's channels until the unit of work ends; call it before counting them."""
        owner = select(UserRow.id).where(UserRow.id == user_id)
        await self._transaction.rows(owner.with_for_update(key_share=True))

    async def add(self, channel: Channel, destination: Destination) -> None:
        """Store a channel with its address."""
        await self._transaction.lock(KEYS_LOCK, shared=True)
        secret = destination.signing_secret
        row = row_of(
            ChannelRow,
            channel,
            address=self._cipher.seal(destination.address.reveal(), channel_address_identity(channel.id)),
            signing_secret=None
            if secret is None
            else self._cipher.seal(secret.reveal(), signing_secret_identity(channel.id)),
        )
        await self._transaction.execute(self._transaction.insert_row(row))
        await self._put_kinds(channel.id, channel.kinds)

    async def get(self, user_id: str, channel_id: str) -> Channel | None:
        """Return one of the user's channels, or None."""
        row = await self._transaction.row(
            select(ChannelRow).where(ChannelRow.id == channel_id, ChannelRow.user_id == user_id)
        )
        return None if row is None else (await self._channels([row]))[0]

    async def of_user(self, user_id: str) -> list[Channel]:
        """Return a user's channels, oldest first."""
        query = select(ChannelRow).where(ChannelRow.user_id == user_id)
        return await self._channels(
            await self._transaction.rows(query.order_by(ChannelRow.created_at, ChannelRow.id))
        )

    async def delivering(
        self, kind: NotificationKind, user_ids: Collection[str]
    ) -> list[tuple[Channel, Destination]]:
        """Return the channels of these users that take notices of this kind, with their addresses."""
        delivers = exists().where(
            ChannelKindRow.channel_id == ChannelRow.id,
            ChannelKindRow.kind == DELIVERED_WITH.get(kind, kind),
        )
        query = select(ChannelRow).where(takes_notices(), ChannelRow.user_id.in_(user_ids), delivers)
        rows = await self._transaction.rows(query.order_by(ChannelRow.id))
        addresses = [destination_of(row, self._cipher) for row in rows]
        found = zip(await self._channels(rows), addresses, strict=True)
        return [(channel, address) for channel, address in found if address is not None]

    async def update(self, channel: Channel) -> None:
        """Store label, kinds and whether it is on; turning it off removes its waiting deliveries."""
        changed = await self._transaction.execute(
            update(ChannelRow)
            .where(ChannelRow.id == channel.id, ChannelRow.user_id == channel.user_id)
            .values(label=channel.label, is_on=channel.is_on)
            .returning(ChannelRow.id)
        )
        if changed.first() is None:
            return
        await self._transaction.execute(delete(ChannelKindRow).where(ChannelKindRow.channel_id == channel.id))
        await self._put_kinds(channel.id, channel.kinds)
        if not channel.is_on:
            await self._transaction.execute(
                delete(DeliveryRow).where(
                    DeliveryRow.channel_id == channel.id, DeliveryRow.state == DeliveryState.WAITING
                )
            )

    async def destination(self, user_id: str, channel_id: str) -> Destination | None:
        """Return the address of one of the user's channels; None also when it cannot be decrypted."""
        row = await self._transaction.row(
            select(ChannelRow).where(ChannelRow.id == channel_id, ChannelRow.user_id == user_id)
        )
        return None if row is None else destination_of(row, self._cipher)

    async def confirm(self, channel_id: str) -> None:
        """Store that the e-mail address was confirmed with a code."""
        await self._transaction.execute(
            update(ChannelRow).where(ChannelRow.id == channel_id).values(proof=AddressProof.CODE)
        )

    async def confirmed_addresses(self, user_id: str) -> list[ChannelAddress]:
        """Return the e-mail addresses that the user confirmed with a code, oldest first."""
        query = select(ChannelRow).where(
            ChannelRow.user_id == user_id,
            ChannelRow.kind == ChannelKind.EMAIL,
            ChannelRow.proof == AddressProof.CODE,
        )
        rows = await self._transaction.rows(query.order_by(ChannelRow.created_at, ChannelRow.id))
        found = [destination_of(row, self._cipher) for row in rows]
        return [destination.address for destination in found if destination is not None]

    async def remove(self, user_id: str, channel_id: str) -> bool:
        """Remove a channel with its deliveries; False when the user has no such channel."""
        done = await self._transaction.execute(
            delete(ChannelRow)
            .where(ChannelRow.id == channel_id, ChannelRow.user_id == user_id)
            .returning(ChannelRow.id)
        )
        return done.first() is not None

    async def _put_kinds(self, channel_id: str, kinds: Iterable[NotificationKind]) -> None:
        rows = [{"channel_id": channel_id, "kind": kind} for kind in sorted(kinds)]
        await self._transaction.execute_many(self._transaction.insert(ChannelKindRow), rows)

    async def _channels(self, rows: Sequence[ChannelRow]) -> list[Channel]:
        kinds: dict[str, set[NotificationKind]] = defaultdict(set)
        carried = select(ChannelKindRow).where(ChannelKindRow.channel_id.in_([row.id for row in rows]))
        for row in await self._transaction.rows(carried) if rows else ():
            kinds[row.channel_id].add(row.kind)
        return [
            value_of(Channel, row, kinds=frozenset(kinds[row.id]), health=value_of(ChannelHealth, row))
            for row in rows
        ]


def is_confirmed() -> ColumnElement[bool]:
    """Whether a channel may be sent more than codes; only e-mail addresses have to be confirmed."""
    return or_(ChannelRow.kind != ChannelKind.EMAIL, ChannelRow.proof.is_not(None))


def takes_notices() -> ColumnElement[bool]:
    """Whether a channel gets new notices."""
    return and_(ChannelRow.is_on, is_confirmed())


def destination_of(row: ChannelRow, cipher: Cipher) -> Destination | None:
    """Return the address of a channel, or None when it cannot be decrypted."""
    try:
        address = cipher.open(row.address, channel_address_identity(row.id))
        secret = row.signing_secret and cipher.open(row.signing_secret, signing_secret_identity(row.id))
    except Undecryptable as problem:
        _log.error("channel.undecryptable", channel_id=row.id, problem=str(problem))
        return None
    return Destination(row.kind, ChannelAddress(address), SigningSecret(secret) if secret else None)
