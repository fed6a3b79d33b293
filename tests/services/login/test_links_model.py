"""Login links against a small model, under links, browsers, logins and time in any order: each lets in at most once, in time, and whom it is for."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from machines import machine_settings

from hullwatch.domain.failures import LinkRefused, LoginLinkExpired, LoginLinkTaken, NotAllowed
from hullwatch.services.login.links import LIFETIME
from hullwatch.services.login.oauth import STATE_LIFETIME
from services.login.link_environment import LinkEnvironment, Phone, fyers_id

USERS = ("asha", "biren")
PHONES = ("phone", "desk", "thief")


@dataclass(eq=False)
class Minted:
    """What the model remembers of a link."""

    value: str
    user_id: str
    generation: int
    expires_at: datetime
    taken_by: str | None = None


@dataclass(eq=False)
class Begun:
    """What it remembers of a login that was begun with a link."""

    state: str
    link: Minted
    phone: str
    ends_at: datetime
    is_used: bool = False


class LoginLinksAgainstModel(RuleBasedStateMachine):
    """Two users and three browsers, with actions in any order."""

    links = Bundle("links")
    begun = Bundle("begun")
    phones = st.sampled_from(PHONES)
    users = st.sampled_from(USERS)

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.phone = {name: Phone(name) for name in PHONES}
        self.generation = dict.fromkeys(USERS, 1)
        self.let_in: Counter[str] = Counter()

    def run(self, coroutine: Any) -> Any:
        """Run on the machine's own loop."""
        return self.loop.run_until_complete(coroutine)

    @property
    def now(self) -> datetime:
        """The present moment."""
        return self.env.clock.now()

    @initialize(target=links)
    def move_in(self) -> Any:
        """Both users' sessions are over, and both were sent a link."""
        self.env = LinkEnvironment()
        self.run(self.env.with_ended(*USERS))
        return multiple(*(self._mint(user_id) for user_id in USERS))

    # ---- what can happen

    @rule(target=links, user_id=users)
    def mint(self, user_id: str) -> Minted:
        """The session ends, if there is one, and a notice is sent."""
        self.run(self.env.end(user_id))
        return self._mint(user_id)

    def _mint(self, user_id: str) -> Minted:
        value = self.run(self.env.link(user_id))
        return Minted(value, user_id, self.generation[user_id], self.now + LIFETIME)

    @rule(link=links, phone=phones)
    def open(self, link: Minted, phone: str) -> None:
        """A person or a program opens the link."""
        before = self.env.store.tables.copy()
        try:
            seen = self.run(self.env.open(link.value, self.phone[phone]))
        except LoginLinkExpired:
            assert not self.is_alive(link)
        except LoginLinkTaken:
            assert self.is_alive(link)
            assert link.taken_by not in (None, phone)
        else:
            assert self.is_alive(link)
            assert link.taken_by in (None, phone)
            assert seen.user.id == link.user_id
        assert self.env.store.tables == before, "looking changed something"

    @rule(target=begun, link=links, phone=phones)
    def press(self, link: Minted, phone: str) -> Any:
        """Somebody presses the button."""
        return self._press(link, phone)

    @rule(target=begun, link=links, phone=phones)
    def press_at_the_last_moment(self, link: Minted, phone: str) -> Any:
        """A minute is left of the link's life."""
        left_s = (link.expires_at - self.now).total_seconds()
        self.run(self.env.clock.advance(max(0, left_s - 60)))
        return self._press(link, phone)

    def _press(self, link: Minted, phone: str) -> Any:
        who = self.phone[phone].user_id
        try:
            state = self.run(self.env.press(link.value, self.phone[phone]))
        except NotAllowed:
            assert who not in (None, link.user_id)
        except LoginLinkExpired:
            assert not self.is_alive(link)
        except LoginLinkTaken:
            assert self.is_alive(link)
            assert link.taken_by not in (None, phone)
        else:
            assert self.is_alive(link)
            assert link.taken_by in (None, phone)
            assert who in (None, link.user_id)
            link.taken_by = phone
            return Begun(state, link, phone, min(self.now + STATE_LIFETIME, link.expires_at))
        return multiple()

    @rule(login=begun)
    def come_back(self, login: Begun) -> None:
        """The browser that pressed returns from Fyers."""
        self._come_back(login, login.phone, login.link.user_id)

    @rule(login=begun, phone=phones, as_user=users)
    def come_back_anyhow(self, login: Begun, phone: str, as_user: str) -> None:
        """Somebody comes back, as one of Fyers' customers."""
        self._come_back(login, phone, as_user)

    def _come_back(self, login: Begun, phone: str, as_user: str) -> None:
        link, who = login.link, self.phone[phone].user_id
        is_right = (
            not login.is_used
            and self.now < login.ends_at
            and self.generation[link.user_id] == link.generation
            and phone == login.phone
            and who in (None, link.user_id)
            and as_user == link.user_id
        )
        login.is_used = True
        try:
            connection = self.run(self.env.come_back(login.state, self.phone[phone], fyers_id(as_user)))
        except LinkRefused:
            assert not is_right, "the right person was refused"
        else:
            assert is_right, "somebody was let in who should not have been"
            assert (connection.user_id, connection.fyers_id) == (link.user_id, fyers_id(link.user_id))
            self.let_in[link.value] += 1
            self.generation[link.user_id] += 1

    @rule(user_id=users)
    def log_in_otherwise(self, user_id: str) -> None:
        """The user logs in from the dashboard."""
        self.run(self.env.log_in(user_id))
        self.generation[user_id] += 1

    @rule(phone=phones, user_id=st.sampled_from([None, *USERS]))
    def sign_in(self, phone: str, user_id: str | None) -> None:
        """Somebody signs in to hullwatch in a browser, or out of it."""
        self.phone[phone].user_id = user_id

    @rule(login=begun, user_id=users)
    def sign_in_during_login(self, login: Begun, user_id: str) -> None:
        """Somebody signs in to the browser that is away at Fyers, and comes back as the right customer of Fyers."""
        self.phone[login.phone].user_id = user_id
        self._come_back(login, login.phone, login.link.user_id)

    @rule(minutes=st.sampled_from([1, 9, 10, 45]))
    def pass_time(self, minutes: int) -> None:
        """Time passes."""
        self.run(self.env.clock.advance(minutes * 60))

    # ---- what is always true

    def is_alive(self, link: Minted) -> bool:
        """Whether the model calls the link good for anybody."""
        return self.now < link.expires_at and self.generation[link.user_id] == link.generation

    @invariant()
    def no_link_lets_in_twice(self) -> None:
        """One login a link at most, and the accounts agree with the model about how many there were."""
        assert all(times == 1 for times in self.let_in.values())
        if hasattr(self, "env"):
            for user_id in USERS:
                assert self.env.connections.connection(user_id).generation == self.generation[user_id]

    def teardown(self) -> None:
        """Close the loop."""
        self.loop.close()


TestLoginLinksAgainstModel = LoginLinksAgainstModel.TestCase
TestLoginLinksAgainstModel.settings = machine_settings(examples=100, steps=40)
