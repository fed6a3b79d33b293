"""Apps, people, auth codes and sessions of the simulated broker.

Unknown of the real one, and assumed here: a newer login of the same person with the same app leaves older
access tokens valid until they expire. Logout ends the session of its own token only.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from hullwatch.simulator.market.calendar import next_at
from hullwatch.simulator.tokens import AUTH_CODE_LIFETIME_S, EXPIRES_AT_S, TokenPress

BUILT_IN_APP = "HULLWATCH-100"
FYERS_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
APP_ID = re.compile(r"[A-Za-z0-9_]{1,40}-\d{2,4}")
_KEPT_SESSIONS = 32


@dataclass(frozen=True, slots=True)
class FyersApp:
    """A registered app. `redirect_uri` is `None` for the built-in one, which takes any loopback address."""

    app_id: str
    secret: str = field(repr=False)
    redirect_uri: str | None = None

    @property
    def id_hash(self) -> str:
        """SHA-256 of the full app id and the secret, as clients must send it."""
        return hashlib.sha256(f"{self.app_id}:{self.secret}".encode()).hexdigest()

    def accepts_redirect(self, uri: str) -> bool:
        """Return whether a login may redirect to this address."""
        if self.redirect_uri is not None:
            return uri == self.redirect_uri
        try:
            parts = urlsplit(uri)
            host = parts.hostname or ""
        except ValueError:
            return False
        is_loopback = host in {"localhost", "::1"} or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
        return parts.scheme in {"http", "https"} and is_loopback and "\n" not in uri and "\r" not in uri


@dataclass(frozen=True, slots=True)
class Person:
    """A person with a Fyers login."""

    fyers_id: str
    name: str
    lifetime_s: float | None = None
    """The lifetime of the person's sessions; `None` means until 06:00 IST, as at Fyers."""
    pin: str = field(default="1234", repr=False)


@dataclass(slots=True)
class Session:
    """One access token and its state. Moments are epoch seconds of the simulated clock."""

    token: str = field(repr=False)
    hsm_key: str = field(repr=False)
    app_id: str
    fyers_id: str
    issued_at: int
    expires_at: float
    is_revoked: bool = False
    profile_still_answers: bool = False
    refresh_token: str = field(default="", repr=False)
    """The refresh token; only the login page gives one."""

    def has_expired(self, now: float) -> bool:
        """Return whether the token has expired."""
        return now >= self.expires_at

    def is_accepted(self, now: float) -> bool:
        """Return whether the broker accepts the token."""
        return not self.is_revoked and not self.has_expired(now)


class RefreshKind(Enum):
    """The handling of refresh tokens."""

    DISABLED = "disabled"
    """Refuses all of them, as Fyers does since 2026-04-01."""
    OFFERED = "offered"
    """Give a session for a valid one with its owner's PIN."""
    REFUSED_TOKENS = "dead_tokens"
    """As `offered`, but every service refuses that session (reported of the real broker)."""


@dataclass(frozen=True, slots=True)
class _AuthCode:
    app_id: str
    fyers_id: str
    expires_at: float


