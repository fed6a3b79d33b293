"""The login at Fyers; `hullwatch.services.login.oauth` over fakes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from random import Random
from urllib.parse import parse_qs, urlsplit

import pytest
import structlog
from fakes.broker import AccountState, refusal
from fakes.clock import FakeClock
from fakes.resources import fake_resources

from hullwatch.app.options import ServiceOptions
from hullwatch.app.services import build_services
from hullwatch.domain.failures import (
    BrokerRefusal,
    BrokerService,
    InvalidInput,
    LinkRefused,
    NotPermitted,
    RateLimited,
    RequestRefused,
    Unavailable,
    WrongAccount,
)
from hullwatch.domain.secrets import AccessToken, AppSecret
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState
from hullwatch.domain.sessions.tokens import next_daily_expiry
from hullwatch.domain.users.accounts import FyersApp, Role, User
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.login.apps import AppCheck
from hullwatch.services.login.oauth import STATE_LIFETIME, Redirect, read_pasted

APP = FyersApp("HULLWATCH-100", AppSecret("simulator-secret"), "http://127.0.0.1:8000/api/fyers/callback")
NONCE = "nonce-of-the-beginning-browser"


class Environment:
    """All services over fakes, with methods for logins at Fyers."""

    def __init__(
        self, supervisor: Supervisor, clock: FakeClock, *, server_app: FyersApp | None = APP
    ) -> None:
        resources = fake_resources(
            clock=clock,
            supervisor=supervisor,
            options=ServiceOptions(sign_out_timeout_s=0.0),
            server_app=server_app,
        )
        services = build_services(resources)
        self.clock, self.store, self.broker = clock, resources.context.store, resources.broker
        self.connections, self.linking = services.connections, services.fyers_login

    async def add_user(self, user_id: str) -> None:
        """Store a user."""
        user = User(user_id, f"{user_id}@b.in", user_id, Role.TRADER, self.clock.now())
        async with self.store.begin() as work:
            await work.users.add(user, "hash")
            await work.commit()

    async def begin(
        self, user_id: str = "asha", nonce: str = NONCE, *, may_switch_account: bool = False
    ) -> str:
        """Begin a login and return its state."""
        url = await self.linking.connect(user_id, nonce, may_switch_account=may_switch_account)
        return parse_qs(urlsplit(url).query)["state"][0]

    def redirect(self, state: str | None, fyers_id: str = "XA001") -> Redirect:
        """Return what Fyers sends back with this state."""
        return Redirect(state, self.broker.issue_auth_code(fyers_id).reveal())

    async def come_back(self, redirect: Redirect, user_id: str | None = "asha", nonce: str | None = NONCE):
        """Follow Fyers' redirect."""
        return await self.linking.callback(redirect, user_id=user_id, browser_nonce=nonce)


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    """A supervisor that ends with the test."""
    async with Supervisor(FakeClock(), Random(1), structlog.get_logger()) as supervisor:
        yield supervisor


@pytest.fixture
async def env(supervisor) -> Environment:
    """An environment with two users."""
    env = Environment(supervisor, FakeClock())
    await env.connections.load()
    await env.add_user("asha")
    await env.add_user("biren")
    return env


async def test_round_trip_connects(env):
    """A login that comes back as it was begun is a session until the token's own end."""
    connection = await env.come_back(env.redirect(await env.begin()))

    assert connection.state is LoginState.CONNECTED
    assert connection.fyers_id == "XA001"
    assert connection.expires_at == next_daily_expiry(env.clock.now())
    assert env.connections.credential("asha") is not None


async def test_state_is_stored_as_a_hash(env):
    """Neither the state nor the nonce is in the database."""
    state = await env.begin()

    assert state not in repr(env.store.tables)
    assert NONCE not in repr(env.store.tables)


async def test_state_is_good_once(env):
    """The same redirect twice, as on a reload, connects once and is then refused."""
    state = await env.begin()
    await env.come_back(env.redirect(state))

    with pytest.raises(LinkRefused):
        await env.come_back(env.redirect(state))


