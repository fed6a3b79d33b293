"""A client of the simulator's control calls."""

from datetime import datetime, timedelta
from typing import Any

import aiohttp
from limits import ANSWER_LIMIT_S

APP_ID = "HULLWATCH-100"
APP_SECRET = "simulator"


class SimulatedBroker:
    """Makes control calls to one simulator."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT_S))

    async def close(self) -> None:
        """Close the connection."""
        await self._http.close()

    async def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Make a control call and return its answer."""
        async with self._http.request(method, f"{self.url}/simulator{path}", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    async def add_account(self, fyers_id: str, *, lifetime: timedelta | None = None) -> None:
        """Add an account that can log in. Without `lifetime` its sessions last until 06:00 IST."""
        body: dict[str, Any] = {"fyersId": fyers_id, "name": f"Person {fyers_id}"}
        if lifetime is not None:
            body["lifetimeSeconds"] = lifetime.total_seconds()
        await self.control("POST", "/accounts", body)

    async def revoke(self, fyers_id: str) -> None:
        """Revoke the newest session of an account."""
        await self.control("POST", f"/accounts/{fyers_id}/revoke")

    async def start_fault(self, kind: str, **options: Any) -> str:
        """Start a fault and return its id."""
        return str((await self.control("POST", "/faults", {"kind": kind, **options}))["id"])

    async def end_faults(self) -> None:
        """End all faults."""
        await self.control("DELETE", "/faults")

    async def calls(self, fyers_id: str = "", path: str = "") -> dict[str, Any]:
        """Return the call counts of one account or of all."""
        return await self.control("GET", f"/calls?fyersId={fyers_id}&path={path}")

    async def total(self, fyers_id: str = "") -> int:
        """Return the number of calls since the last reset."""
        return int((await self.calls(fyers_id))["total"])

    async def reset_calls(self) -> None:
        """Reset the call counts."""
        await self.control("DELETE", "/calls")

    async def now(self) -> tuple[datetime, float]:
        """Return the simulated time and its speed."""
        answer = await self.control("GET", "/clock")
        return datetime.fromisoformat(answer["now"]), float(answer["speed"])

    async def advance(self, seconds: float) -> tuple[datetime, float]:
        """Move the clock forward; return its new time and speed."""
        answer = await self.control("POST", "/clock", {"advanceSeconds": seconds})
        return datetime.fromisoformat(answer["now"]), float(answer["speed"])
