"""Incidents told to operators: once each, in order, whatever the database and the process do; `hullwatch.services.incidents`."""

from datetime import timedelta

import pytest

from hullwatch.domain.accounts import Role
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.notifications import Notification, NotificationKind
from hullwatch.services.incidents import (
    JOB_TROUBLE,
    LOOKED_BACK,
    MASS_REFUSAL,
    Compose,
    Incident,
    OperatorIncidents,
)
from services.building import ALICE, House

ADMIN, OTHER_ADMIN = "usr_admin", "usr_other"
BEGAN, OVER = NotificationKind.JOB_RESTARTING, NotificationKind.JOB_RECOVERED


@pytest.fixture
async def house() -> House:
    """Two admins and a trader."""
    built = House()
    await built.add_user(ADMIN, role=Role.ADMIN)
    await built.add_user(OTHER_ADMIN, role=Role.ADMIN)
    await built.add_user(ALICE)
    return built


def of_server(house: House, server: str) -> OperatorIncidents:
    """Return what another process, or this server's next one, would have."""
    return OperatorIncidents(
        store=house.store, clock=house.clock, hub=house.hub, new_id=house.new_id, server=server
    )


def composer(house: House, incident: Incident, kind: NotificationKind) -> Compose:
    """Return what makes the notices of an incident."""
    return lambda user_id: Notification(
        house.new_id("ntc"), user_id, kind, "title", "text", house.clock.now(), incident.id
    )


async def begin(house: House, subject: str = "outbox") -> Incident:
    """Tell that something began."""
    incident = house.incidents.new(JOB_TROUBLE, subject)
    await house.incidents.tell_began(incident, composer(house, incident, BEGAN))
    return incident


async def end(house: House, incident: Incident) -> None:
    """Tell that it is over."""
    await house.incidents.tell_over(incident, composer(house, incident, OVER))


def told(house: House, user_id: str = ADMIN) -> list[NotificationKind]:
    """Return the kinds of a user's notices, oldest first."""
    return [notice.kind for notice in house.notices(user_id)]


async def test_every_admin_is_told_and_nobody_else(house: House) -> None:
    """With a line of the trail that says which server speaks of what."""
    incident = await begin(house)

    assert told(house) == told(house, OTHER_ADMIN) == [BEGAN]
    assert told(house, ALICE) == []
    (line,) = house.store.tables.audit
    assert (line.kind, line.reason, line.incident_id) == ("job.restarting", "outbox", incident.id)
    assert line.evidence["server"] == "here"


async def test_what_is_open_is_known_to_the_next_process_of_the_same_server(house: House) -> None:
    """By subject, without what is over, of another kind or another server's."""
    ended = await begin(house, "metrics")
    await end(house, ended)
    incident = await begin(house)

    assert await of_server(house, "here").still_open(JOB_TROUBLE) == {"outbox": incident}
    assert await of_server(house, "here").still_open(MASS_REFUSAL) == {}
    assert await of_server(house, "there").still_open(JOB_TROUBLE) == {}


async def test_what_began_very_long_ago_is_forgotten(house: House) -> None:
    """A job that an update renamed must not stay open for ever."""
    incident = await begin(house)
    await house.clock.advance(LOOKED_BACK.total_seconds())
    assert await house.incidents.still_open(JOB_TROUBLE) == {"outbox": incident}

    await house.clock.advance(timedelta(seconds=1).total_seconds())
    assert await house.incidents.still_open(JOB_TROUBLE) == {}


async def test_a_database_that_does_not_answer_delays_and_reorders_nothing(house: House) -> None:
    """Both are told once it answers, each with the moment at which it happened."""
    house.store.is_down = True
    incident = await begin(house)
    began_at = house.clock.now()
    await house.clock.advance(60)
    await end(house, incident)
    over_at = house.clock.now()
    assert told(house) == []

    house.store.is_down = False
    await house.clock.advance(60)
    await house.incidents.store_untold()
    await house.incidents.store_untold()

    assert told(house) == told(house, OTHER_ADMIN) == [BEGAN, OVER]
    assert [(line.kind, line.at) for line in house.store.tables.audit] == [
        ("job.restarting", began_at),
        ("job.recovered", over_at),
    ]


async def test_a_commit_whose_acknowledgement_was_lost_is_told_once(house: House) -> None:
    """It is tried again, and finds that it has been stored."""

    async def cut_off() -> None:
        raise StorageUnavailable("the connection was cut")

    house.store.after_commit = cut_off
    await begin(house)
    house.store.after_commit = None
    await house.incidents.store_untold()

    assert told(house) == told(house, OTHER_ADMIN) == [BEGAN]
    assert house.audit(prefix="job.") == ["job.restarting"]


async def test_without_admins_the_trail_alone_knows(house: House) -> None:
    """And a later end is still matched to it."""
    empty = House()
    incident = await begin(empty)
    assert await empty.incidents.still_open(JOB_TROUBLE) == {"outbox": incident}

    await end(empty, incident)
    assert await empty.incidents.still_open(JOB_TROUBLE) == {}
