"""Login links; `hullwatch.services.login.links` over fakes."""

import asyncio
from datetime import timedelta

import pytest
from fakes.broker import Call
from limits import ANSWER_LIMIT_S

from hullwatch.domain.events import NotificationStored
from hullwatch.domain.failures import (
    LimitReached,
    LinkRefused,
    LoginLinkExpired,
    LoginLinkTaken,
    NotAllowed,
    NotFound,
    StorageUnavailable,
    TooManyAttempts,
    WrongAccount,
)
from hullwatch.domain.notifications.notifications import LEADS_TO_LOGIN
from hullwatch.domain.sessions.connection import LoginState
from hullwatch.domain.sessions.login_links import BY_OLD_LINK, requester_of
from hullwatch.domain.users.accounts import Role
from hullwatch.services.login.links import KEPT, LIFETIME, MOST_OPEN
from hullwatch.services.login.oauth import STATE_LIFETIME
from hullwatch.services.users.authentication import hash_value
from services.login.link_environment import APP, HERE, LinkEnvironment, Phone, fyers_id, value_of


@pytest.fixture
async def env() -> LinkEnvironment:
    """An environment with two users whose sessions are disconnected."""
    return await LinkEnvironment().with_ended("asha", "biren")


@pytest.fixture
def phone() -> Phone:
    """A browser that nobody is signed in to."""
    return Phone("phone")


# ---------------------------------------------------------------- who gets one


async def test_a_link_is_stored_as_a_hash_and_masked(env):
    """Its value is behind the hash of the address and nowhere in the database; its text shows nothing."""
    address = await env.links.link_for("asha")
    value = value_of(address)

    assert value not in repr(address)
    assert value not in repr(env.store.tables)
    assert list(env.store.tables.login_links) == [hash_value(value)]


async def test_a_session_that_lasts_needs_no_link(env):
    """Nobody is sent a link while the session lasts past the next close; one that ends before, or is over, has one."""
    await env.log_in("asha")
    assert await env.links.link_for("asha") is None

    await env.clock.advance_to(env.clock.now().replace(hour=10, minute=30))  # after the close of 15:30 IST
    assert await env.links.link_for("asha") is not None

    await env.end("asha")
    assert await env.links.link_for("asha") is not None


async def test_users_without_an_account_have_no_link(env):
    """A user who never linked Fyers, a removed user and an unknown one."""
    await env.add_user("chitra")
    async with env.store.begin() as work:
        await work.users.remove("biren")
        await work.commit()

    assert await env.links.link_for("chitra") is None
    assert await env.links.link_for("biren") is None
    assert await env.links.link_for("nobody") is None
    assert env.store.tables.login_links == {}


@pytest.mark.parametrize(
    "address",
    ["https://elsewhere.example/api/fyers/callback", "https://watch.example/other", "https://x:99999/a"],
)
async def test_an_app_that_sends_browsers_elsewhere_has_no_link(env, address):
    """Fyers would redirect to another server, so a link would be useless."""
    await env.linking.put_app("asha", "OWNAPP1-100", "ownsecret", address)

    assert await env.links.link_for("asha") is None
    with pytest.raises(LinkRefused):
        await env.links.own_link("asha")


async def test_the_default_port_is_the_same_address(env):
    """An app's address that spells the port out leads here as well."""
    await env.linking.put_app(
        "asha", "OWNAPP1-100", "ownsecret", "https://watch.example:443/api/fyers/callback"
    )

    assert await env.links.link_for("asha") is not None


async def test_without_an_app_there_is_no_link():
    """When neither the server nor the user has a Fyers app any more, no link is made, and the user gets the reason."""
    env = LinkEnvironment(server_app=None)
    await env.add_user("asha")
    await env.linking.put_app("asha", APP.app_id, "simulator-secret", APP.redirect_uri)
    await env.log_in("asha")
    await env.end("asha")
    assert await env.links.link_for("asha") is not None

    await env.linking.remove_app("asha")

    assert await env.links.link_for("asha") is None
    with pytest.raises(LinkRefused):
        await env.links.own_link("asha")


async def test_a_database_that_does_not_answer_makes_no_link(env):
    """The caller gets the failure and can try again."""
    env.store.is_down = True

    with pytest.raises(StorageUnavailable):
        await env.links.link_for("asha")


