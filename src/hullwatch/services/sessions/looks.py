"""Which accounts are looked at a second time, and seeing each look through. What a look asks is ``second_look.py``'s, when one begins ``doubts.py``'s."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from hullwatch.domain.failures import LoginRefused
from hullwatch.domain.sessions.connection import Credential
from hullwatch.runtime.supervisor import Supervisor, SupervisorStopped
from hullwatch.services.sessions.second_look import SecondLook


@dataclass(slots=True)
class _Look:
    """A second look at one session."""

    first: LoginRefused
    came_to_result: asyncio.Event = field(default_factory=asyncio.Event)
    is_under_way: bool = True


class Looks:
    """The second looks, one an account."""

    def __init__(self, second_look: SecondLook, supervisor: Supervisor) -> None:
        self._second_look = second_look
        self._supervisor = supervisor
        self._looks: dict[str, _Look] = {}

    def begin(self, credential: Credential, refusal: LoginRefused) -> None:
        """Look at the session whose call was refused; at the end of the process nobody looks any more."""
        look = self._looks[credential.user_id] = _Look(refusal)
        with suppress(SupervisorStopped):
            self._supervisor.run_once("second-look", self._see_through(credential, look))

    async def first_result(self, user_id: str) -> None:
        """Wait until the account's latest look has come to its first result."""
        if (look := self._looks.get(user_id)) is not None:
            await look.came_to_result.wait()

    def begin_broken_off(self, doubted: Iterable[Credential]) -> None:
        """Begin anew what broke off: a session must not stay in doubt because nobody looks."""
        for credential in doubted:
            look = self._looks.get(credential.user_id)
            if look is not None and not look.is_under_way:
                self.begin(credential, look.first)

    def forget(self, user_id: str) -> None:
        """Drop what is known of a removed user's look."""
        self._looks.pop(user_id, None)

    async def _see_through(self, credential: Credential, look: _Look) -> None:
        try:
            await self._second_look.run(credential.for_verification(), look.first, look.came_to_result)
        finally:
            look.is_under_way = False
            look.came_to_result.set()
