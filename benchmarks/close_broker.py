"""A broker process for the benchmark `close`: it serves known prices cheaply and counts every call.

The simulator takes more CPU for a call than the server under test, so that on one machine it would decide the
result. This one answers history, quotes and profile in Fyers' form, and nothing else.
"""

import argparse
import asyncio
import json
import time
from collections import Counter, defaultdict, deque
from urllib.parse import parse_qs, urlsplit

CANDLE_S = 300
DECLINE = 0.003
"""Each candle of a line closes this share below the one before, so it stays clearly below its average."""
NEAR = 0.005
"""A line that its quotes do not show yet is this share above, about 0.1 % from its trigger, until the last second."""
JUMP = 0.03
"""A line that crosses closes this share above the candle before."""


class Prices:
    """The prices of all symbols; symbol `k` of `S<k>` crosses its average at the measured close or does not."""

    def __init__(self, close_at: int, crossing: int, visible: int) -> None:
        self._close_at = close_at
        self._crossing = crossing
        self._visible = visible

    def crosses(self, number: int) -> bool:
        """Whether this symbol's candle crosses its average at the close."""
        return number < self._crossing

    def is_visible(self, number: int) -> bool:
        """Whether the quotes of the last minute show it; else the price jumps after the last quote."""
        return number < self._visible

    def close(self, number: int, opened_at: int) -> float:
        """Return the close of the candle that opened then."""
        candles = _trading_slot(opened_at) - _trading_slot(self._close_at)  # -1: ends at the measured close
        price = (500 + number) * (1 - DECLINE) ** (candles + 200)
        if candles == -1 and self.crosses(number):
            price *= 1 + JUMP
        return round(price, 2)

    def last(self, number: int, now: float) -> float:
        """Return the last price at `now`."""
        opened_at = int(now) // CANDLE_S * CANDLE_S
        price = self.close(number, opened_at)
        if opened_at + CANDLE_S == self._close_at and self.crosses(number):
            left = self._close_at - now
            if left > (60 if self.is_visible(number) else 1):
                share = 0.0 if self.is_visible(number) else NEAR
                return round(price / (1 + JUMP) * (1 + share), 2)
        return price