async def test_users_can_create_links_at_any_time(env, phone):
    """Also during a session, but at most ten unexpired ones."""
    await env.log_in("asha")
    made = [await env.links.own_link("asha") for _ in range(MOST_OPEN)]
    with pytest.raises(LimitReached):
        await env.links.own_link("asha")

    seen = await env.open(value_of(made[0].address), phone)
    await env.clock.advance(LIFETIME.total_seconds())

    assert seen.link.requested_by == "asha"
    assert made[0].expires_at == env.clock.now()
    assert await env.links.own_link("asha")


# ---------------------------------------------------------------- looking and pressing


async def test_opening_a_link_shows_what_it_is_for_and_changes_nothing(env, phone):
    """It can be opened any number of times and by anyone."""
    value = await env.link()
    before = env.store.tables.copy()

    for browser in (phone, Phone("previewer"), phone):
        seen = await env.open(value, browser)

    assert env.store.tables == before
    assert (seen.user.id, seen.connection.fyers_id) == ("asha", fyers_id("asha"))
    assert (seen.link.requested_by, seen.requester) == ("hullwatch", None)
    assert seen.link.created_at == env.clock.now()
    assert seen.link.expires_at == env.clock.now() + LIFETIME


async def test_the_button_leads_to_a_login_without_being_signed_in(env, phone):
    """From the button on a phone over the login at Fyers to the connected account."""
    connection = await env.come_back(await env.press(await env.link(), phone), phone)

    assert connection.state is LoginState.CONNECTED
    assert (connection.user_id, connection.fyers_id) == ("asha", fyers_id("asha"))
    kinds = [(entry.kind, entry.actor) for entry in env.audit()]
    assert kinds == [("login_link.created", "hullwatch"), ("login_link.used", "hullwatch")]
    assert env.audit("connection.")[-1].actor == "asha"


async def test_the_same_user_may_be_signed_in(env):
    """A browser that is signed in as the link's user follows it just as well."""
    phone = Phone("phone", "asha")

    assert (await env.come_back(await env.press(await env.link(), phone), phone)).has_session


async def test_the_browser_that_pressed_may_press_again(env, phone):
    """A login that failed or was given up costs nothing: the same link begins another one, and each state is good once."""
    value = await env.link()
    await env.press(value, phone)
    with pytest.raises(WrongAccount):
        await env.come_back(await env.press(value, phone), phone, "X-OTHER")

    await env.open(value, phone)
    connection = await env.come_back(await env.press(value, phone), phone)

    assert connection.has_session
    assert [entry.kind for entry in env.audit()].count("login_link.used") == 1


async def test_another_browser_is_refused_once_the_link_is_used(env, phone):
    """It can neither open nor use the link; the first browser still can."""
    value, other = await env.link(), Phone("other")
    await env.press(value, phone)

    with pytest.raises(LoginLinkTaken):
        await env.open(value, other)
    with pytest.raises(LoginLinkTaken):
        await env.press(value, other)

    assert env.audit()[-1].reason == "used"
    assert await env.press(value, phone)


async def test_of_two_browsers_at_the_same_moment_one_begins(env):
    """The other browser gets the refusal that the link is in use."""
    value = await env.link()

    results = await asyncio.gather(
        *(env.press(value, Phone(f"p{number}")) for number in range(4)), return_exceptions=True
    )

    assert sum(isinstance(result, LoginLinkTaken) for result in results) == 3


async def test_a_link_is_void_after_a_login(env, phone):
    """By this link, by another link, or from the dashboard."""
    links = [await env.link() for _ in range(3)]
    await env.come_back(await env.press(links[0], phone), phone)
    for value in links:
        with pytest.raises(LoginLinkExpired):
            await env.press(value, phone)

    await env.end("asha")
    value = await env.link()
    state = await env.press(value, phone)
    await env.log_in("asha")
    await env.end("asha")

    with pytest.raises(LoginLinkExpired):
        await env.open(value, phone)
    with pytest.raises(LinkRefused):
        await env.come_back(state, phone)
    assert env.audit()[-1].reason == "void"
    assert not env.connections.connection("asha").has_session