async def test_state_is_good_once_for_two_at_the_same_moment(env):
    """Of two identical redirects at the same moment one connects."""
    state = await env.begin()

    results = await asyncio.gather(
        env.come_back(env.redirect(state)), env.come_back(env.redirect(state)), return_exceptions=True
    )

    assert sum(isinstance(result, LinkRefused) for result in results) == 1
    assert env.connections.connection("asha").generation == 1


async def test_state_expires(env):
    """A login that takes longer than ten minutes is refused."""
    state = await env.begin()

    await env.clock.advance(STATE_LIFETIME.total_seconds())

    with pytest.raises(LinkRefused):
        await env.come_back(env.redirect(state))


@pytest.mark.parametrize("state", [None, "", "made-up", "x" * 5000, "nul\x00", "half\ud800"])
async def test_unknown_state_is_refused(env, state):
    """Without a state of ours nothing is exchanged."""
    with pytest.raises(LinkRefused):
        await env.come_back(env.redirect(state))

    assert not env.broker.calls


async def test_foreign_state_is_refused(env):
    """A user who is signed in cannot finish a login that somebody else began, not even in the same browser."""
    state = await env.begin("asha")

    with pytest.raises(LinkRefused):
        await env.come_back(env.redirect(state), user_id="biren", nonce=NONCE)

    assert not env.connections.connection("asha").has_session
    assert not env.connections.connection("biren").has_session


async def test_beginning_browser_may_come_back_signed_out(env):
    """When the login of the browser ended meanwhile, the browser that began may still finish."""
    connection = await env.come_back(env.redirect(await env.begin()), user_id=None)

    assert connection.user_id == "asha"


@pytest.mark.parametrize("nonce", [None, "", "another"])
async def test_another_browser_is_refused(env, nonce):
    """Another browser that got the address cannot complete the login."""
    state = await env.begin()

    with pytest.raises(LinkRefused):
        await env.come_back(env.redirect(state), user_id=None, nonce=nonce)


async def test_same_user_may_finish_in_another_browser(env):
    """The user is enough: a login begun by a program may be finished in the user's browser."""
    connection = await env.come_back(env.redirect(await env.begin()), user_id="asha", nonce=None)

    assert connection.has_session


async def test_error_of_fyers_is_reported(env):
    """When Fyers redirects with an error, the login is refused and its state is used up."""
    state = await env.begin()

    with pytest.raises(LinkRefused):
        await env.come_back(Redirect(state, None, is_error=True))
    with pytest.raises(LinkRefused):
        await env.come_back(env.redirect(state))


async def test_changed_app_is_refused(env):
    """An auth code of one app is not exchanged with another app's secret."""
    state = await env.begin()
    await env.linking.put_app("asha", "OTHERAPP-100", "othersecret", "https://other.in/back")

    with pytest.raises(LinkRefused):
        await env.come_back(env.redirect(state))


async def test_wrong_account_is_refused_and_nothing_changes(env):
    """A login as another Fyers id than before is refused; the old session goes on."""
    before = await env.come_back(env.redirect(await env.begin()))

    with pytest.raises(WrongAccount):
        await env.come_back(env.redirect(await env.begin(), "XB002"))

    assert env.connections.connection("asha") == before


async def test_account_is_switched_when_meant(env):
    """Who says so beforehand may link another Fyers id."""
    await env.come_back(env.redirect(await env.begin()))

    connection = await env.come_back(env.redirect(await env.begin(may_switch_account=True), "XB002"))

    assert connection.fyers_id == "XB002"
    assert connection.generation == 2


async def test_wrong_account_counts_after_a_disconnect_too(env):
    """The account linked before is remembered when its session is over."""
    await env.come_back(env.redirect(await env.begin()))
    await env.linking.disconnect("asha")

    with pytest.raises(WrongAccount):
        await env.come_back(env.redirect(await env.begin(), "XB002"))


async def test_token_without_owner_is_asked_about(env):
    """When the token does not say whose it is, Fyers' profile does."""
    env.broker.answer_profile_as("", "XA001")
    env.broker.issue_token = ownerless(env)

    connection = await env.come_back(env.redirect(await env.begin()))

    assert connection.fyers_id == "XA001"


