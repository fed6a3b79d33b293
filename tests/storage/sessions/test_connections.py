"""Connections, tokens, Fyers apps and pending logins, the same in memory, on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import replace

import pytest

from hullwatch.domain.failures import NotFound
from hullwatch.domain.secrets import AccessToken, AppSecret
from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState, VerificationState
from hullwatch.domain.users.accounts import FyersApp
from storage.samples import NOW, add_users, after, connected, pending

TOKEN = AccessToken("header.claims.signature")
ENDED = {
    "state": LoginState.DISCONNECTED,
    "verification_state": VerificationState.ASSUMED,
    "reason": DisconnectReason.EXPIRED,
}


@pytest.fixture
async def work(store):
    """Return a unit of work with two users."""
    await add_users(store, "asha", "ravi")
    async with store.begin() as opened:
        yield opened


async def test_a_connection_comes_back_as_stored(work):
    """With every field filled, and with every optional one empty."""
    assert await work.connections.save_login(connected(), TOKEN)
    assert await work.connections.save(Connection("ravi"))

    assert await work.connections.get("asha") == connected()
    assert await work.connections.get("ravi") == Connection("ravi")
    assert await work.connections.get("nobody") is None
    assert await work.connections.list_all() == [connected(), Connection("ravi")]


async def test_a_token_belongs_to_its_generation(work):
    """Another generation has no token."""
    await work.connections.save_login(connected(), TOKEN)

    assert await work.connections.token("asha", 1) == TOKEN
    assert await work.connections.token("asha", 2) is None
    assert await work.connections.token("ravi", 1) is None
    assert await work.connections.tokens() == {"asha": (1, TOKEN)}


async def test_a_login_is_stored_once(work):
    """The same generation again, or an older one, changes nothing; a newer one replaces token and all."""
    assert await work.connections.save_login(connected(generation=2), TOKEN)

    assert not await work.connections.save_login(connected(generation=2, fyers_id="XB2"), AccessToken("late"))
    assert not await work.connections.save_login(
        connected(generation=1, fyers_id="XB1"), AccessToken("older")
    )
    assert await work.connections.get("asha") == connected(generation=2)
    assert await work.connections.tokens() == {"asha": (2, TOKEN)}

    assert await work.connections.save_login(connected(generation=3), AccessToken("newer"))
    assert await work.connections.tokens() == {"asha": (3, AccessToken("newer"))}


async def test_the_result_of_an_older_generation_is_not_stored(work):
    """A late disconnect of the first session leaves the second one and its token alone."""
    await work.connections.save_login(connected(generation=2), TOKEN)

    assert not await work.connections.save(connected(generation=1, **ENDED))

    assert await work.connections.get("asha") == connected(generation=2)
    assert await work.connections.token("asha", 2) == TOKEN


async def test_a_session_that_changes_keeps_its_token(work):
    """VerificationState and expiry change; the token of the same generation stays."""
    await work.connections.save_login(connected(), TOKEN)
    changed = connected(state=LoginState.EXPIRING, verification_state=VerificationState.UNDER_VERIFICATION)

    assert await work.connections.save(changed)

    assert await work.connections.get("asha") == changed
    assert await work.connections.token("asha", 1) == TOKEN


async def test_a_disconnected_session_loses_its_token(work):
    """The token is erased with the session."""
    await work.connections.save_login(connected(), TOKEN)

    assert await work.connections.save(connected(**ENDED))

    assert (await work.connections.get("asha")).reason is DisconnectReason.EXPIRED
    assert await work.connections.token("asha", 1) is None
    assert await work.connections.tokens() == {}


async def test_a_disconnected_session_is_not_restored(work):
    """A late word about the same generation does not bring it back; a new login does."""
    await work.connections.save_login(connected(), TOKEN)
    await work.connections.save(connected(**ENDED))

    assert not await work.connections.save(connected(verification_state=VerificationState.VERIFIED))
    assert (await work.connections.get("asha")).state is LoginState.DISCONNECTED

    assert await work.connections.save_login(connected(generation=2), AccessToken("new"))
    assert await work.connections.tokens() == {"asha": (2, AccessToken("new"))}


async def test_what_was_observed_is_stored_for_present_sessions_only(work):
    """Verification state, validation and incident change; a disconnected or replaced session does not."""
    await work.connections.save_login(connected("asha"), TOKEN)
    await work.connections.save_login(connected("ravi", generation=2), TOKEN)
    seen = {
        "verification_state": VerificationState.UNVERIFIED,
        "last_validated_at": after(minutes=7),
        "incident_id": "inc_7",
    }

    await work.connections.save_observed(
        [
            connected("asha", **seen, fyers_id="XB9"),
            connected("ravi", generation=1, **seen),
            Connection("nobody"),
        ]
    )

    assert await work.connections.get("asha") == connected("asha", **seen)
    assert await work.connections.get("ravi") == connected("ravi", generation=2)
    assert set(await work.connections.tokens()) == {"asha", "ravi"}
    await work.connections.save(connected("asha", **ENDED))
    await work.connections.save_observed([connected("asha", **seen)])
    await work.connections.save_observed([])
    assert await work.connections.get("asha") == connected("asha", **ENDED)


async def test_a_newer_generation_without_its_token_has_none(work):
    """The token of an older generation never passes to a newer one."""
    await work.connections.save_login(connected(), TOKEN)

    assert await work.connections.save(connected(generation=2))

    assert await work.connections.token("asha", 2) is None
    assert await work.connections.tokens() == {}


async def test_the_connection_of_a_removed_user_is_not_stored(work):
    """It says so without spoiling what else the transaction holds."""
    assert not await work.connections.save(Connection("nobody"))
    assert not await work.connections.save_login(connected("nobody"), TOKEN)

    assert await work.connections.save(Connection("asha"))
    assert await work.connections.list_all() == [Connection("asha")]


async def test_of_two_logins_at_once_one_is_stored(store):
    """Both callers learn which of them it was."""
    await add_users(store, "asha")

    async def log_in(text):
        async with store.begin() as work:
            is_stored = await work.connections.save_login(connected(), AccessToken(text))
            await work.commit()
            return is_stored

    first, second = await asyncio.gather(log_in("first"), log_in("second"))

    assert {first, second} == {True, False}
    async with store.begin() as work:
        assert await work.connections.token("asha", 1) == AccessToken("first" if first else "second")


async def test_a_fyers_app_is_replaced_as_a_whole(work):
    """Each user has at most one."""
    app = FyersApp("ABCD1234XY-100", AppSecret("s3cret"), "http://127.0.0.1:8000/api/fyers/callback")
    other = FyersApp("WXYZ9876AB-100", AppSecret("0ther"), "https://example.com/callback")
    await work.connections.put_app("asha", app)
    assert await work.connections.app("asha") == app

    await work.connections.put_app("asha", other)
    assert await work.connections.app("asha") == other
    assert await work.connections.app("ravi") is None

    await work.connections.remove_app("asha")
    assert await work.connections.app("asha") is None


async def test_a_fyers_app_needs_a_user(work):
    """Nothing is stored for someone who does not exist."""
    with pytest.raises(NotFound):
        await work.connections.put_app("nobody", FyersApp("ABCD1234XY-100", AppSecret("secret"), "http://x/"))


async def test_a_pending_login_is_used_once(work):
    """With everything it was stored with."""
    whole = pending(may_switch_account=True)
    await work.connections.add_pending("state", whole)

    assert await work.connections.take_pending("other") is None
    assert await work.connections.take_pending("state") == whole
    assert await work.connections.take_pending("state") is None


async def test_of_two_who_take_a_pending_login_at_once_one_gets_it(store):
    """However often it is tried."""
    await add_users(store, "asha")
    async with store.begin() as work:
        for number in range(5):
            await work.connections.add_pending(f"state-{number}", pending())
        await work.commit()

    async def take(number):
        async with store.begin() as work:
            taken = await work.connections.take_pending(f"state-{number}")
            await work.commit()
            return taken

    for number in range(5):
        taken = await asyncio.gather(take(number), take(number), take(number))
        assert sum(found is not None for found in taken) == 1


async def test_a_pending_login_is_kept_when_the_transaction_is_undone(store):
    """Leaving without a commit puts it back."""
    await add_users(store, "asha")
    async with store.begin() as work:
        await work.connections.add_pending("state", pending())
        await work.commit()

    async with store.begin() as work:
        assert await work.connections.take_pending("state") is not None

    async with store.begin() as work:
        assert await work.connections.take_pending("state") is not None


async def test_moments_keep_their_microseconds(work):
    """Also those without any, which texts could drop."""
    whole = replace(connected(), expires_at=NOW.replace(microsecond=0), connected_at=after(0.0000001))
    await work.connections.save_login(whole, TOKEN)

    assert await work.connections.get("asha") == whole
