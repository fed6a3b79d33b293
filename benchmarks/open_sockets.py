"""Holds this many event sockets open and reads them: ``open_sockets URL COUNT TOKEN…``; prints ``open`` when all are."""

import asyncio
import sys

import aiohttp


async def main(url: str, count: int, tokens: list[str]) -> None:
    """Open and read until ended."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        slots = asyncio.Semaphore(20)

        async def open_one(number: int) -> aiohttp.ClientWebSocketResponse:
            headers = {"Authorization": f"Bearer {tokens[number % len(tokens)]}"}
            async with slots:
                socket = await http.ws_connect(f"{url}/api/events", headers=headers)
                await socket.receive()  # the greeting
                return socket

        async def read(socket: aiohttp.ClientWebSocketResponse) -> None:
            async for _ in socket:
                pass

        sockets = await asyncio.gather(*(open_one(number) for number in range(count)))
        print("open", flush=True)
        await asyncio.gather(*(read(socket) for socket in sockets))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
