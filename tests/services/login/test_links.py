"""Login links: who gets one, what looking and pressing do, and who is refused; `hullwatch.services.login.links` over fakes."""

import asyncio
from datetime import timedelta

import pytest
from fakes.broker import Call

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
from hullwatch.domain.sessions.login_links import BY_OLD_LINK, asker_of
from hullwatch.domain.users.accounts import Role
from hullwatch.services.login.links import KEPT, LIFETIME, MOST_OPEN
from hullwatch.services.login.oauth import STATE_LIFETIME
from hullwatch.services.users.authentication import hash_value
from services.login.link_house import APP, HERE, LinkHouse, Phone, fyers_id, value_of


@pytest.fixture
async def house() -> LinkHouse:
    """A house whose two users' sessions are over."""
    return await LinkHouse().with_ended("asha", "biren")


@pytest.fixture
def phone() -> Phone:
    """A browser that nobody is signed in to."""
    return Phone("phone")


# ---------------------------------------------------------------- who gets one


async def test_a_link_is_stored_as_a_hash_and_masked(house):
    """Its value is behind the hash of the address and nowhere in the database; its text shows nothing."""
    address = await house.links.link_for("asha")
    value = value_of(address)

    assert value not in repr(address)
    assert value not in repr(house.store.tables)
    assert list(house.store.tables.login_links) == [hash_value(value)]


async def test_a_session_that_lasts_needs_no_link(house):
    """Nobody is sent a link while the session lasts past the next close; one that ends before, or is over, has one."""
    await house.log_in("asha")
    assert await house.links.link_for("asha") is None

    await house.clock.advance_to(
        house.clock.now().replace(hour=10, minute=30)
    )  # after the close of 15:30 IST
    assert await house.links.link_for("asha") is not None

    await house.end("asha")
    assert await house.links.link_for("asha") is not None


async def test_nobody_else_has_a_link(house):
    """Neither who never linked Fyers, nor who was removed, nor who never was."""
    await house.add_user("chitra")
    async with house.store.begin() as work:
        await work.users.remove("biren")
        await work.commit()

    assert await house.links.link_for("chitra") is None
    assert await house.links.link_for("biren") is None
    assert await house.links.link_for("nobody") is None
    assert house.store.tables.login_links == {}


@pytest.mark.parametrize(
    "address",
    ["https://elsewhere.example/api/fyers/callback", "https://watch.example/other", "https://x:99999/a"],
)
async def test_an_app_that_sends_browsers_elsewhere_has_no_link(house, address):
    """Where Fyers would not lead back to this server, a link would be a dead end."""
    await house.linking.put_app("asha", "OWNAPP1-100", "ownsecret", address)

    assert await house.links.link_for("asha") is None
    with pytest.raises(LinkRefused):
        await house.links.own_link("asha")


async def test_the_default_port_is_the_same_place(house):
    """An app's address that spells the port out leads here as well."""
    await house.linking.put_app(
        "asha", "OWNAPP1-100", "ownsecret", "https://watch.example:443/api/fyers/callback"
    )

    assert await house.links.link_for("asha") is not None


async def test_without_an_app_there_is_no_link():
    """When neither the server nor the user has a Fyers app any more, no link is made, and the user is told why."""
    house = LinkHouse(server_app=None)
    await house.add_user("asha")
    await house.linking.put_app("asha", APP.app_id, "simulator-secret", APP.redirect_uri)
    await house.log_in("asha")
    await house.end("asha")
    assert await house.links.link_for("asha") is not None

    await house.linking.remove_app("asha")

    assert await house.links.link_for("asha") is None
    with pytest.raises(LinkRefused):
        await house.links.own_link("asha")


async def test_a_database_that_does_not_answer_makes_no_link(house):
    """Whoever asks is told by the failure and may ask again."""
    house.store.is_down = True

    with pytest.raises(StorageUnavailable):
        await house.links.link_for("asha")


async def test_users_may_have_a_link_whenever_they_want(house, phone):
    """Also while the session lives; but no more than ten at a time, until some have ended."""
    await house.log_in("asha")
    made = [await house.links.own_link("asha") for _ in range(MOST_OPEN)]
    with pytest.raises(LimitReached):
        await house.links.own_link("asha")

    seen = await house.look(value_of(made[0].address), phone)
    await house.clock.advance(LIFETIME.total_seconds())

    assert seen.link.requested_by == "asha"
    assert made[0].expires_at == house.clock.now()
    assert await house.links.own_link("asha")


