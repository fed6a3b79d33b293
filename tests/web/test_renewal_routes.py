"""Consent to renewals over HTTP; `hullwatch.web.api.renewal`."""

from datetime import UTC, datetime

import pytest

from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.renewal.rules import Renewal
from hullwatch.services.renewal.consents import RenewalConsents, RenewalState
from hullwatch.services.renewal.texts import OUTCOMES
from hullwatch.web.api.renewal import RenewalPayload

RENEWAL = "/api/fyers/renewal"


async def test_a_user_opts_in_logs_in_and_opts_out(env):
    """Each step shows in the answer, with a sentence; the PIN is in none."""
    async with env.browser("asha") as client:
        before = await client.get(RENEWAL)
        opted_in = await client.put(RENEWAL, json={"pin": "739146"})
        await env.link(client, "XA001")
        ready = await client.get(RENEWAL)
        out = await client.delete(RENEWAL)
        after = await client.get(RENEWAL)

    assert before.json() == after.json()
    assert before.json() | {"message": ""} == {
        "isOffered": True,
        "isOptedIn": False,
        "hasRefreshToken": False,
        "refreshTokenExpiresAt": None,
        "lastTriedAt": None,
        "lastOutcome": None,
        "message": "",
    }
    assert (opted_in.status_code, opted_in.json()["isOptedIn"]) == (200, True)
    assert "Log in to Fyers once more" in opted_in.json()["message"]
    assert ready.json()["hasRefreshToken"] is True
    assert ready.json()["refreshTokenExpiresAt"] is not None
    assert (out.status_code, out.content) == (204, b"")
    assert all("739146" not in answer.text for answer in (opted_in, ready, after))


@pytest.mark.parametrize(
    "body", [{"pin": "12"}, {"pin": "abcd"}, {"pin": 1234}, {"pin": None}, {}, {"pin": "1" * 65}]
)
async def test_an_invalid_pin_is_refused(env, body):
    """The field is named and nothing is kept."""
    async with env.browser("asha") as client:
        refused = await client.put(RENEWAL, json=body)

    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == ["pin"]
    assert env.store.tables.renewals == {}


async def test_a_server_without_renewals_names_the_rule(env):
    """403 with a sentence about SEBI's rule; reading shows it too, and opting out changes nothing."""
    off = RenewalConsents(env.services.context, is_offered=False)
    object.__setattr__(env.services, "renewal_consents", off)
    async with env.browser("asha") as client:
        refused = await client.put(RENEWAL, json={"pin": "1234"})
        read = await client.get(RENEWAL)
        out = await client.delete(RENEWAL)

    assert refused.status_code == 403
    assert "SEBI" in refused.json()["detail"]
    assert (read.json()["isOffered"], read.json()["message"]) == (False, refused.json()["detail"])
    assert out.status_code == 204


async def test_renewals_of_other_users_are_not_shown(env):
    """Without a login there is no answer, and one user's consent is not another's."""
    async with env.client() as nobody:
        statuses = [
            (await nobody.get(RENEWAL)).status_code,
            (await nobody.put(RENEWAL, json={"pin": "1234"})).status_code,
            (await nobody.delete(RENEWAL)).status_code,
        ]
    async with env.browser("asha") as asha, env.browser("biren") as biren:
        await asha.put(RENEWAL, json={"pin": "1234"})
        await biren.delete(RENEWAL)

        assert (await asha.get(RENEWAL)).json()["isOptedIn"] is True
        assert (await biren.get(RENEWAL)).json()["isOptedIn"] is False
    assert statuses == [401, 401, 401]


@pytest.mark.parametrize("outcome", RenewalOutcome)
def test_every_outcome_has_a_sentence(outcome):
    """No two outcomes share a sentence."""
    renewal = Renewal("asha", datetime.now(UTC), last_outcome=outcome)

    assert RenewalPayload.of(RenewalState(True, renewal)).message == OUTCOMES[outcome]
    assert len(set(OUTCOMES.values())) == len(RenewalOutcome)