async def test_two_logins_of_one_link_at_the_same_moment_connect_once(env, phone):
    """Both came back from Fyers; the second finds that there was a login."""
    value = await env.link()
    states = [await env.press(value, phone) for _ in range(2)]
    before = env.connections.connection("asha").generation

    results = await asyncio.gather(*(env.come_back(state, phone) for state in states), return_exceptions=True)

    assert sum(isinstance(result, LinkRefused) for result in results) == 1
    assert env.connections.connection("asha").generation == before + 1


async def test_a_login_during_the_exchange_of_the_code_is_not_replaced(env, phone):
    """The link was valid at the redirect and is void after Fyers' answer, so the login by hand stays."""
    began_with = env.connections.connection("asha").generation
    await env.press(await env.link(), phone)

    async def log_in_by_hand(call: Call) -> None:
        if call.name == "exchange_auth_code":
            env.broker.before_answer = None
            await env.log_in("asha")

    env.broker.before_answer = log_in_by_hand

    with pytest.raises(LinkRefused) as refused:
        await env.come_back(phone.states[-1], phone)

    assert refused.value.reason == "void"
    assert env.connections.connection("asha").generation == began_with + 1
    assert env.audit()[-1].reason == "void"


async def test_a_link_expires(env, phone):
    """After its expiry no browser can open or use it, and its pending logins are void."""
    value = await env.link()
    await env.press(value, phone)
    await env.clock.advance((LIFETIME - timedelta(minutes=1)).total_seconds())
    state = await env.press(value, phone)

    await env.clock.advance(60)

    for use in (env.open, env.press):
        with pytest.raises(LoginLinkExpired):
            await use(value, phone)
    with pytest.raises(LinkRefused):
        await env.come_back(state, phone)
    assert env.audit()[-1].reason == "expired"
    assert timedelta(minutes=1) < STATE_LIFETIME


async def test_unknown_links_are_refused_like_expired_ones(env, phone):
    """An attacker who guesses values gets no information and no entry in the audit trail."""
    value = await env.link()
    await env.clock.advance(LIFETIME.total_seconds())
    sentences = set()
    for tried in (value, "made-up", "", "nul\x00", "half\ud800", "x" * 5000):
        for use in (env.open, env.press):
            with pytest.raises(LoginLinkExpired) as refused:
                await use(tried, phone)
            sentences.add(str(refused.value))

    assert len(sentences) == 1
    assert [entry.reason for entry in env.audit() if entry.reason] == ["expired"]


async def test_another_signed_in_user_is_refused(env, phone):
    """Before the button is pressed the link stays unused; after it the login is refused."""
    value = await env.link()
    with pytest.raises(NotAllowed):
        await env.press(value, Phone("desk", "biren"))
    state = await env.press(value, phone)
    phone.user_id = "biren"

    with pytest.raises(LinkRefused):
        await env.come_back(state, phone)

    assert [entry.reason for entry in env.audit() if entry.kind == "login_link.refused"] == [
        "other_user",
        "other_user",
    ]
    assert not env.connections.connection("asha").has_session
    assert not env.connections.connection("biren").has_session


async def test_only_the_browser_that_pressed_can_complete_the_login(env, phone):
    """A login from the dashboard can be completed by its user in any browser; a login by link cannot."""
    state = await env.press(await env.link(), phone)

    with pytest.raises(LinkRefused):
        await env.come_back(state, Phone("desk", "asha"))

    assert env.audit()[-1].reason == "other_browser"
    assert not env.connections.connection("asha").has_session


async def test_only_the_linked_fyers_account_is_taken(env, phone):
    """Another Fyers id is refused without an option to switch, and sees the right one masked."""
    state = await env.press(await env.link(), phone)

    with pytest.raises(WrongAccount) as refused:
        await env.come_back(state, phone, "X-THIEF")

    assert not refused.value.may_switch
    assert fyers_id("asha") not in str(refused.value)
    assert env.audit()[-1].reason == "wrong_account"
    assert not env.connections.connection("asha").has_session


async def test_pressing_without_an_app_leaves_the_link_free(env, phone):
    """When beginning fails the link is not taken: nothing of it is kept."""
    value = await env.link()
    env.linking._apps._server_app = None
    with pytest.raises(LinkRefused):
        await env.press(value, phone)
    env.linking._apps._server_app = APP

    assert await env.press(value, Phone("other"))


# ---------------------------------------------------------------- asking


