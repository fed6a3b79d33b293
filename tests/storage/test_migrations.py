"""A database of the first release keeps its rows and secrets when it is upgraded."""

from collections.abc import AsyncIterator

import pytest
from alembic import command
from sqlalchemy import inspect, text

from hullwatch.domain.market.calendar import TradingSession
from hullwatch.domain.monitoring.coverage import STATUS_KIND, BlindReason, coverage, downtimes, status_changes
from hullwatch.domain.notifications.channels import AddressProof, ClaimLimits
from hullwatch.domain.notifications.incidents import BROKER_UNAVAILABLE, MASS_REFUSAL
from hullwatch.domain.notifications.notifications import (
    DELIVERED_WITH,
    ChannelKind,
    DeliveryState,
    NotificationKind,
)
from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.secrets import AccessToken
from hullwatch.domain.sessions.connection import VerificationState
from hullwatch.domain.sessions.login_links import BY_OLD_LINK
from hullwatch.storage.cipher import Cipher, channel_address_identity
from hullwatch.storage.failures import DatabaseUnusable
from hullwatch.storage.keys import EncryptionKey, FixedKeys
from hullwatch.storage.maintenance import check
from hullwatch.storage.opening import opened
from hullwatch.storage.store import Store
from hullwatch.storage.upgrade import _config, is_current, upgrade
from storage.conftest import POSTGRES, SQLITE
from storage.first_release import expected_rows, fill, rows_in, secrets
from storage.samples import NOW, after, notification

FIRST_RELEASE = "0002"


