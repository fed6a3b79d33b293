"""The table from failures to HTTP statuses, and the problem documents (RFC 9457).

A problem never quotes the request: a password can be in the wrong field.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from hullwatch.domain.failures import (
    AlreadyExists,
    BrokerOutageKnown,
    BrokerRefusal,
    InvalidInput,
    LimitReached,
    LinkRefused,
    LoginLinkExpired,
    LoginLinkTaken,
    MailNotSent,
    NotAllowed,
    NotFound,
    NotPermitted,
    NotSignedIn,
    RateLimited,
    Refusal,
    ResetLinkExpired,
    StorageUnavailable,
    TooManyAttempts,
    Unavailable,
    UnknownSymbol,
    WrongAccount,
    WrongCredentials,
)
from hullwatch.services.login.addresses import AddressAdvice, AddressDifference, LoginAddressDiffers
from hullwatch.web.payloads import Payload

PROBLEM_TYPE: Final = "application/problem+json"


class FieldProblem(BaseModel):
    """What is wrong with one field of the request."""

    field: str
    detail: str


class LoginAdvice(Payload):
    """What to do before a login at Fyers, so that it returns to the page that starts it."""

    difference: AddressDifference
    message: str
    open_at: str | None = Field(description="The address of this server to open instead, if that helps.")
    redirect_uri: str | None = Field(description="The redirect address that fits this browser.")


class Problem(BaseModel):
    """Why a request was refused or failed."""

    type: str = Field(examples=["urn:hullwatch:problem:not-signed-in"])
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] | None = None
    advice: LoginAdvice | None = Field(
        default=None, description="Only with `login-address-differs`: what to do before the login."
    )


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its status, type and title."""

    status: int
    slug: str
    title: str


KINDS: Final[Mapping[type[Refusal], Kind]] = {
    Refusal: Kind(400, "refused", "Refused"),
    InvalidInput: Kind(422, "invalid-input", "Invalid input"),
    UnknownSymbol: Kind(422, "unknown-symbol", "Unknown symbol"),
    NotSignedIn: Kind(401, "not-signed-in", "Not signed in"),
    WrongCredentials: Kind(401, "wrong-credentials", "Wrong e-mail address or password"),
    TooManyAttempts: Kind(429, "too-many-attempts", "Too many attempts"),
    NotAllowed: Kind(403, "not-allowed", "Not allowed"),
    NotFound: Kind(404, "not-found", "Not found"),
    AlreadyExists: Kind(409, "already-exists", "Already exists"),
    LimitReached: Kind(409, "limit-reached", "Limit reached"),
    LinkRefused: Kind(400, "link-refused", "Fyers login refused"),
    LoginAddressDiffers: Kind(409, "login-address-differs", "Fyers login would not return here"),
    BrokerOutageKnown: Kind(409, "fyers-outage", "Fyers has an outage"),
    WrongAccount: Kind(409, "wrong-account", "Wrong Fyers account"),
    LoginLinkExpired: Kind(410, "login-link-expired", "Login link not valid"),
    ResetLinkExpired: Kind(410, "reset-link-expired", "Reset link not valid"),
    LoginLinkTaken: Kind(409, "login-link-in-use", "Login link in use in another browser"),
    BrokerRefusal: Kind(503, "fyers-unavailable", "Fyers unavailable"),
    MailNotSent: Kind(503, "mail-not-sent", "E-mail not sent"),
    StorageUnavailable: Kind(503, "storage-unavailable", "Database unavailable"),
}
"""The row of a refusal's own class, else that of its nearest base class."""

_UNPERMITTED: Final = Kind(409, "fyers-not-permitted", "Not permitted by Fyers")
_STATUS_KINDS: Final[Mapping[int, Kind]] = {
    400: Kind(400, "malformed", "Malformed request"),
    404: Kind(404, "no-such-address", "No such address"),
    405: Kind(405, "method-not-allowed", "Method not allowed"),
    406: Kind(406, "not-acceptable", "Not acceptable"),
    408: Kind(408, "too-slow", "Request too slow"),
    413: Kind(413, "too-large", "Request too large"),
    421: Kind(421, "wrong-host", "Wrong host"),
    422: KINDS[InvalidInput],
    431: Kind(431, "headers-too-large", "Request headers too large"),
    503: Kind(503, "too-many-connections", "Too many connections"),
}
_DETAILS: Final = {
    400: "The body is not valid JSON.",
    404: "There is nothing at this address.",
    405: "Use one of the methods in the Allow header.",
    406: "Request application/json.",
    408: "Headers and body of a request have to arrive within 15 seconds each.",
    431: "A request can have at most 64 kB of headers.",
    503: "The server has as many connections as it can serve. Try again in a moment.",
}
UNEXPECTED: Final = Kind(500, "unexpected", "Unexpected error")
_UNEXPECTED_DETAIL: Final = "The server failed in an unexpected way and logged the error. Try again; if it fails again, contact the operator."


def kind_of(refusal: Refusal) -> Kind:
    """Return the row of a refusal."""
    if isinstance(refusal, BrokerRefusal) and isinstance(refusal.failure, NotPermitted):
        return _UNPERMITTED
    return next(KINDS[cls] for cls in type(refusal).__mro__ if cls in KINDS)