async def test_an_admin_requests_a_login_by_a_notice(env, phone):
    """The link in the notice names the admin, who does not see the link."""
    await env.add_user("admin", role=Role.ADMIN)
    tab = env.hub.subscribe("asha")

    asked = await env.links.request_login("asha", actor="admin")

    notice = env.notices("asha")[-1]
    assert asked.id == "asha"
    assert notice.kind in LEADS_TO_LOGIN
    assert requester_of(notice) == "admin"
    assert (await asyncio.wait_for(anext(tab), ANSWER_LIMIT_S)).message == NotificationStored(notice)
    assert env.store.tables.login_links == {}
    seen = await env.open(
        value_of(await env.links.link_for("asha", requested_by=requester_of(notice))), phone
    )
    assert seen.requester is not None
    assert seen.requester.full_name == "Admin"


async def test_an_admin_cannot_request_a_useless_login(env):
    """The user is unknown, has no linked account, or has a session that lasts."""
    await env.add_user("chitra")
    await env.log_in("biren")
    with pytest.raises(NotFound):
        await env.links.request_login("nobody", actor="admin")
    for user_id in ("chitra", "biren"):
        with pytest.raises(LinkRefused):
            await env.links.request_login(user_id, actor="admin")

    assert env.audit("login_link.requested") == []


async def test_login_requests_are_limited(env):
    """Once in ten minutes and five times a day, for all requesters together."""
    value = await env.link()
    await env.clock.advance(LIFETIME.total_seconds())
    asked = []
    for _ in range(40):
        await env.links.send_again(value, address=HERE)
        asked.append(len(env.audit("login_link.requested")))
        await env.clock.advance(150)
    with pytest.raises(TooManyAttempts):
        await env.links.request_login("asha", actor="admin")

    assert asked[:9] == [1, 1, 1, 1, 2, 2, 2, 2, 3]
    assert asked[-1] == 5
    await env.clock.advance(86_400)
    await env.links.send_again(value, address=HERE)
    assert len(env.audit("login_link.requested")) == 6


async def test_an_expired_link_sends_a_new_one_to_its_user(env):
    """The person who opened it gets no link; the user gets a notice."""
    value = await env.link()
    await env.clock.advance(LIFETIME.total_seconds() * 3)

    assert await env.links.send_again(value, address=HERE) is None

    notice = env.notices("asha")[-1]
    assert requester_of(notice) == BY_OLD_LINK
    assert notice.kind in LEADS_TO_LOGIN
    assert len(env.notices("biren")) == 1  # its own, about the end of the session


async def test_requests_for_a_new_link_answer_the_same(env):
    """An unknown link, one of a user who is connected, and one of a removed user do nothing, and answer the same."""
    asha, biren = await env.link("asha"), await env.link("biren")
    await env.log_in("asha")
    async with env.store.begin() as work:
        await work.users.remove("biren")
        await work.commit()

    for value in (asha, biren, "made up"):
        assert await env.links.send_again(value, address=HERE) is None

    assert env.audit("login_link.requested") == []


# ---------------------------------------------------------------- limits


async def test_guessing_locks_only_its_address(env, phone):
    """Thirty unknown values from one address lock it; the same link still works elsewhere."""
    value = await env.link()
    for number in range(30):
        with pytest.raises(LoginLinkExpired):
            await env.open(f"guess-{number}", phone)

    with pytest.raises(TooManyAttempts):
        await env.open(value, phone)
    assert await env.links.open(value, browser_nonce=None, address="10.9.9.9")


async def test_a_crowd_behind_one_address_is_not_locked(env):
    """Good links are not counted against an address: a mobile network has one for thousands of people."""
    for number in range(200):
        assert await env.press(await env.link(), Phone(f"p{number}"))


async def test_uses_of_one_link_are_limited(env, phone):
    """After sixty uses it has to wait."""
    value = await env.link()
    for _ in range(60):
        await env.press(value, phone)

    with pytest.raises(TooManyAttempts):
        await env.press(value, phone)
    await env.clock.advance(900)
    assert await env.press(value, phone)


async def test_old_links_are_deleted(env):
    """A link is deleted a week after its expiry, and not before."""
    await env.link()
    await env.clock.advance((LIFETIME + KEPT).total_seconds())
    await env.links.purge()
    assert len(env.store.tables.login_links) == 1

    await env.clock.advance(1)
    await env.links.purge()
    assert env.store.tables.login_links == {}