# ---------------------------------------------------------------- looking and pressing


async def test_looking_says_what_it_is_about_and_changes_nothing(house, phone):
    """Who asked, when, for whom and until when; however often, and whoever looks."""
    value = await house.link()
    before = house.store.tables.copy()

    for browser in (phone, Phone("previewer"), phone):
        seen = await house.look(value, browser)

    assert house.store.tables == before
    assert (seen.user.id, seen.connection.fyers_id) == ("asha", fyers_id("asha"))
    assert (seen.link.requested_by, seen.asker) == ("hullwatch", None)
    assert seen.link.created_at == house.clock.now()
    assert seen.link.expires_at == house.clock.now() + LIFETIME


async def test_the_button_leads_to_a_login_without_being_signed_in(house, phone):
    """The whole way: pressed on a phone, logged in at Fyers, connected, by this user."""
    connection = await house.come_back(await house.press(await house.link(), phone), phone)

    assert connection.state is LoginState.CONNECTED
    assert (connection.user_id, connection.fyers_id) == ("asha", fyers_id("asha"))
    kinds = [(entry.kind, entry.actor) for entry in house.audit()]
    assert kinds == [("login_link.created", "hullwatch"), ("login_link.used", "hullwatch")]
    assert house.audit("connection.")[-1].actor == "asha"


async def test_the_same_user_may_be_signed_in(house):
    """A browser that is signed in as the link's user follows it just as well."""
    phone = Phone("phone", "asha")

    assert (await house.come_back(await house.press(await house.link(), phone), phone)).has_session


async def test_the_browser_that_pressed_may_press_again(house, phone):
    """A login that failed or was given up costs nothing: the same link begins another one, and each state is good once."""
    value = await house.link()
    await house.press(value, phone)
    with pytest.raises(WrongAccount):
        await house.come_back(await house.press(value, phone), phone, "X-OTHER")

    await house.look(value, phone)
    connection = await house.come_back(await house.press(value, phone), phone)

    assert connection.has_session
    assert [entry.kind for entry in house.audit()].count("login_link.used") == 1


async def test_another_browser_is_refused_once_it_is_taken(house, phone):
    """Neither looking nor pressing works there, and the first one still may."""
    value, other = await house.link(), Phone("other")
    await house.press(value, phone)

    with pytest.raises(LoginLinkTaken):
        await house.look(value, other)
    with pytest.raises(LoginLinkTaken):
        await house.press(value, other)

    assert house.audit()[-1].reason == "used"
    assert await house.press(value, phone)


async def test_of_two_browsers_at_the_same_moment_one_begins(house):
    """The other one is told that the link is in use."""
    value = await house.link()

    results = await asyncio.gather(
        *(house.press(value, Phone(f"p{number}")) for number in range(4)), return_exceptions=True
    )

    assert sum(isinstance(result, LoginLinkTaken) for result in results) == 3


async def test_a_link_is_void_after_a_login(house, phone):
    """Whichever way the login came, by this link, by another one or from the dashboard."""
    links = [await house.link() for _ in range(3)]
    await house.come_back(await house.press(links[0], phone), phone)
    for value in links:
        with pytest.raises(LoginLinkExpired):
            await house.press(value, phone)

    await house.end("asha")
    value = await house.link()
    state = await house.press(value, phone)
    await house.log_in("asha")
    await house.end("asha")

    with pytest.raises(LoginLinkExpired):
        await house.look(value, phone)
    with pytest.raises(LinkRefused):
        await house.come_back(state, phone)
    assert house.audit()[-1].reason == "void"
    assert not house.connections.connection("asha").has_session


async def test_two_logins_of_one_link_at_the_same_moment_connect_once(house, phone):
    """Both came back from Fyers; the second finds that there was a login."""
    value = await house.link()
    states = [await house.press(value, phone) for _ in range(2)]
    before = house.connections.connection("asha").generation

    results = await asyncio.gather(
        *(house.come_back(state, phone) for state in states), return_exceptions=True
    )

    assert sum(isinstance(result, LinkRefused) for result in results) == 1
    assert house.connections.connection("asha").generation == before + 1


