"""The OpenAPI document is complete and true: generated requests of every operation get answers that it declares, never a 5xx."""

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest
import schemathesis
from fakes.clock import FakeClock
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from hullwatch.domain.users.accounts import Role
from hullwatch.web.application import create_web
from hullwatch.web.config import WebConfig
from web.web_environment import WebEnvironment, make_supervisor

# Left out: those that take any refusal of well-formed data for a fault, such as a symbol that no exchange has, and the one that
# cannot tell its own made-up login from a good one; the last test here does its work.
CHECKED = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
]
SIGN_OUT = "/api/auth/sign-out-everywhere"
"""It ends the token that it comes with, so it has an admin of its own."""
EXAMPLES = 10
"""Per operation; forty operations take a few seconds."""


def make_environment() -> WebEnvironment:
    """Return a web with one admin."""
    clock = FakeClock()
    return WebEnvironment(make_supervisor(clock), clock, WebConfig(extra_hosts=frozenset({"testserver"})))


async def sign_in(env: WebEnvironment, name: str = "asha") -> str:
    """Add an admin, link Fyers, and return an API token."""
    user = await env.add_user(name, role=Role.ADMIN)
    await env.services.fyers_login.authorize(
        user.id, env.broker.issue_auth_code(f"X{name[0].upper()}001").reveal()
    )
    _, value = await env.logins.add_token(user.id, "schema")
    return value.reveal()


@pytest.fixture(scope="module")
def api() -> Any:
    """The document of a running web, and the headers of a signed-in admin by path."""
    env = make_environment()
    tokens = {path: asyncio.run(sign_in(env, name)) for name, path in (("asha", ""), ("biren", SIGN_OUT))}

    def headers_of(path: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {tokens.get(path, tokens[''])}"}

    return schemathesis.openapi.from_asgi("/api/openapi.json", env.app), headers_of


PATHS = create_web(Mock(), WebConfig()).openapi()["paths"]
OPERATIONS = [(method, path) for path, operations in PATHS.items() for method in operations]
PASSWORDS = {"/api/auth/login", "/api/auth/password"}
"""Where a 401 speaks of a password; everywhere else the test would have forgotten to sign in."""
LIMITS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
def test_answers_are_declared(api, operation, mode):
    """Whatever is sent, well-formed or not, the answer has a declared status, type and shape."""
    schema, headers_of = api
    method, path = operation
    described = schema[path][method.upper()]
    if mode.is_negative and not (
        described.definition.raw.get("parameters") or "requestBody" in described.definition.raw
    ):
        return  # nothing that could be malformed

    @LIMITS
    @given(case=described.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        answer = case.call_and_validate(headers=headers_of(path), checks=CHECKS.get_by_names(CHECKED))
        assert answer.status_code != 401 or path in {*PASSWORDS, SIGN_OUT}

    check()


OPEN = {
    ("post", "/api/auth/register"), ("post", "/api/auth/login"), ("post", "/api/auth/reset"), ("post", "/api/auth/forgotten"), ("post", "/api/auth/logout"), ("get", "/api/fyers/callback"),
    ("post", "/api/reconnect/open"), ("post", "/api/reconnect/begin"), ("post", "/api/reconnect/again"), ("get", "/api/dashboard"), ("get", "/healthz"), ("get", "/readyz"), ("get", "/metrics"),
}  # fmt: skip
"""Operations that nobody has to be signed in for."""


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
async def test_every_other_operation_needs_a_login(env, operation):
    """An operation answers 401 to nobody and to a made-up token, or stands in the list of open ones, and says so."""
    method, path = operation
    needs_login = "security" in PATHS[path][method]
    statuses = set()
    async with env.client() as client:
        for headers in ({}, {"Authorization": "Bearer hw_made-up"}, {"Cookie": "hullwatch_session=made-up"}):
            answer = await client.request(method, path.replace("{", "").replace("}", ""), headers=headers)
            statuses.add(answer.status_code)

    assert needs_login == (operation not in OPEN)
    assert (statuses == {401}) == (operation not in OPEN)
