"""A client of the simulator's control calls."""

from datetime import datetime, timedelta
from typing import Any

import aiohttp
from limits import ANSWER_LIMIT_S

APP_ID = "HULLWATCH-100"
APP_SECRET = "simulator"
"""Real seconds for one answer."""


class SimulatedBroker:
    """Calls one simulator."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT_S))

    async def close(self) -> None:
        """Close the connection."""
        await self._http.close()

    async def order(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Make a control call and return what it answers."""
        async with self._http.request(method, f"{self.url}/simulator{path}", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    async def person(self, fyers_id: str, *, lifetime: timedelta | None = None) -> None:
        """Let somebody log in; sessions last until 06:00 IST unless given a lifetime."""
        body: dict[str, Any] = {"fyersId": fyers_id, "name": f"Person {fyers_id}"}
        if lifetime is not None:
            body["lifetimeSeconds"] = lifetime.total_seconds()
        await self.order("POST", "/accounts", body)

    async def revoke(self, fyers_id: str) -> None:
        """Revoke the newest session of an account."""
        await self.order("POST", f"/accounts/{fyers_id}/revoke")

    async def fault(self, kind: str, **order: Any) -> str:
        """Start a fault and return its id."""
        return str((await self.order("POST", "/faults", {"kind": kind, **order}))["id"])

    async def end_faults(self) -> None:
        """End all faults."""
        await self.order("DELETE", "/faults")

    async def calls(self, fyers_id: str = "", path: str = "") -> dict[str, Any]:
        """Return the call counts of one account or of all."""
        return await self.order("GET", f"/calls?fyersId={fyers_id}&path={path}")

    async def total(self, fyers_id: str = "") -> int:
        """Return how many calls were counted."""
        return int((await self.calls(fyers_id))["total"])

    async def forget_calls(self) -> None:
        """Reset the call counts."""
        await self.order("DELETE", "/calls")

    async def now(self) -> tuple[datetime, float]:
        """Return the simulated moment and its speed."""
        answer = await self.order("GET", "/clock")
        return datetime.fromisoformat(answer["now"]), float(answer["speed"])

    async def advance(self, seconds: float) -> tuple[datetime, float]:
        """Move the clock forward; return its new time and speed."""
        answer = await self.order("POST", "/clock", {"advanceSeconds": seconds})
        return datetime.fromisoformat(answer["now"]), float(answer["speed"])