async def test_a_login_that_comes_while_the_links_code_is_exchanged_is_not_replaced(house, phone):
    """The link was good when its browser came back, and is void once Fyers has answered: the login by hand stays."""
    began_with = house.connections.connection("asha").generation
    await house.press(await house.link(), phone)

    async def log_in_by_hand(call: Call) -> None:
        if call.name == "exchange_auth_code":
            house.broker.before_answer = None
            await house.log_in("asha")

    house.broker.before_answer = log_in_by_hand

    with pytest.raises(LinkRefused) as refused:
        await house.come_back(phone.states[-1], phone)

    assert refused.value.reason == "void"
    assert house.connections.connection("asha").generation == began_with + 1
    assert house.audit()[-1].reason == "void"


async def test_a_link_ends(house, phone):
    """At its end it can neither be looked at nor pressed, also by the browser that has it, and what it began is over too."""
    value = await house.link()
    await house.press(value, phone)
    await house.clock.advance((LIFETIME - timedelta(minutes=1)).total_seconds())
    state = await house.press(value, phone)

    await house.clock.advance(60)

    for use in (house.look, house.press):
        with pytest.raises(LoginLinkExpired):
            await use(value, phone)
    with pytest.raises(LinkRefused):
        await house.come_back(state, phone)
    assert house.audit()[-1].reason == "expired"
    assert timedelta(minutes=1) < STATE_LIFETIME


async def test_unknown_links_are_spoken_of_like_ended_ones(house, phone):
    """Whoever tries values learns nothing, and leaves no line in the audit trail."""
    value = await house.link()
    await house.clock.advance(LIFETIME.total_seconds())
    sentences = set()
    for tried in (value, "made-up", "", "nul\x00", "half\ud800", "x" * 5000):
        for use in (house.look, house.press):
            with pytest.raises(LoginLinkExpired) as refused:
                await use(tried, phone)
            sentences.add(str(refused.value))

    assert len(sentences) == 1
    assert [entry.reason for entry in house.audit() if entry.reason] == ["expired"]


async def test_somebody_else_who_is_signed_in_is_refused(house, phone):
    """Before pressing, without taking the link; and after it, when somebody else has signed in meanwhile."""
    value = await house.link()
    with pytest.raises(NotAllowed):
        await house.press(value, Phone("desk", "biren"))
    state = await house.press(value, phone)
    phone.user_id = "biren"

    with pytest.raises(LinkRefused):
        await house.come_back(state, phone)

    assert [entry.reason for entry in house.audit() if entry.kind == "login_link.refused"] == [
        "other_user",
        "other_user",
    ]
    assert not house.connections.connection("asha").has_session
    assert not house.connections.connection("biren").has_session


async def test_the_way_back_belongs_to_the_browser_that_pressed(house, phone):
    """Unlike a login begun from the dashboard, not even the user may finish it in another browser."""
    state = await house.press(await house.link(), phone)

    with pytest.raises(LinkRefused):
        await house.come_back(state, Phone("desk", "asha"))

    assert house.audit()[-1].reason == "other_browser"
    assert not house.connections.connection("asha").has_session


async def test_only_the_linked_fyers_account_is_taken(house, phone):
    """Another Fyers id is refused, cannot be meant, and learns the right one in part only."""
    state = await house.press(await house.link(), phone)

    with pytest.raises(WrongAccount) as refused:
        await house.come_back(state, phone, "X-THIEF")

    assert not refused.value.may_switch
    assert fyers_id("asha") not in str(refused.value)
    assert house.audit()[-1].reason == "wrong_account"
    assert not house.connections.connection("asha").has_session


async def test_pressing_without_an_app_leaves_the_link_free(house, phone):
    """When beginning fails the link is not taken: nothing of it is kept."""
    value = await house.link()
    house.linking._apps._server_app = None
    with pytest.raises(LinkRefused):
        await house.press(value, phone)
    house.linking._apps._server_app = APP

    assert await house.press(value, Phone("other"))


# ---------------------------------------------------------------- asking