class Accounts:
    """The apps, people and tokens of the simulated broker."""

    def __init__(self, press: TokenPress) -> None:
        self._press = press
        self.apps: dict[str, FyersApp] = {BUILT_IN_APP: FyersApp(BUILT_IN_APP, "simulator")}
        self.people: dict[str, Person] = {}
        self._codes: dict[str, _AuthCode] = {}
        self._by_token: dict[str, Session] = {}
        self._by_hsm_key: dict[str, Session] = {}
        self._by_person: dict[str, list[Session]] = {}
        self._refresh_tokens: dict[str, tuple[str, str]] = {}
        self.refresh = RefreshKind.DISABLED

    def add_app(self, app: FyersApp) -> None:
        """Register an app, or replace the one of the same id."""
        self.apps[app.app_id] = app

    def add_person(self, person: Person) -> None:
        """Let a person log in, or rename them."""
        self.people[person.fyers_id] = person

    def app_with_hash(self, id_hash: str) -> FyersApp | None:
        """Return the app whose id and secret hash to this."""
        given = id_hash.lower().encode()
        return next(
            (app for app in self.apps.values() if hmac.compare_digest(app.id_hash.encode(), given)), None
        )

    def issue_code(self, app_id: str, fyers_id: str, now: int, nonce: str, scope: str) -> str:
        """Return a new auth code, valid once and for 30,000 s."""
        for code in [code for code, kept in self._codes.items() if now >= kept.expires_at]:
            del self._codes[code]
        code = self._press.auth_code(app_id, fyers_id, now, nonce, scope)
        self._codes[code] = _AuthCode(app_id, fyers_id, now + AUTH_CODE_LIFETIME_S)
        return code

    def redeem_code(self, code: str, app_id: str, now: float) -> str | None:
        """Use an auth code and return its Fyers id; `None` if unknown, used, expired or another app's."""
        kept = self._codes.get(code)
        if kept is None or kept.app_id != app_id or now >= kept.expires_at:
            return None
        del self._codes[code]
        return kept.fyers_id

    def open_session(
        self, app_id: str, fyers_id: str, now: float, lifetime_s: float | None = None, skew_s: float = 0.0
    ) -> Session:
        """Issue an access token, to the next 06:00 IST unless a lifetime is given.

        Args:
            app_id: The app it belongs to.
            fyers_id: The person it belongs to.
            now: Simulated moment of issue, epoch seconds.
            lifetime_s: Seconds until it ends.
            skew_s: Added to the moments written into the token, not to its real end.
        """
        issued_at = int(now)
        expires_at = next_at(now, EXPIRES_AT_S) if lifetime_s is None else now + lifetime_s
        token, hsm_key = self._press.access_token(
            app_id, fyers_id, int(issued_at + skew_s), int(expires_at + skew_s)
        )
        session = Session(token, hsm_key, app_id, fyers_id, issued_at, expires_at)
        self._by_token[token] = self._by_hsm_key[hsm_key] = session
        sessions = self._by_person.setdefault(fyers_id, [])
        sessions.append(session)
        if len(sessions) > _KEPT_SESSIONS:
            forgotten = next((old for old in sessions if not old.is_accepted(now)), sessions[0])
            sessions.remove(forgotten)
            del self._by_token[forgotten.token], self._by_hsm_key[forgotten.hsm_key]
        return session

    def refresh_token(self, session: Session) -> str:
        """Return the refresh token that comes with a session, the same each time."""
        if not session.refresh_token:
            token = self._press.refresh_token(session.app_id, session.fyers_id, session.issued_at)
            session.refresh_token = token
            self._refresh_tokens[token] = (session.app_id, session.fyers_id)
        return session.refresh_token

    def owner_of_refresh_token(self, token: str, app_id: str, now: float) -> Person | None:
        """Return the owner of a refresh token; `None` if it is forged, changed, expired or another app's."""
        claims = self._press.signed_claims(token)
        if claims.get("sub") != "refresh_token" or now >= claims.get("exp", 0):
            return None
        of_app, fyers_id = self._refresh_tokens.get(token, ("", ""))
        return self.people.get(fyers_id) if of_app == app_id else None

    def session_of(self, token: str) -> Session | None:
        """Return the session of an access token of this run."""
        return self._by_token.get(token)

    def session_of_key(self, hsm_key: str) -> Session | None:
        """Return the session whose token carries this key of the data stream."""
        return self._by_hsm_key.get(hsm_key)

    def end_sessions(self) -> None:
        """Revoke every session."""
        for session in self._by_token.values():
            session.is_revoked = True

    def newest_session(self, fyers_id: str) -> Session | None:
        """Return the session a person opened last."""
        sessions = self._by_person.get(fyers_id)
        return sessions[-1] if sessions else None
