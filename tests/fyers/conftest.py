from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
import stamina
from fakes.clock import FakeClock
from limits import ANSWER_LIMIT_S

from fyers.scripted import Scripted, scripted_server
from hullwatch.domain.secrets import AccessToken
from hullwatch.domain.sessions.connection import Credential
from hullwatch.fyers.client import FyersAddresses, FyersClient
from hullwatch.fyers.transport import TimeLimits

CANARY = "eyJhbGciOiJIUzI1NiJ9.canary-in-the-token.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def no_pauses() -> Iterator[None]:
    """Retry without pauses, so that no test waits for a backoff."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
def clock() -> FakeClock:
    """Return the clock of the client and the server."""
    return FakeClock()


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    """Return a running server that answers as the test configures it."""
    async with scripted_server() as scripted:
        yield scripted


@pytest.fixture
def client_for(clock: FakeClock):
    """Return a function that creates a client for an address."""

    @asynccontextmanager
    async def make(url: str, **settings: Any) -> AsyncIterator[FyersClient]:
        settings = {
            "clock": clock,
            "random": Random(7),
            "time_limits": TimeLimits(ANSWER_LIMIT_S, ANSWER_LIMIT_S),
            **settings,
        }
        async with FyersClient(FyersAddresses(f"{url}/api/v3", f"{url}/data", url), **settings) as client:
            yield client

    return make


@pytest.fixture
async def client(server: Scripted, client_for) -> AsyncIterator[FyersClient]:
    """Return a client of the scripted server."""
    async with client_for(server.url) as made:
        yield made


def make_credential(user_id: str = "asha", fyers_id: str = "XA00001", **settings: Any) -> Credential:
    """Return a credential that is valid for the fake clock's day."""
    return Credential(
        **{
            "user_id": user_id,
            "generation": 1,
            "app_id": "HULLWATCH-100",
            "fyers_id": fyers_id,
            "token": AccessToken(CANARY),
            "expires_at": datetime(2026, 11, 24, 0, 30, tzinfo=UTC),
            **settings,
        }
    )


@pytest.fixture
def credential() -> Credential:
    """Return Asha's credential, valid for the day."""
    return make_credential()