async def test_an_admin_asks_and_the_user_is_told(house, phone):
    """A notice that leads to a login, pushed to open tabs; the link in it says which admin asked, and the admin sees none."""
    await house.add_user("admin", role=Role.ADMIN)
    tab = house.hub.subscribe("asha")

    asked = await house.links.ask("asha", actor="admin")

    notice = house.notices("asha")[-1]
    assert asked.id == "asha"
    assert notice.kind in LEADS_TO_LOGIN
    assert asker_of(notice) == "admin"
    assert (await asyncio.wait_for(anext(tab), 1)).message == NotificationStored(notice)
    assert house.store.tables.login_links == {}
    seen = await house.look(
        value_of(await house.links.link_for("asha", requested_by=asker_of(notice))), phone
    )
    assert seen.asker is not None
    assert seen.asker.full_name == "Admin"


async def test_an_admin_asks_only_where_it_makes_sense(house):
    """Not for nobody, not without a linked account, and not while the session lasts."""
    await house.add_user("chitra")
    await house.log_in("biren")
    with pytest.raises(NotFound):
        await house.links.ask("nobody", actor="admin")
    for user_id in ("chitra", "biren"):
        with pytest.raises(LinkRefused):
            await house.links.ask(user_id, actor="admin")

    assert house.audit("login_link.requested") == []


async def test_nobody_is_asked_all_the_time(house):
    """Once in ten minutes and five times a day, whoever asks."""
    value = await house.link()
    await house.clock.advance(LIFETIME.total_seconds())
    asked = []
    for _ in range(40):
        await house.links.again(value, address=HERE)
        asked.append(len(house.audit("login_link.requested")))
        await house.clock.advance(150)
    with pytest.raises(TooManyAttempts):
        await house.links.ask("asha", actor="admin")

    assert asked[:9] == [1, 1, 1, 1, 2, 2, 2, 2, 3]
    assert asked[-1] == 5
    await house.clock.advance(86_400)
    await house.links.again(value, address=HERE)
    assert len(house.audit("login_link.requested")) == 6


async def test_an_ended_link_asks_for_a_new_one_over_the_users_own_ways(house):
    """Whoever opened it gets nothing; the user gets a notice that says so."""
    value = await house.link()
    await house.clock.advance(LIFETIME.total_seconds() * 3)

    assert await house.links.again(value, address=HERE) is None

    notice = house.notices("asha")[-1]
    assert asker_of(notice) == BY_OLD_LINK
    assert notice.kind in LEADS_TO_LOGIN
    assert len(house.notices("biren")) == 1  # its own, about the end of the session


async def test_asking_again_is_silent_about_what_it_did(house):
    """An unknown link, one of a user who is connected, and one of a removed user do nothing, and answer the same."""
    asha, biren = await house.link("asha"), await house.link("biren")
    await house.log_in("asha")
    async with house.store.begin() as work:
        await work.users.remove("biren")
        await work.commit()

    for value in (asha, biren, "made up"):
        assert await house.links.again(value, address=HERE) is None

    assert house.audit("login_link.requested") == []


# ---------------------------------------------------------------- limits


async def test_guessing_is_locked_and_others_are_not(house, phone):
    """Thirty unknown values from one address lock it; the same link is still good elsewhere."""
    value = await house.link()
    for number in range(30):
        with pytest.raises(LoginLinkExpired):
            await house.look(f"guess-{number}", phone)

    with pytest.raises(TooManyAttempts):
        await house.look(value, phone)
    assert await house.links.look(value, browser_nonce=None, address="10.9.9.9")


async def test_a_crowd_behind_one_address_is_not_locked(house):
    """Good links are not counted against an address: a mobile network has one for thousands of people."""
    for number in range(200):
        assert await house.press(await house.link(), Phone(f"p{number}"))


async def test_one_link_cannot_be_pressed_without_end(house, phone):
    """After sixty uses it has to wait."""
    value = await house.link()
    for _ in range(60):
        await house.press(value, phone)

    with pytest.raises(TooManyAttempts):
        await house.press(value, phone)
    await house.clock.advance(900)
    assert await house.press(value, phone)


async def test_old_links_are_forgotten(house):
    """A week after its end a link is removed, and not before."""
    await house.link()
    await house.clock.advance((LIFETIME + KEPT).total_seconds())
    await house.links.purge()
    assert len(house.store.tables.login_links) == 1

    await house.clock.advance(1)
    await house.links.purge()
    assert house.store.tables.login_links == {}