def ownerless(env: Environment):
    """Return a token maker whose tokens name no owner."""
    issue = env.broker.issue_token
    return lambda fyers_id: issue("", lifetime=timedelta(hours=1))


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "e30.bm90IGpzb24.x"])
async def test_unreadable_token_is_refused(env, token):
    """An unreadable token is a failure of Fyers; the sentence does not quote it."""
    env.broker.issue_token = lambda fyers_id: AccessToken(token)

    with pytest.raises(BrokerRefusal) as refused:
        await env.come_back(env.redirect(await env.begin()))

    assert not token or token not in str(refused.value)
    assert not env.connections.connection("asha").has_session


async def test_expired_token_is_refused(env):
    """A token whose end has passed begins no session."""
    issue = env.broker.issue_token
    env.broker.issue_token = lambda fyers_id: issue(fyers_id, lifetime=timedelta(seconds=-1))

    with pytest.raises(LinkRefused):
        await env.come_back(env.redirect(await env.begin()))

    assert not env.connections.connection("asha").has_session


LOGIN = BrokerService.LOGIN


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (RequestRefused(LOGIN, code=-437, http_status=400, message="invalid auth code"), LinkRefused),
        (RequestRefused(LOGIN, code=-5, http_status=400, message="invalid app id hash"), LinkRefused),
        (replace(refusal(BrokerService.TRADING), service=LOGIN), LinkRefused),
        (RateLimited(LOGIN, retry_after_s=30), BrokerRefusal),
        (Unavailable(LOGIN, cause="timeout"), BrokerRefusal),
        (NotPermitted(LOGIN, code=-403, http_status=403, message="no"), BrokerRefusal),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, type) else value.__name__,
)
async def test_failed_exchange_is_reported_and_changes_nothing(env, failure, kind):
    """Whatever becomes of the exchange, the session before goes on, and the person gets one sentence."""
    await env.come_back(env.redirect(await env.begin()))

    async def fail(app, code):
        return failure

    env.broker.exchange_auth_code = fail

    with pytest.raises(kind) as refused:
        await env.come_back(env.redirect(await env.begin()))

    assert str(refused.value).endswith(".")
    assert env.connections.connection("asha").generation == 1


async def test_pasted_code_connects(env):
    """An auth code pasted by hand is enough for a user who is signed in."""
    code = env.broker.issue_auth_code("XA001").reveal()

    connection = await env.linking.authorize("asha", f"  {code}\n")

    assert connection.has_session


async def test_pasted_address_connects(env):
    """The whole address that Fyers redirected to may be pasted, and its state is used up by that."""
    state = await env.begin()
    code = env.broker.issue_auth_code("XA001").reveal()

    await env.linking.authorize("asha", f"https://x.in/back?s=ok&code=200&auth_code={code}&state={state}")

    with pytest.raises(LinkRefused):
        await env.come_back(env.redirect(state))


async def test_pasted_address_of_somebody_else_is_refused(env):
    """An address whose state another user began is refused: it may have been sent by an attacker."""
    state = await env.begin("biren")
    code = env.broker.issue_auth_code("XA001").reveal()

    with pytest.raises(LinkRefused):
        await env.linking.authorize("asha", f"https://x.in/back?auth_code={code}&state={state}")


async def test_pasted_code_of_another_account_is_refused(env):
    """The guard for the wrong account stands here too, unless a switch is meant."""
    await env.come_back(env.redirect(await env.begin()))

    with pytest.raises(WrongAccount):
        await env.linking.authorize("asha", env.broker.issue_auth_code("XB002").reveal())
    switched = await env.linking.authorize(
        "asha", env.broker.issue_auth_code("XB002").reveal(), may_switch_account=True
    )

    assert switched.fyers_id == "XB002"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("abc", "abc"),
        ("https://x.in/?auth_code=abc&s=ok", "abc"),
        ("auth_code=abc&state=s", "abc"),
        ("https://x.in/?auth_code=abc&auth_code=def", None),
        ("https://x.in/", None),
        ("https://[broken?auth_code=abc", None),
        ("", None),
    ],
)
def test_pasted_text_is_read(text, code):
    """What a person pastes is a code, an address, or nothing usable."""
    assert read_pasted(text).auth_code == code


