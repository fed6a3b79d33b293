"""Pages that the server renders without scripts: a home page, the API documentation, and a refused login."""

from html import escape
from typing import Any, Final

from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.users.accounts import User
from hullwatch.services.texts.connection import connection_message

STYLE_PATH: Final = "/plain.css"
STYLE: Final = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, .method { font-family: ui-monospace, monospace; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 600; }
section { margin: 1rem 0; padding: 0.5rem 1rem; border: 1px solid #8886; border-radius: 0.5rem; }
table { border-collapse: collapse; } td, th { padding: 0.1rem 1rem 0.1rem 0; text-align: left; vertical-align: top; }
"""


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="{STYLE_PATH}"></head>'
        f"<body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def home_page(user: User | None, connection: Connection | None) -> str:
    """Return the page at ``/`` for builds without the dashboard: the user and the Fyers session."""
    if user is None or connection is None:
        state = "<p>You are not signed in. Programs use an API token, browsers sign in with <code>POST /api/auth/login</code>.</p>"
    else:
        state = (
            f"<p>Signed in as <strong>{escape(user.full_name)}</strong> ({escape(user.email)}).</p>"
            f'<section><p id="connection" data-state="{connection.state.value}">'
            f"{escape(connection_message(connection))}</p></section>"
        )
    return _page(
        "hullwatch",
        state + "<p>This build does not contain the dashboard. "
        '<a href="/api/docs">API documentation</a>, <a href="/api/openapi.json">OpenAPI document</a>.</p>',
    )


def refusal_page(sentence: str, *, may_switch: bool = False, is_signed_in: bool = True) -> str:
    """Return the page for a refused login at Fyers; after a login with another Fyers account it offers to switch."""
    # A browser that is not signed in came from a login link, which its page still has.
    by_link = "" if is_signed_in else "<p><a href='/reconnect'>Back to the login link</a></p>"
    switch = "<p><a href='/#/fyers/switch'>Switch to another Fyers account</a></p>" if may_switch else ""
    return _page(
        "The Fyers login did not succeed",
        f"<p>{escape(sentence)}</p><p>Nothing was changed. <a href='/'>Open hullwatch</a></p>{by_link}{switch}",
    )


def docs_page(document: dict[str, Any]) -> str:
    """Return the API documentation, made from the OpenAPI document; it loads nothing from other servers."""
    sections = [
        _operation(method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return _page(
        "hullwatch API",
        f"<p>{escape(document['info']['description'])}</p>"
        '<p>The complete description is <a href="/api/openapi.json">the OpenAPI document</a>.</p>'
        + "".join(sections),
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    fields = _parameters(operation) + _body(operation)
    table = f"<table><tr><th>name</th><th>in</th><th></th></tr>{fields}</table>" if fields else ""
    needs = " <small>needs a login</small>" if operation.get("security") else ""
    statuses = ", ".join(operation["responses"])
    return (
        f'<section><h2><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code>{needs}</h2>'
        f"<p>{escape(operation.get('description', ''))}</p>{table}<p><small>Answers: {escape(statuses)}</small></p></section>"
    )


def _parameters(operation: dict[str, Any]) -> str:
    return "".join(
        _row(parameter["name"], parameter["in"], is_required=parameter.get("required", False))
        for parameter in operation.get("parameters", [])
    )


def _body(operation: dict[str, Any]) -> str:
    if "requestBody" not in operation:
        return ""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    reference = schema.get("$ref") or next(
        (one["$ref"] for one in schema.get("anyOf", []) if "$ref" in one), ""
    )
    name = reference.rpartition("/")[2]
    return _row(name, "JSON body", is_required=operation["requestBody"].get("required", False))


def _row(name: str, location: str, *, is_required: bool) -> str:
    word = "required" if is_required else "optional"
    return f"<tr><td><code>{escape(name)}</code></td><td>{escape(location)}</td><td>{word}</td></tr>"
