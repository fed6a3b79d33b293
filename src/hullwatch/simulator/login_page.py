"""Fyers' login page: a person approves or refuses, and is redirected to the app's address.

With `fyersId` in the query it approves at once, so that a program can walk the whole login. What a refusal
of the person looks like is assumed (`s=error`, a negative code and a message; no source shows more).
"""

from collections.abc import Mapping
from html import escape
from urllib.parse import urlencode, urlsplit, urlunsplit

from hullwatch.simulator.accounts import FyersApp
from hullwatch.simulator.answers import Answer, Refusal, refusal
from hullwatch.simulator.broker import Broker

PATH = "/api/v3/generate-authcode"
_MOST_LISTED = 200
_KEPT = ("client_id", "redirect_uri", "response_type", "state", "scope", "nonce")


def answer_login(broker: Broker, query: Mapping[str, str], now: float, *, wants_html: bool) -> Answer:
    """Show the page, redirect the person, or refuse an invalid request."""
    app = broker.accounts.apps.get(query.get("client_id", ""))
    if app is None:
        return Refusal.LOGIN_APP.answer
    redirect_uri = query.get("redirect_uri", "")
    if not app.accepts_redirect(redirect_uri):
        return Refusal.LOGIN_REDIRECT.answer
    if query.get("response_type") != "code":
        return Refusal.LOGIN_INPUT.answer
    if query.get("decision") == "refuse":
        outcome = {"s": "error", "code": "-99", "message": "The login was refused"}
        return _redirect(redirect_uri, outcome | {"state": query.get("state", "")})
    return _approve(broker, app, query, now, wants_html=wants_html)


def _approve(
    broker: Broker, app: FyersApp, query: Mapping[str, str], now: float, *, wants_html: bool
) -> Answer:
    fyers_id = query.get("fyersId")
    if fyers_id is None:
        return _page(broker, query, "", 200)
    if fyers_id not in broker.accounts.people:
        sentence = "This simulator does not know this Fyers id. POST /simulator/accounts adds it"
        return _page(broker, query, sentence, 400) if wants_html else refusal(400, -50, sentence)
    code = broker.accounts.issue_code(
        app.app_id, fyers_id, int(now), query.get("nonce", ""), query.get("scope", "")
    )
    outcome = {"s": "ok", "code": "200", "auth_code": code, "state": query.get("state", "")}
    return _redirect(query["redirect_uri"], outcome)


def _redirect(uri: str, outcome: dict[str, str]) -> Answer:
    parts = urlsplit(uri)
    query = "&".join(filter(None, (parts.query, urlencode(outcome))))
    location = urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
    return Answer(b"", 302, "text/html; charset=utf-8", {"Location": location, "Cache-Control": "no-store"})


def _page(broker: Broker, query: Mapping[str, str], sentence: str, status: int) -> Answer:
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(query[name])}">'
        for name in _KEPT
        if name in query
    )
    complaint = f'<p role="alert">{escape(sentence)}</p>' if sentence else ""
    page = f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Log in (simulated)</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:4rem auto;padding:0 1rem}}
select,input,button{{font:inherit;padding:.5rem;margin:.25rem 0}}</style></head>
<body>
<h1>Simulated Fyers login</h1>
<p>The app <b>{escape(query.get("client_id", ""))}</b> asks to act for you.</p>
{complaint}
<form method="get" action="{PATH}">
{hidden}
<label>Fyers id {_choice(broker)}</label>
<p><button name="decision" value="approve">Approve</button>
<button name="decision" value="refuse" formnovalidate>Refuse</button></p>
</form>
</body>
</html>
"""
    return Answer(page.encode(), status, "text/html; charset=utf-8", {"Cache-Control": "no-store"})


def _choice(broker: Broker) -> str:
    """Return a list of people, or a text field for none or too many."""
    people = sorted(broker.accounts.people.values(), key=lambda person: person.fyers_id)
    if not 0 < len(people) <= _MOST_LISTED:
        return '<input name="fyersId" required maxlength="32" autocomplete="off">'
    options = "".join(
        f'<option value="{escape(person.fyers_id)}">{escape(person.fyers_id)} ({escape(person.name)})</option>'
        for person in people
    )
    return f'<select name="fyersId">{options}</select>'