@pytest.fixture(params=[SQLITE, POSTGRES])
async def url(request, tmp_path) -> AsyncIterator[str]:
    """The address of an empty database of its own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/stepwise.db"
        return
    server = request.getfixturevalue("postgres_server")
    async with opened(server) as connection:
        await connection.rollback()
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("DROP DATABASE IF EXISTS stepwise"))
        await connection.execute(text("CREATE DATABASE stepwise"))
    yield server.replace("/postgres?", "/stepwise?")


@pytest.fixture
def cipher() -> Cipher:
    """The keys of the data folder."""
    return Cipher(FixedKeys([EncryptionKey.make()]))


@pytest.fixture
async def first_release(url, cipher) -> str:
    """The address of a database of 0.1.0, in which every table has rows."""

    def make(connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, FIRST_RELEASE)
        fill(connection, cipher)

    async with opened(url) as connection:
        await connection.run_sync(make)
        await connection.commit()
    return url


@pytest.fixture
async def upgraded(first_release, cipher) -> AsyncIterator[Store]:
    """A store on the upgraded database of 0.1.0."""
    await upgrade(first_release)
    store = Store(first_release, cipher)
    yield store
    await store.close()


async def test_every_row_and_secret_of_0_1_0_is_kept(first_release, cipher):
    """Only the listed words and names differ; secrets open with the texts they were bound to."""
    await upgrade(first_release)

    async with opened(first_release, read_only=True) as connection:
        assert await connection.run_sync(lambda sync: rows_in(sync, cipher)) == expected_rows()
    report = await check(first_release, cipher)
    assert (report.problems, report.secrets) == ((), len(secrets()))
    assert await is_current(first_release)


async def test_sessions_and_secrets_are_read_after_the_upgrade(upgraded):
    """Through the repositories, which build the associated data of each secret by themselves."""
    await upgraded.check_keys()
    async with upgraded.begin(read_only=True) as work:
        sessions = {one.user_id: one for one in await work.connections.list_all()}
        keys = await work.renewals.keys("user2")
        assert await work.connections.tokens() == {"asha": (3, AccessToken("access canary"))}
        assert (await work.connections.app("asha")).secret.reveal() == "app canary"
        assert (await work.renewals.get("user2")).last_outcome is RenewalOutcome.EXPIRES_NO_LATER
        assert (await work.login_links.get("l1")).used_at == after(5)
        assert (await work.login_links.get("l1")).requested_by == BY_OLD_LINK
    assert (await upgraded.sharing_salt()).reveal() == "salt canary"
    assert (keys.pin.reveal(), keys.refresh_token.reveal()) == ("pin 2", "refresh 2")
    assert {sessions[f"user{number}"].verification_state for number in range(5)} == set(VerificationState)


async def test_notices_and_incidents_are_read_after_the_upgrade(upgraded):
    """The channel carries every chosen kind; a notice of the incident is not stored twice."""
    async with upgraded.begin() as work:
        notices = await work.notifications.of_user("asha")
        (channel,) = await work.channels.of_user("asha")
        (dead_letter,) = await work.outbox.dead_letters()
        incidents = {one.subject: one for one in await work.incidents.all_open()}
        again = notification("again", incident_id="i1", kind=NotificationKind.SESSION_DISCONNECTED)
        assert not await work.notifications.add(again)
        wish = ClaimLimits(frozenset(ChannelKind), limit=9, unproven_limit=9, per_channel=9, running={})
        (claimed,) = await work.outbox.claim(wish, now=after(60), until=after(61))
        assert await work.audit.last_heartbeat() == after(26)
    kinds = [kind for kind in NotificationKind if kind not in DELIVERED_WITH]
    assert [one.kind for one in reversed(notices)] == kinds
    assert channel.kinds == frozenset(kinds)
    assert dead_letter.delivery.state is DeliveryState.FAILED_PERMANENTLY
    assert incidents[BROKER_UNAVAILABLE].notified_at == incidents[MASS_REFUSAL].notified_at == after(2)
    assert claimed.destination.address.reveal() == "https://x.in/hook?key=canary"
    assert claimed.destination.signing_secret.reveal() == "signing canary"


async def test_coverage_reads_the_status_log_of_0_1_0(upgraded):
    """A minute in which Fyers was unavailable before the upgrade stays blind for that reason."""
    async with upgraded.begin(read_only=True) as work:
        lines = await work.audit.lines(STATUS_KIND, since=NOW, before=after(60), user_id="asha")
        server = await work.audit.server_lines(since=NOW)
    session = TradingSession(NOW, after(60))
    day = coverage(NOW.date(), [session], status_changes(lines), downtimes(server), until=after(10))
    assert [(one.reason, one.began_at, one.ended_at) for one in day.stretches] == [
        (BlindReason.FYERS_UNAVAILABLE, after(3), after(6)),
        (BlindReason.SLOW_CYCLE, after(7), after(8)),
    ]
    assert downtimes(server) == [(after(20), after(25))]


async def test_delivered_mail_continues_and_other_addresses_wait(first_release, cipher):
    """No trader loses notices at the upgrade. An address without a delivery needs its code first."""
    sealed = cipher.seal("asha@example.com", channel_address_identity("mailed"))
    async with opened(first_release) as connection:
        for channel_id, last_sent_at in (("mailed", "last_sent_at"), ("unused", "NULL")):
            await connection.execute(
                text(
                    "INSERT INTO channels SELECT :id, user_id, 'email', label, :address, hint, NULL, is_on, created_at, "
                    f"{last_sent_at}, failures, failing_since, last_error, paused_until FROM channels WHERE id = 'c1'"
                ),
                {"id": channel_id, "address": sealed},
            )
        await connection.commit()
    await upgrade(first_release)
    store = Store(first_release, cipher)
    async with store.begin(read_only=True) as work:
        proofs = {one.id: (one.proof, one.is_confirmed) for one in await work.channels.of_user("asha")}
        assert await work.channels.confirmed_addresses("asha") == []
    await store.close()
    assert proofs == {"c1": (None, True), "mailed": (AddressProof.DELIVERY, True), "unused": (None, False)}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE broker_connections SET verification_state = 'suspected'",
        "UPDATE notifications SET kind = 'session_ended'",
        "UPDATE channel_kinds SET kind = 'nonsense'",
        "UPDATE channels SET proof = 'nonsense'",
        "UPDATE deliveries SET state = 'set_aside'",
        "UPDATE renewals SET last_outcome = 'ends_no_later'",
        "UPDATE signals SET withdrawn_reason = 'nonsense'",
    ],
)
async def test_unknown_words_are_refused_after_the_upgrade(upgraded, first_release, change):
    """The CHECK constraints hold each column to the new list."""
    with pytest.raises(DatabaseUnusable, match=r"(?i)check"):
        async with opened(first_release) as connection:
            await connection.execute(text(change))


async def test_a_database_before_0_1_0_is_refused(url, cipher):
    """The sentence says which version can upgrade it, and the database is left as it is."""
    async with opened(url) as connection:
        await connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        await connection.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
        await connection.commit()

    for call in (upgrade, is_current):
        with pytest.raises(DatabaseUnusable, match=r"run hullwatch db upgrade with version 0\.1\.0 first"):
            await call(url)
    assert "version 0.1.0 first" in (await check(url, cipher)).problems[0]
    async with opened(url, read_only=True) as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == ["alembic_version"]
