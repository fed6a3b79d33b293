"""The frames of the data stream, and the order stream."""

import asyncio
import struct

import aiohttp
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import ANSWER_LIMIT_S

from hullwatch.simulator import frames
from hullwatch.simulator.frames import FrameType, UnreadableFrame

SBIN, NIFTY, BOOK = "sf|nse_cm|3045", "if|nse_cm|Nifty 50", "dp|nse_cm|3045"
MISSING = -(2**31)


def auth(token):
    """Return the auth frame of a token."""
    key = jwt.decode(token, options={"verify_signature": False})["hsm_key"]
    return frames.fields_frame(1, key.encode(), b"P", b"\x01", b"test")


def topics(kind, *names, channel=11):
    """Return a subscribe or unsubscribe frame."""
    listed = struct.pack(">H", len(names)) + b"".join(bytes((len(name),)) + name.encode() for name in names)
    return frames.fields_frame(kind, listed, bytes((channel,)))


def mask(kind, channel, *more):
    """Return a frame about one channel."""
    return frames.fields_frame(kind, struct.pack(">Q", 1 << channel), *more)


def items(data):
    """Return the items of a data frame as (kind, topic id, topic, values), read as the SDKs do."""
    found, at = [], 9
    for _ in range(struct.unpack(">H", data[7:9])[0]):
        kind, topic_id, topic = chr(data[at]), data[at + 1 : at + 3], ""
        at += 3
        if kind == "L":
            found.append((kind, topic_id, topic, struct.unpack(">i", data[at : at + 4])))
            at += 4
            continue
        if kind == "S":
            topic = data[at + 1 : at + 1 + data[at]].decode()
            at += 1 + data[at]
        count = data[at]
        found.append((kind, topic_id, topic, struct.unpack(f">{count}i", data[at + 1 : at + 1 + 4 * count])))
        at += 1 + 4 * count
        if kind == "S":
            at += 5
            for _ in range(3):
                at += 1 + data[at]
    assert at == len(data)
    return found


async def next_frame(socket):
    """Return the next binary frame."""
    message = await asyncio.wait_for(socket.receive(), ANSWER_LIMIT_S)
    assert message.type is aiohttp.WSMsgType.BINARY, message
    assert struct.unpack(">H", message.data[:2])[0] == len(message.data) - 2
    return message.data


async def login(simulator, token, **options):
    """Connect and log in."""
    socket = await simulator.http.ws_connect("/hsm/v1-5/prod", **options)
    await socket.send_bytes(auth(token))
    assert (await next_frame(socket))[7:8] == b"K"
    return socket


async def subscribed(simulator, token, *names, channel=11):
    """Connect, log in and subscribe; return the socket and the snapshots."""
    socket = await login(simulator, token)
    await socket.send_bytes(topics(4, *names, channel=channel))
    assert (await next_frame(socket))[2:8:5] == b"\x04K"
    return socket, items(await next_frame(socket))