def problem(
    kind: Kind,
    detail: str,
    *,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
    advice: AddressAdvice | None = None,
) -> Response:
    """Return a problem document."""
    document: dict[str, Any] = {
        "type": f"urn:hullwatch:problem:{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
    }
    if errors:
        document["errors"] = [error.model_dump() for error in errors]
    if advice is not None:
        document["advice"] = LoginAdvice.of(advice).model_dump(by_alias=True)
    return Response(orjson.dumps(document), kind.status, dict(headers or {}), media_type=PROBLEM_TYPE)


def refusal_problem(refusal: Refusal) -> Response:
    """Return the problem document of a refusal, with its sentence as the detail."""
    errors = []
    if isinstance(refusal, InvalidInput) and refusal.field:
        errors.append(FieldProblem(field=refusal.field, detail=str(refusal)))
    advice = refusal.advice if isinstance(refusal, LoginAddressDiffers) else None
    return problem(kind_of(refusal), str(refusal), errors=errors, headers=_headers(refusal), advice=advice)


def status_problem(
    status: int, detail: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the problem document of a status."""
    kind = _STATUS_KINDS.get(status) or Kind(status, f"status-{status}", "Request failed")
    return problem(kind, detail or _DETAILS.get(status, "The request failed."), headers=headers)


def unexpected_problem() -> Response:
    """Return the problem document of an unexpected exception, without its text."""
    return problem(UNEXPECTED, _UNEXPECTED_DETAIL)


def _headers(refusal: Refusal) -> dict[str, str]:
    match refusal:
        case NotSignedIn() | WrongCredentials():
            return {"WWW-Authenticate": "Bearer"}
        case TooManyAttempts(retry_after_s=seconds):
            return {"Retry-After": _whole(seconds)}
        case BrokerRefusal(failure=RateLimited(retry_after_s=seconds)):
            return {"Retry-After": _whole(seconds)}
        case BrokerRefusal(failure=Unavailable(retry_after_s=seconds)) if seconds is not None:
            return {"Retry-After": _whole(seconds)}
        case StorageUnavailable():
            return {"Retry-After": "2"}
    return {}


def _whole(seconds: float) -> str:
    return str(max(1, math.ceil(seconds)))


_FIELD_PROBLEMS: Final = {
    "missing": "is required",
    "string_type": "has to be text",
    "string_unicode": "has to be valid text",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "string_pattern_mismatch": "has the wrong form",
    "int_parsing": "has to be a whole number",
    "int_type": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "bool_type": "has to be true or false",
    "bool_parsing": "has to be true or false",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "timezone_aware": "needs a time zone",
    "model_attributes_type": "has to be an object",
    "dict_type": "has to be an object",
}
"""Texts for the error types of pydantic, whose own messages can quote the request."""
_NOT_JSON: Final = "has to be JSON, sent with Content-Type: application/json"


def validation_problem(error: RequestValidationError, *, content_type: str = "") -> Response:
    """Return a problem document that names the invalid fields, never their values."""
    if any(item["type"] == "json_invalid" for item in error.errors()):
        return status_problem(400)
    is_json = content_type.split(";", maxsplit=1)[0].strip().lower().endswith(("/json", "+json"))
    errors = [
        FieldProblem(
            field=_field(item["loc"]),
            # Without this content type the body is not read at all, so "has to be an object" would mislead.
            detail=_NOT_JSON
            if item["loc"] == ("body",) and item["type"] != "missing" and not is_json
            else _FIELD_PROBLEMS.get(item["type"], "is not valid"),
        )
        for item in error.errors()[:20]
    ]
    detail = "; ".join(f"{item.field} {item.detail}" for item in errors[:5])
    return problem(KINDS[InvalidInput], f"{detail[:1].upper()}{detail[1:]}.", errors=errors)


def _field(location: Sequence[int | str]) -> str:
    names = [str(part) for part in location[1:]]
    return ".".join(names) if names else "the body"


def _methods_at(routes: Iterable[BaseRoute], request: Request) -> set[str]:
    """Return the methods of all routes at an address; each route knows its own ones only."""
    found: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return found


def install(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Answer every failure of a route with a problem document; the request guard handles unexpected exceptions.

    Args:
        app: Gets the handlers.
        routers: Those of the API, whose routes an application does not list.
    """
    api_routes = [route for router in routers for route in router.routes]

    async def on_refusal(_: Request, error: Exception) -> Response:
        return refusal_problem(cast(Refusal, error))

    async def on_invalid(request: Request, error: Exception) -> Response:
        content_type = request.headers.get("content-type", "")
        return validation_problem(cast(RequestValidationError, error), content_type=content_type)

    async def on_status(request: Request, error: Exception) -> Response:
        known = cast(HTTPException, error)
        headers = dict(known.headers or {})
        if known.status_code == 405 and (methods := _methods_at((*api_routes, *app.routes), request)):
            headers["Allow"] = ", ".join(sorted(methods))
        return status_problem(known.status_code, headers=headers)

    app.add_exception_handler(Refusal, on_refusal)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_status)
