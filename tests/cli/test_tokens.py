"""`hullwatch tokens validate` against the `hullwatch simulator` command."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from cli.install import Program, fetch, session_of, stored, user_named

Command = Callable[..., Result]


@pytest.fixture
def simulator(start: Callable[..., Program], monkeypatch: pytest.MonkeyPatch) -> str:
    """Start the simulator, point the settings at it, and return its address."""
    program = start("simulator", "--port", "0", "--seed", "7")
    base_url = program.line("Fyers simulator at").split()[3]
    for name, path in (("BASE", "/api/v3"), ("DATA", "/data"), ("PUBLIC", "")):
        monkeypatch.setenv(f"HULLWATCH_FYERS_{name}_URL", base_url + path)
    return base_url


def create_session(base_url: str, fyers_id: str) -> dict[str, Any]:
    """Create a session at the simulator and return its token."""
    fetch(f"{base_url}/simulator/accounts", "POST", {"fyersId": fyers_id, "name": "Asha Iyer"})
    return fetch(f"{base_url}/simulator/accounts/{fyers_id}/token", "POST", {})


def validated(command: Command, *arguments: str) -> dict[str, Any]:
    """Return what `tokens validate --json` prints."""
    result = command("tokens", "validate", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_sessions_are_validated_with_fyers(command: Command, home: Path, simulator: str) -> None:
    """A revoked session is invalid and stored as disconnected. No token is printed."""
    token = create_session(simulator, "FY00001")
    expires_at = datetime.fromisoformat(token["expiresAt"])
    asha, new = user_named("asha"), user_named("new")
    stored(home, (asha, session_of(asha, expires_at=expires_at)), (new, None), token=token["accessToken"])

    good = validated(command, "--all")
    fetch(f"{simulator}/simulator/accounts/FY00001/revoke", "POST", {})
    revoked = validated(command, "asha@example.com", "usr_new", "usr_asha")
    table = command("tokens", "validate", "usr_asha")

    assert good["results"] | {"durationMs": 0} == {
        "total": 1, "valid": 1, "invalid": 0, "unverified": 0, "errors": 0, "durationMs": 0,
    }  # fmt: skip
    assert [(row["email"], row["result"]) for row in revoked["accounts"]] == [
        ("asha@example.com", "invalid"),
        ("new@example.com", "invalid"),
    ]
    assert revoked["accounts"][0]["connection"]["state"] == "disconnected"
    assert "asha@example.com" in table.stdout
    assert "1 account: 0 valid, 1 invalid" in table.stdout
    assert token["accessToken"] not in json.dumps([good, revoked]) + table.output


def test_an_outage_of_fyers_disconnects_nobody(command: Command, home: Path, simulator: str) -> None:
    """While Fyers answers with errors only, the session is unverified and kept; the command exits 0."""
    token = create_session(simulator, "FY00001")
    asha = user_named("asha")
    expires_at = datetime.fromisoformat(token["expiresAt"])
    stored(home, (asha, session_of(asha, expires_at=expires_at)), token=token["accessToken"])
    fetch(f"{simulator}/simulator/faults", "POST", {"kind": "html_page"})

    found = validated(command, "--all")

    (row,) = json.loads(command("users", "list", "--json").stdout)
    assert found["results"]["unverified"] == 1
    assert row["connection"]["state"] in ("connected", "expiring")


def test_an_unknown_user_is_named(command: Command, home: Path) -> None:
    """One unknown name fails the command before any session is validated."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))

    result = command("tokens", "validate", "asha@example.com", "ghost@example.com")

    assert result.exit_code == 1
    assert "ghost@example.com" in result.stderr
    assert result.stdout == ""
