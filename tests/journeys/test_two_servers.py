"""Two real server processes on one database and one Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharing.conftest import redis_server
from sharing.redis_process import RedisProcess

from hullwatch.simulator.server import SimulatorConfig, SimulatorServer
from journeys.broker import SimulatedBroker
from journeys.browser import Browser
from journeys.environment import until
from journeys.process import ServerProcess

__all__ = ["redis_server"]

PASSWORD_OF_REDIS = "canary-password-of-redis"


@dataclass
class Pair:
    """One user at two servers of one install."""

    simulator: SimulatorServer
    broker: SimulatedBroker
    servers: tuple[ServerProcess, ServerProcess]
    tabs: tuple[Browser, Browser]

    async def statuses(self, *, times: int = 1) -> list[dict[str, Any]]:
        """Request the validation from both servers at the same time, `times` from each."""
        requests = [tab.get("/api/token-validation/status") for tab in self.tabs for _ in range(times)]
        return list(await asyncio.gather(*requests))

    async def validations(self, *, times: int = 1) -> int:
        """Clear both caches, request the validation from both, and return the number of calls to Fyers."""
        for tab in self.tabs:
            await tab.call("POST", "/api/token-validation/clear-cache")
        await self.broker.reset_calls()
        for status in await self.statuses(times=times):
            assert (status["isValid"], status["isConnected"], status["verified"]) == (True, True, True), (
                status
            )
        return await self.broker.total(self.tabs[0].fyers_id)

    async def share(self) -> bool:
        """Whether requests at both cost one call to Fyers. On a busy machine Redis may answer too late at first."""
        return await self.validations(times=20) == 1

    async def redis_is_ready(self, *, is_ready: bool) -> bool:
        """Whether both servers report this of Redis. The servers themselves must always be ready."""
        found = []
        for tab in self.tabs:
            reply = await tab.request("GET", "/readyz")
            assert (reply.status, reply.json["status"]) == (200, "ready"), reply.text
            (redis,) = [one for one in reply.json["dependencies"] if one["name"] == "redis"]
            assert redis["isEssential"] is False
            found.append(redis["isReady"])
        return found == [is_ready] * 2

    async def sharing(self) -> list[dict[str, bool]]:
        """Return the state of sharing as the API reports it to admins."""
        return [(await tab.get("/api/token-validation/cache-stats"))["stats"]["shared"] for tab in self.tabs]


@asynccontextmanager
async def two_servers(folder: Path, redis_url: str) -> AsyncIterator[Pair]:
    """Start a simulator and two servers; their only user is connected and has a tab at each."""
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(SimulatorServer(SimulatorConfig(port=0)))
        broker = SimulatedBroker(simulator.base_url)
        stack.push_async_callback(broker.close)
        servers = []
        for name in ("one", "other"):
            (folder / name).mkdir()
            shared = {"HULLWATCH_DATA_DIR": str(folder / "data"), "HULLWATCH_REDIS_URL": redis_url}
            servers.append(ServerProcess(folder / name, simulator.base_url, **shared))
            stack.callback(servers[-1].kill)
        one, other = (Browser(server.url, "Asha", "FY00001") for server in servers)
        stack.push_async_callback(one.close)
        stack.push_async_callback(other.close)
        await servers[0].start()
        await one.register()
        await broker.add_account(one.fyers_id)
        await one.connect()
        await servers[1].start()  # reads the session from the database
        await other.call("POST", "/api/auth/login", {"email": one.email, "password": one.password})
        yield Pair(simulator, broker, (servers[0], servers[1]), (one, other))


async def test_two_servers_share_validations_and_work_without_redis(
    tmp_path: Path, redis_server: RedisProcess
) -> None:
    """With Redis they make one call to Fyers, without it one each. Both stay ready all the time."""
    async with two_servers(tmp_path, redis_server.url) as pair:
        await pair.statuses()
        await until(pair.share, "one call for both servers")
        assert await pair.sharing() == [{"isUsed": True, "isAnswering": True}] * 2

        for break_redis, repair_redis in (
            (redis_server.freeze, redis_server.thaw),
            (redis_server.kill, redis_server.start),
        ):
            break_redis()
            assert await pair.validations(times=20) == 2
            await until(lambda: pair.redis_is_ready(is_ready=False), "both report Redis as failed")
            assert await pair.validations(times=20) == 2
            assert [one["isUsed"] for one in await pair.sharing()] == [True, True]
            repair_redis()
            await until(lambda: pair.redis_is_ready(is_ready=True), "both report Redis as ready")
            await until(pair.share, "one call for both servers again")

        for server in pair.servers:
            assert await server.stop() == 0
            assert "Traceback" not in server.output


async def test_redis_stores_no_user_data_and_its_password_stays_secret(
    tmp_path: Path, redis_server: RedisProcess
) -> None:
    """Redis contains hashes and numbers only. The servers show only whether it answers."""
    with closing(redis_server.client()) as admin:
        admin.config_set("requirepass", PASSWORD_OF_REDIS)
        path = redis_server.url.removeprefix("unix://")
        async with two_servers(tmp_path, f"unix://:{PASSWORD_OF_REDIS}@{path}") as pair:
            await pair.tabs[0].call("POST", "/api/token-validation/validate-all")
            await until(pair.share, "one call for both servers")
            await until(lambda: pair.redis_is_ready(is_ready=True), "a login with the password")
            asha = pair.tabs[0]
            session = pair.simulator.broker.accounts.newest_session(asha.fyers_id)
            admin.auth(PASSWORD_OF_REDIS)
            content = {key: admin.dump(key) + (admin.get(key) or b"") for key in admin.scan_iter()}
            for tab in pair.tabs:
                for address in ("/metrics", "/readyz", "/api/admin/jobs"):
                    await tab.request("GET", address)

        assert content
        assert all(key.startswith(b"hullwatch:v1:") for key in content)
        for canary in (asha.user_id, asha.email, asha.name, asha.fyers_id, asha.password, session.token):
            assert canary.encode() not in b"".join((*content, *content.values())), canary
        output = "".join(server.output for server in pair.servers)
        assert PASSWORD_OF_REDIS not in output
        assert not any(PASSWORD_OF_REDIS in reply.text for tab in pair.tabs for reply in tab.replies)
