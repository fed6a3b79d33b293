"""Who wants sessions renewed: the same in memory, on SQLite and on PostgreSQL."""

import pytest
from sqlalchemy import text

from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.renewal.rules import Renewal, RenewalKeys
from hullwatch.domain.secrets import Pin, RefreshToken
from storage.samples import NOW, add_users, after

PIN, TOKEN = Pin("739146"), RefreshToken("re.fre.sh")
APP_ID = "ABCD1234XY-100"


@pytest.fixture
async def renewals(store):
    """Return a store with two users, of whom one has opted in."""
    await add_users(store, "asha", "biren")
    async with store.begin() as work:
        assert await work.renewals.opt_in("asha", PIN, at=NOW)
        await work.commit()
    return store


async def keep(store, user_id: str = "asha", token: RefreshToken | None = TOKEN, generation: int = 3) -> bool:
    """Store what a login brought."""
    async with store.begin() as work:
        done = await work.renewals.keep_token(
            user_id, token, app_id=APP_ID, generation=generation, expires_at=after(9000)
        )
        await work.commit()
    return done


async def find(store, user_id: str = "asha") -> tuple[Renewal | None, RenewalKeys | None]:
    """Read a consent and its secrets."""
    async with store.begin(read_only=True) as work:
        return await work.renewals.get(user_id), await work.renewals.keys(user_id)


async def test_a_consent_is_kept_and_has_no_keys_before_a_login(renewals):
    """Until a login brings a refresh token there is nothing to renew with."""
    assert await find(renewals) == (Renewal("asha", NOW), None)
    assert await find(renewals, "biren") == (None, None)


async def test_a_login_replaces_the_last_refresh_token(renewals):
    """With its app, its login and its expiry; both secrets come back unchanged."""
    await keep(renewals, token=RefreshToken("an.older.one"), generation=2)
    assert await keep(renewals)

    renewal, keys = await find(renewals)
    assert renewal == Renewal("asha", NOW, True, APP_ID, 3, after(9000))
    assert keys == RenewalKeys(PIN, TOKEN)


async def test_a_login_that_brings_none_leaves_none(renewals):
    """An older refresh token may be another account's by then."""
    await keep(renewals)
    assert await keep(renewals, token=None, generation=4)

    assert await find(renewals) == (Renewal("asha", NOW), None)


async def test_without_consent_nothing_is_stored(renewals):
    """Neither a refresh token nor a try."""
    assert not await keep(renewals, "biren")
    async with renewals.begin() as work:
        done = await work.renewals.record_try("biren", generation=1, at=NOW, outcome=RenewalOutcome.UNDER_WAY)
        await work.commit()

    assert not done
    assert await find(renewals, "biren") == (None, None)


@pytest.mark.parametrize("outcome", RenewalOutcome)
async def test_a_try_is_noted(renewals, outcome):
    """Its session, its moment and every outcome."""
    async with renewals.begin() as work:
        assert await work.renewals.record_try("asha", generation=5, at=after(1), outcome=outcome)
        await work.commit()

    renewal, _ = await find(renewals)
    assert (renewal.tried_generation, renewal.last_tried_at, renewal.last_outcome) == (5, after(1), outcome)


async def test_a_new_pin_clears_the_outcome_of_the_last_one(renewals):
    """The refresh token and the count of tries stay; the day of the first consent does too."""
    await keep(renewals)
    async with renewals.begin() as work:
        await work.renewals.record_try("asha", generation=3, at=after(1), outcome=RenewalOutcome.WRONG_PIN)
        assert await work.renewals.opt_in("asha", Pin("4444"), at=after(2))
        await work.commit()

    renewal, keys = await find(renewals)
    assert (renewal.last_outcome, renewal.tried_generation, renewal.opted_in_at) == (None, 3, NOW)
    assert keys == RenewalKeys(Pin("4444"), TOKEN)


async def test_a_bad_refresh_token_is_dropped_and_a_newer_one_is_not(renewals):
    """The one of another login is not meant."""
    await keep(renewals)
    async with renewals.begin() as work:
        await work.renewals.drop_token("asha", generation=2)
        await work.commit()
    assert (await find(renewals))[1] is not None

    async with renewals.begin() as work:
        await work.renewals.drop_token("asha", generation=3)
        await work.commit()
    assert await find(renewals) == (Renewal("asha", NOW), None)


async def test_a_consent_is_withdrawn_with_everything(renewals):
    """A second time there is nothing to remove."""
    await keep(renewals)
    async with renewals.begin() as work:
        assert await work.renewals.remove("asha")
        assert not await work.renewals.remove("asha")
        await work.commit()

    assert await find(renewals) == (None, None)


async def test_all_consents_are_listed(renewals):
    """By user id."""
    async with renewals.begin() as work:
        await work.renewals.opt_in("biren", PIN, at=after(1))
        await work.commit()
        assert [renewal.user_id for renewal in await work.renewals.list_all()] == ["asha", "biren"]


async def test_a_removed_user_s_consent_goes_and_none_is_stored(renewals):
    """The rest of the transaction is kept."""
    await keep(renewals)
    async with renewals.begin() as work:
        await work.users.remove("asha")
        assert not await work.renewals.opt_in("asha", PIN, at=NOW)
        assert not await work.renewals.opt_in("nobody", PIN, at=NOW)
        assert await work.renewals.opt_in("biren", PIN, at=NOW)
        await work.commit()

    assert await find(renewals) == (None, None)
    assert await find(renewals, "biren") == (Renewal("biren", NOW), None)


async def test_the_secrets_are_encrypted_and_bound_to_their_row(database, caplog):
    """The database and the log show neither, and in another row they cannot be decrypted."""
    store = database.open()
    await add_users(store, "asha", "biren")
    async with store.begin() as work:
        for user_id in ("asha", "biren"):
            await work.renewals.opt_in(user_id, PIN, at=NOW)
        await work.commit()
    await keep(store)
    await keep(store, "biren")
    async with store.begin() as work:
        rows = await work.renewals._transaction.execute(text("SELECT * FROM renewals"))
        assert not {"739146", "re.fre.sh"} & set(map(str, rows.first()))
        for column in ("pin", "refresh_token"):
            theirs = f"(SELECT {column} FROM renewals WHERE user_id = 'asha')"
            await work.renewals._transaction.execute(
                text(f"UPDATE renewals SET {column} = {theirs} WHERE user_id = 'biren'")
            )
            assert await work.renewals.keys("biren") is None
    assert (await find(store, "biren"))[1] == RenewalKeys(PIN, TOKEN)
    assert "739146" not in caplog.text
    assert "re.fre.sh" not in caplog.text