async def assert_no_message(socket):
    """Assert that no message comes for a dozen beats; a missing message has no event to wait for."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(socket.receive(), 0.12)


async def test_a_good_key_is_acknowledged(simulator):
    """The answer is K with the acknowledgement interval and the layout that the Node SDK needs."""
    socket = await simulator.http.ws_connect("/hsm/v1-5/prod")
    await socket.send_bytes(auth(await simulator.person()))

    answer = frames.read_frame(await next_frame(socket))

    assert answer.type == FrameType.AUTH
    assert answer.fields[1] == b"K"
    assert int.from_bytes(answer.fields[2]) > 0
    assert answer.fields[3].startswith(b'{"fields":[')


async def test_an_unknown_key_is_refused(simulator):
    """The answer is N."""
    socket = await simulator.http.ws_connect("/hsm/v1-5/prod")
    await socket.send_bytes(frames.fields_frame(1, b"0" * 56, b"P"))

    assert (await next_frame(socket))[7:8] == b"N"


@pytest.mark.parametrize("ending", ["expire", "revoke"])
async def test_a_refused_token_gets_no_answer(simulator, ending):
    """This is assumed of the real stream."""
    token = await simulator.person()
    await simulator.control("POST", f"/accounts/XA00001/{ending}")
    socket = await simulator.http.ws_connect("/hsm/v1-5/prod")
    await socket.send_bytes(auth(token))

    await assert_no_message(socket)


async def test_an_authorization_header_disables_the_stream(simulator):
    """The upgrade is accepted and the auth frame ignored, as at Fyers."""
    token = await simulator.person()
    headers = {"Authorization": f"HULLWATCH-100:{token}"}
    socket = await simulator.http.ws_connect("/hsm/v1-5/prod", headers=headers)
    await socket.send_bytes(auth(token))

    await assert_no_message(socket)


async def test_snapshots_agree_with_the_quote(simulator):
    """A symbol has 21 values, an index 6 and depth 30; prices are in paise."""
    token = await simulator.person()
    quote = await simulator.quote(token)

    socket, snapshots = await subscribed(
        simulator, token, SBIN, NIFTY, BOOK, "sf|nse_cm|999999", "dp|nse_cm|26000"
    )
    by_topic = {topic: values for _, _, topic, values in snapshots}

    assert [kind for kind, *_ in snapshots] == ["S", "S", "S"]
    assert {topic: len(values) for topic, values in by_topic.items()} == {SBIN: 21, NIFTY: 6, BOOK: 30}
    assert by_topic[SBIN][0] == round(quote["lp"] * 100)
    assert by_topic[SBIN][1] == quote["volume"]
    assert by_topic[SBIN][20] == round(quote["prev_close_price"] * 100)
    assert by_topic[BOOK][0] == round(quote["bid"] * 100)
    assert by_topic[BOOK][5] == round(quote["ask"] * 100)
    await socket.close()


@pytest.mark.parametrize(
    ("symbol", "segment", "name", "scale"),
    [
        ("NSE:NIFTY26DECFUT", "nse_fo", "", 100), ("NSE:NIFTY26DEC27000CE", "nse_fo", "", 100),
        ("BSE:SENSEX-INDEX", "bse_cm", "SENSEX", 100), ("NSE:INDIAVIX-INDEX", "nse_cm", "India VIX", 100),
        ("BSE:SBIN-A", "bse_cm", "", 100), ("MCX:CRUDEOIL26DECFUT", "mcx_fo", "", 100),
        ("NSE:USDINR26DECFUT", "cde_fo", "", 10_000),
    ],
)  # fmt: skip
async def test_other_markets_have_their_segments(simulator, symbol, segment, name, scale):
    """The token is that of the symbol lookup; a currency has four digits after the point."""
    token = await simulator.person()
    _, answer = await simulator.call("/data/symbol-token", token, "POST", json={"symbols": [symbol]})
    key = name or answer["validSymbol"][symbol][10:]
    kind = "if" if name else "sf"

    _, [(_, _, topic, values)] = await subscribed(simulator, token, f"{kind}|{segment}|{key}")

    assert topic == f"{kind}|{segment}|{key}"
    assert values[0] == round((await simulator.quote(token, symbol))["lp"] * scale)


async def test_index_updates_have_all_six_values(simulator):
    """Python SDKs before 3.2.0 take the marker of an unchanged index value as a price."""
    token = await simulator.person()
    socket, [(_, topic_id, _, before)] = await subscribed(simulator, token, NIFTY)

    simulator.time.value += 120
    [(kind, same_id, _, values)] = items(await next_frame(socket))

    assert (kind, same_id, len(values)) == ("U", topic_id, 6)
    assert MISSING not in values
    assert (values[1], values[5]) == (before[1], before[5])


async def test_updates_have_changed_values_only(simulator):
    """Unchanged values are marked missing, and without changes no frame comes."""
    token = await simulator.person()
    socket, [(_, topic_id, _, before)] = await subscribed(simulator, token, SBIN)

    simulator.time.value += 120
    [(kind, same_id, _, changes)] = items(await next_frame(socket))
    quote = await simulator.quote(token)

    assert (kind, same_id) == ("U", topic_id)
    assert changes[0] == round(quote["lp"] * 100) or (
        changes[0] == MISSING and before[0] == round(quote["lp"] * 100)
    )
    assert changes[1] == quote["volume"]
    assert changes[20] == MISSING
    await assert_no_message(socket)


async def test_lite_mode_sends_the_price_alone(simulator):
    """After a mode frame with L the channel gets topic and price."""
    token = await simulator.person()
    socket, [(_, topic_id, _, _)] = await subscribed(simulator, token, SBIN)
    await socket.send_bytes(mask(12, 11, b"L"))
    assert (await next_frame(socket))[2:8:5] == b"\x0cK"

    simulator.time.value += 600
    [(kind, same_id, _, values)] = items(await next_frame(socket))

    assert (kind, same_id) == ("L", topic_id)
    assert values[0] == round((await simulator.quote(token))["lp"] * 100)


async def test_a_paused_channel_sends_nothing_until_resumed(simulator):
    """Other channels continue; after resuming, the present values are sent."""
    token = await simulator.person()
    socket, _ = await subscribed(simulator, token, SBIN, channel=3)
    await socket.send_bytes(mask(7, 3))
    assert (await next_frame(socket))[2:8:5] == b"\x07K"
    simulator.time.value += 120
    await assert_no_message(socket)
    await socket.send_bytes(mask(8, 3))

    answers = [await next_frame(socket), await next_frame(socket)]

    assert sorted(answer[2] for answer in answers) == [6, 8]


async def test_unsubscribed_topics_send_nothing(simulator):
    """This holds from the confirmation on."""
    token = await simulator.person()
    socket, _ = await subscribed(simulator, token, SBIN)
    await socket.send_bytes(topics(5, SBIN))
    assert (await next_frame(socket))[2:8:5] == b"\x05K"
    simulator.time.value += 120

    await assert_no_message(socket)


async def test_an_expired_token_gets_no_more_messages(simulator):
    """The connection stays open, as at Fyers."""
    token = await simulator.person()
    socket, _ = await subscribed(simulator, token, SBIN)
    await simulator.control("POST", "/accounts/XA00001/revoke")
    simulator.time.value += 120

    await assert_no_message(socket)
    assert not socket.closed


async def test_a_second_connection_of_an_account_closes_the_first(simulator):
    """Fyers allows one connection per person."""
    token = await simulator.person()
    first = await login(simulator, token)

    await login(simulator, token)

    message = await asyncio.wait_for(first.receive(), ANSWER_LIMIT_S)
    assert message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE}


async def test_stream_drop_aborts_one_connection(simulator):
    """With a count of one, the next connection is not affected."""
    token, other = await simulator.person("XA00001"), await simulator.person("XA00002")
    socket, bystander = await login(simulator, token), await login(simulator, other)
    await simulator.control("POST", "/faults", {"kind": "stream_drop", "fyersId": "XA00001", "count": 1})

    message = await asyncio.wait_for(socket.receive(), ANSWER_LIMIT_S)
    again, snapshots = await subscribed(simulator, token, SBIN)

    assert message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
    assert socket.close_code in {None, 1006}
    assert snapshots
    assert not bystander.closed
    await again.close()


async def test_stream_stall_stops_messages_until_deleted(simulator):
    """The connection stays open without updates and answers."""
    token = await simulator.person()
    socket, _ = await subscribed(simulator, token, SBIN)
    _, order = await simulator.control("POST", "/faults", {"kind": "stream_stall", "count": 1})
    await assert_no_message(socket)
    simulator.time.value += 120
    await assert_no_answer(socket, topics(4, NIFTY))

    await simulator.control("DELETE", f"/faults/{order['id']}")

    assert (await next_frame(socket))[2] == FrameType.DATA


async def assert_no_answer(socket, frame):
    """Send a frame and assert that it is not answered."""
    await socket.send_bytes(frame)
    await assert_no_message(socket)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"\x00\x01\x0b", b"\x00\x00\x04\x02\x01\xff\xff", b"\xff" * 500, b"\x00\x00\x63\x00"],
)
async def test_unreadable_frames_are_ignored(simulator, data):
    """They close no connection."""
    token = await simulator.person()
    socket = await login(simulator, token)
    await socket.send_bytes(data)
    await socket.send_str("text")
    await socket.send_bytes(topics(4, SBIN))

    assert (await next_frame(socket))[2:8:5] == b"\x04K"


async def test_too_many_topics_get_a_custom_message(simulator):
    """More than 1,500 topics in one frame are refused with code 51001 about the subscription."""
    socket = await login(simulator, await simulator.person())
    await socket.send_bytes(topics(4, *(f"sf|nse_cm|{number}" for number in range(1501))))

    answer = frames.read_frame(await next_frame(socket))

    assert answer.type == FrameType.CUSTOM
    assert struct.unpack(">i", answer.fields[1])[0] == 51001
    assert answer.fields[3] == b"\x04"


async def test_stopping_the_simulator_ends_streams(simulator):
    """A connected client gets a close frame."""
    socket = await login(simulator, await simulator.person())

    waiting = asyncio.ensure_future(socket.receive())
    await simulator.server.stop()

    assert (await waiting).type in {
        aiohttp.WSMsgType.CLOSE,
        aiohttp.WSMsgType.CLOSED,
        aiohttp.WSMsgType.ERROR,
    }


async def test_the_order_stream_answers_pings_and_subscriptions(simulator):
    """A ping is answered pong, a subscription 1605."""
    token = await simulator.person()
    socket = await simulator.http.ws_connect("/trade/v3", headers={"authorization": f"HULLWATCH-100:{token}"})
    await socket.send_str("ping")
    await socket.send_str('{"T":"SUB_ORD","SLIST":["orders"],"SUB_T":1}')

    assert await socket.receive_str() == "pong"
    assert (await socket.receive_json())["code"] == 1605
    await socket.close()


async def test_the_order_stream_refuses_a_token_at_the_upgrade(simulator):
    """It answers HTTP 403 with an empty body."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await simulator.http.ws_connect("/trade/v3", headers={"authorization": "HULLWATCH-100:garbage"})

    assert refused.value.status == 403


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data):
    """No bytes raise another error than `UnreadableFrame`."""
    try:
        frame = frames.read_frame(data)
        frame.topics()
        frame.bits()
    except UnreadableFrame:
        return
    assert frame.type == data[2]
