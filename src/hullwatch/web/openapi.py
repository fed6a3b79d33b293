"""The OpenAPI document: FastAPI derives it, and this module adds the problems that every route can answer."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from hullwatch.web.errors import PROBLEM_TYPE, Problem

_SENTENCES: Final = {
    400: "The request cannot be read.",
    401: "No valid login, or wrong credentials.",
    403: "The caller is not allowed to do this, or the request came from a page of another website.",
    404: "The caller has nothing with this id.",
    409: "The present state does not allow it.",
    410: "It expired, or it never existed.",
    413: "The request is too large.",
    421: "The server does not answer under this host name.",
    422: "A value is invalid. The problem names the fields, never their values.",
    429: "Too many attempts. `Retry-After` gives the seconds to wait.",
    500: "An unexpected error of the server.",
    503: "The database or Fyers is unavailable. Nothing was changed.",
}
_PROBLEM: Final = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the responses that declare further problems of one route."""
    return {status: {"description": _SENTENCES[status], "content": _PROBLEM} for status in statuses}


def document(app: FastAPI, version: str, *, cookie: str) -> dict[str, Any]:
    """Return the complete document; `cookie` is the name of the login's cookie."""
    made = get_openapi(
        title="hullwatch",
        version=version,
        summary="Watches Indian markets through Fyers accounts, and continues after the expiry of access tokens.",
        description="Names in JSON are camelCase. Times are ISO 8601 with offset. Errors are problem documents (RFC 9457).",
        routes=app.routes,
    )
    made["components"]["securitySchemes"]["browserLogin"]["name"] = cookie
    schemas = made["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    for operations in made["paths"].values():
        for method, operation in operations.items():
            if method in _METHODS:
                _complete(method, operation)
    return made


def _complete(method: str, operation: dict[str, Any]) -> None:
    """Add the problems that follow from an operation's method, parameters and body to those that it declares."""
    responses = operation["responses"]
    responses.pop("422", None)
    statuses = {421, 500, 503}
    is_signed_in = bool(operation.get("security"))
    if is_signed_in:
        statuses |= {401}
    if method != "get":
        statuses |= {403, 413}
    if "requestBody" in operation:
        statuses |= {400, 422}
    parameters = operation.get("parameters", [])
    if parameters:
        statuses |= {422}
    if any(parameter["in"] == "path" for parameter in parameters):
        statuses |= {404}
    for status in sorted(statuses):
        responses.setdefault(str(status), {"description": _SENTENCES[status], "content": _PROBLEM})
    operation["responses"] = dict(sorted(responses.items()))