class Counts:
    """Calls by account: the most in a second and in a minute, and under way at once."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.most_in_second = self.most_in_minute = self.most_at_once = self.most_in_second_of_all = 0
        self._instants: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=400))
        self._all: deque[float] = deque()
        self.under_way: Counter[str] = Counter()
        self.quotes_by_second: Counter[int] = Counter()
        self.history_by_second: Counter[int] = Counter()

    def record(self, account: str, path: str, now: float) -> None:
        """Count a call at its arrival."""
        self.total[path] += 1
        by_second = self.quotes_by_second if path == "quotes" else self.history_by_second
        by_second[int(now)] += 1
        instants = self._instants[account]
        instants.append(now)
        second = sum(1 for each in instants if each > now - 1)
        minute = sum(1 for each in instants if each > now - 60)
        self.most_in_second = max(self.most_in_second, second)
        self.most_in_minute = max(self.most_in_minute, minute)
        self.under_way[account] += 1
        self.most_at_once = max(self.most_at_once, self.under_way[account])
        self._all.append(now)
        while self._all[0] <= now - 1:
            self._all.popleft()
        self.most_in_second_of_all = max(self.most_in_second_of_all, len(self._all))

    def shown(self) -> dict[str, object]:
        """Return the counts as JSON."""
        return {
            "total": dict(self.total),
            "mostInSecond": self.most_in_second,
            "mostInMinute": self.most_in_minute,
            "mostAtOnce": self.most_at_once,
            "mostInSecondOfAll": self.most_in_second_of_all,
            "quotesBySecond": {str(second): n for second, n in self.quotes_by_second.items()},
            "historyBySecond": {str(second): n for second, n in self.history_by_second.items()},
        }


class Broker:
    """Answers one request after the other on each connection."""

    def __init__(self, prices: Prices, shift_s: float, speed: float, latency_s: float) -> None:
        self.prices = prices
        self.counts = Counts()
        self.latency_s = latency_s
        self._began = time.time()
        self._shift_s = shift_s
        self._speed = speed

    def now(self) -> float:
        """Return the market time in epoch seconds."""
        real = time.time()
        return self._began + self._shift_s + (real - self._began) * self._speed

    def answer(self, path: str, query: dict[str, list[str]]) -> bytes:
        """Return the body of one answer."""
        now = self.now()
        if path == "/data/history":
            body: dict[str, object] = {"s": "ok", "candles": self._candles(query, now)}
        elif path == "/data/quotes":
            body = {
                "s": "ok",
                "code": 200,
                "d": [self._quote(n, now) for n in query["symbols"][0].split(",")],
            }
        elif path == "/counts":
            body = self.counts.shown()
            self.counts = Counts() if "reset" in query else self.counts
        elif path == "/now":
            body = {"now": now}
        else:
            body = {"s": "error", "code": -300, "message": "unknown"}
        return json.dumps(body, separators=(",", ":")).encode()

    def _candles(self, query: dict[str, list[str]], now: float) -> list[list[float]]:
        number = _number(query["symbol"][0])
        first, last = int(query["range_from"][0]), min(int(query["range_to"][0]), int(now))
        rows: list[list[float]] = []
        opened_at = -(-first // CANDLE_S) * CANDLE_S
        while opened_at <= last:
            # 09:15 to 15:30 IST, Monday to Friday; 1970-01-01 was a Thursday.
            if 13_500 <= opened_at % 86_400 < 36_000 and (opened_at // 86_400 + 3) % 7 < 5:
                is_forming = opened_at + CANDLE_S > now
                close = self.prices.last(number, now) if is_forming else self.prices.close(number, opened_at)
                rows.append([opened_at, close, close, close, close, 1000])
            opened_at += CANDLE_S
        return rows

    def _quote(self, name: str, now: float) -> dict[str, object]:
        price = self.prices.last(_number(name), now)
        values = {
            "lp": price, "ch": 0.0, "chp": 0.0, "open_price": price, "high_price": price, "low_price": price,
            "prev_close_price": price, "volume": 100_000, "bid": price, "ask": price, "tt": str(int(now)),
        }  # fmt: skip
        return {"n": name, "s": "ok", "v": values}


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection without pipelining."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment] # TCP transports can write

    def data_received(self, data: bytes) -> None:
        """Answer a complete request after the latency."""
        self._received += data
        if b"\r\n\r\n" not in self._received:
            return
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        target = urlsplit(lines[0].split(" ")[1])
        token = next((line for line in lines if line.lower().startswith("authorization:")), "")
        account = token.rpartition(":")[2]
        is_counted = target.path.startswith("/data/")
        if is_counted:
            self._broker.counts.record(account, target.path.removeprefix("/data/"), self._broker.now())
        counts = self._broker.counts
        body = self._broker.answer(target.path, parse_qs(target.query))
        loop = asyncio.get_running_loop()
        if is_counted:
            loop.call_later(self._broker.latency_s, self._send, body, counts, account)
        else:
            self._send(body, None, account)

    def _send(self, body: bytes, counts: Counts | None, account: str) -> None:
        if counts is not None:
            counts.under_way[account] -= 1
        if self._transport is None or self._transport.is_closing():
            return
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(self._broker.now()))
        self._transport.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: {date}\r\n"
            f"Content-Length: {len(body)}\r\nServer: cloudflare\r\n\r\n".encode()
            + body
        )


def _trading_slot(moment: int) -> int:
    """Count the candles of trading hours, so that no price jumps over a night."""
    days, second = divmod(moment, 86_400)
    weeks, weekday = divmod(days + 3, 7)  # 1970-01-01 was a Thursday
    return (weeks * 5 + min(weekday, 5)) * 75 + (second - 13_500) // CANDLE_S


def _number(symbol: str) -> int:
    """Return the number in ``NSE:S<number>-EQ``; the index of a scope check has the last one."""
    digits = symbol.removeprefix("NSE:S").removesuffix("-EQ")
    return int(digits) if digits.isdigit() else 499


async def serve(broker: Broker) -> None:
    """Listen on a free port, print it and serve until the process ends."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(broker), "127.0.0.1", 0, backlog=4096
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    """Run the broker."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--close-at", type=int, required=True)
    parser.add_argument("--crossing", type=int, required=True)
    parser.add_argument("--visible", type=int, required=True)
    parser.add_argument("--shift", type=float, required=True)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--latency", type=float, default=0.05)
    chosen = parser.parse_args()
    prices = Prices(chosen.close_at, chosen.crossing, chosen.visible)
    asyncio.run(serve(Broker(prices, chosen.shift, chosen.speed, chosen.latency)))


if __name__ == "__main__":
    main()