@pytest.mark.parametrize("text", ["", " ", "has space", "नमस्ते", "x" * 5000, "https://x.in/", "nul\x00"])
async def test_nonsense_is_not_sent_to_fyers(env, text):
    """What cannot be an auth code is refused here."""
    with pytest.raises(LinkRefused):
        await env.linking.authorize("asha", text)

    assert not env.broker.calls


async def test_disconnect_ends_the_session_here_and_there(env):
    """Disconnecting ends the session here, and the token at Fyers."""
    await env.come_back(env.redirect(await env.begin()))

    connection = await env.linking.disconnect("asha")

    assert connection.reason is DisconnectReason.SIGNED_OUT
    assert [call.name for call in env.broker.calls_of("asha")] == ["sign_out"]


async def test_disconnect_does_not_wait_for_fyers(env):
    """A Fyers that hangs does not keep a person from disconnecting."""
    await env.come_back(env.redirect(await env.begin()))
    env.broker.set_state("XA001", AccountState.HANGING)

    connection = await env.linking.disconnect("asha")

    assert connection.state is LoginState.DISCONNECTED


async def test_disconnect_without_a_session_is_nothing(env):
    """Disconnecting when there is nothing to disconnect changes nothing and asks nobody."""
    connection = await env.linking.disconnect("asha")

    assert connection.state is LoginState.NEVER_CONNECTED
    assert not env.broker.calls


async def test_own_app_comes_before_the_servers(env):
    """A user's own app is used and shown, never with its secret; without it the server's is."""
    assert (await env.linking.app("asha")).app_id == APP.app_id

    shown = await env.linking.put_app("asha", " OWNAPP1-100 ", " ownsecret ", "https://own.in/back")

    assert shown.app_id == "OWNAPP1-100"
    assert await env.linking.app("asha") == shown
    assert shown.is_own
    assert "ownsecret" not in repr(shown)
    await env.linking.remove_app("asha")
    assert not (await env.linking.app("asha")).is_own


async def test_without_any_app_nothing_begins(supervisor):
    """Where neither the user nor the server has a Fyers app, the refusal asks the user to store one."""
    env = Environment(supervisor, FakeClock(), server_app=None)
    await env.add_user("asha")

    assert await env.linking.app("asha") is None
    with pytest.raises(LinkRefused, match="app"):
        await env.begin()


@pytest.mark.parametrize(
    ("app_id", "secret", "address"),
    [
        ("lower-100", "secret", "https://x.in/b"),
        ("NOSUFFIX", "secret", "https://x.in/b"),
        ("GOOD1-100", "s p a c e", "https://x.in/b"),
        ("GOOD1-100", "secret", "javascript:alert(1)"),
        ("GOOD1-100", "secret", "https://x.in/b#fragment"),
    ],
)
async def test_unusable_app_is_refused(env, app_id, secret, address):
    """An app that cannot be right is refused before it is stored."""
    with pytest.raises(InvalidInput):
        await env.linking.put_app("asha", app_id, secret, address)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (RequestRefused(BrokerService.LOGIN, -437, 400, "invalid auth code"), AppCheck.ACCEPTED),
        (RequestRefused(BrokerService.LOGIN, -5, 400, "invalid app id hash"), AppCheck.REFUSED),
        (RequestRefused(BrokerService.LOGIN, -371, 200, "provide hash"), AppCheck.REFUSED),
        (Unavailable(BrokerService.LOGIN, "timeout"), AppCheck.UNKNOWN),
    ],
)
async def test_an_app_is_checked_by_what_fyers_objects_to(env, answer, outcome):
    """Only an objection to the pair itself counts against it; where Fyers cannot be asked nothing is claimed."""

    async def answer_exchange(_app, _code):
        return answer

    env.broker.exchange_auth_code = answer_exchange

    assert await env.linking.check_app("asha") is outcome
