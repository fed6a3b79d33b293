"""The OpenAPI document: what FastAPI derives, completed so that every answer a route can give stands in it."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from hullwatch.web.errors import PROBLEM_TYPE, Problem

_SENTENCES: Final = {
    400: "The request cannot be read.",
    401: "Nobody is signed in, or the credentials are wrong.",
    403: "The caller may not do this, or it came from another web page.",
    404: "Nothing of that name belongs to the caller.",
    409: "It cannot be done as things stand.",
    410: "It was good once or never, and is so no longer.",
    413: "The request is too large.",
    421: "The server is not known under this name.",
    422: "A value cannot be used; the fields are named, their values never.",
    429: "Too many attempts; `Retry-After` says how long to wait.",
    500: "The fault is the server's.",
    503: "The database or Fyers does not answer; nothing was changed.",
}
_PROBLEM: Final = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declare problems that one route can answer beyond those that follow from its shape."""
    return {status: {"description": _SENTENCES[status], "content": _PROBLEM} for status in statuses}


def document(app: FastAPI, version: str) -> dict[str, Any]:
    """Return the complete document."""
    made = get_openapi(
        title="hullwatch",
        version=version,
        summary="Watches Indian markets through Fyers accounts, and no token expiry stops it.",
        description="JSON is camelCase; moments are ISO 8601 with offset. Errors are problem documents (RFC 9457).",
        routes=app.routes,
    )
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
    """Add the problems that follow from an operation's shape; those that it declares itself stay."""
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
