"""Reads and writes the binary frames of the data stream.

All integers are big-endian: `u16 length`, `u8 type`, the rest. Lengths sent by clients are not to be
trusted (the official Python SDK overstates some and sends 0 in others), so the end of the WebSocket message
is the end of the frame.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import orjson

MISSING = -(2**31)
"""A value that is unchanged or not available."""
_LARGEST = 2**31 - 1


class FrameType(IntEnum):
    """The third byte of a frame."""

    AUTH = 1
    ACK = 3
    SUBSCRIBE = 4
    UNSUBSCRIBE = 5
    DATA = 6
    PAUSE = 7
    RESUME = 8
    PING = 11
    MODE = 12
    CUSTOM = 51


class UnreadableFrame(ValueError):  # noqa: N818  failures are named as facts
    """A frame that is not of the form it claims."""


@dataclass(frozen=True, slots=True)
class ClientFrame:
    """A frame from a client: its type and its fields by number."""

    type: int
    fields: dict[int, bytes]

    def bits(self) -> frozenset[int]:
        """Return the channels in field 1, a u64 with a bit per channel."""
        value = self.fields.get(1, b"")
        if len(value) != 8:
            raise UnreadableFrame("a channel mask has eight bytes")
        mask = int.from_bytes(value)
        return frozenset(channel for channel in range(64) if mask >> channel & 1)

    def topics(self) -> list[str]:
        """Return the topics in field 1: a u16 count, then each with a u8 length."""
        data = self.fields.get(1, b"")
        topics: list[str] = []
        at = 2
        for _ in range(int.from_bytes(data[:2])):
            length = data[at] if at < len(data) else 0
            topic = data[at + 1 : at + 1 + length]
            if not topic or len(topic) != length:
                raise UnreadableFrame("a list of topics ends early")
            topics.append(topic.decode("ascii", errors="replace"))
            at += 1 + length
        return topics


def read_frame(data: bytes) -> ClientFrame:
    """Read a frame from a client.

    Raises:
        UnreadableFrame: It is too short or its fields run past its end.
    """
    if len(data) < 3:
        raise UnreadableFrame("a frame has at least three bytes")
    fields: dict[int, bytes] = {}
    at = 4
    for _ in range(data[3] if len(data) > 3 else 0):
        if at + 3 > len(data):
            raise UnreadableFrame("a field begins past the end")
        number, length = data[at], int.from_bytes(data[at + 1 : at + 3])
        value = data[at + 3 : at + 3 + length]
        if len(value) != length:
            raise UnreadableFrame("a field ends past the end")
        fields[number] = value
        at += 3 + length
    return ClientFrame(data[2], fields)


def fields_frame(kind: int, *values: bytes) -> bytes:
    """Return a frame of numbered fields."""
    fields = b"".join(
        struct.pack(">BH", number, len(value)) + value for number, value in enumerate(values, start=1)
    )
    rest = bytes((kind, len(values))) + fields
    return struct.pack(">H", min(len(rest), 65_535)) + rest


def auth_frame(*, accepted: bool, ack_count: int) -> bytes:
    """Return the answer to an auth frame. The Node SDK needs the stream's layout, the Python SDK skips it."""
    problem = b"K" if accepted else b"N"
    return fields_frame(FrameType.AUTH, problem, struct.pack(">I", ack_count), STREAM_CONFIG)


def custom_frame(code: int, message: str, reference: int) -> bytes:
    """Return a custom message about an earlier request of type `reference`."""
    return fields_frame(FrameType.CUSTOM, struct.pack(">i", code), message.encode(), bytes((reference,)))


def data_frame(number: int, items: Sequence[bytes]) -> bytes:
    """Return a data frame with its message number."""
    rest = struct.pack(">BIH", FrameType.DATA, number, len(items)) + b"".join(items)
    return struct.pack(">H", min(len(rest), 65_535)) + rest


def snapshot_item(
    topic_id: int, topic: str, values: Sequence[int], names: Sequence[str], precision: int
) -> bytes:
    """Return every value of a topic, prices as whole numbers; `names` are segment, key and name."""
    head = struct.pack(">BHB", 83, topic_id, len(topic)) + topic.encode("ascii")
    scale = struct.pack(">HHB", 0, 1, precision)  # two reserved bytes, multiplier 1, precision
    texts = b"".join(bytes((len(name),)) + name.encode("ascii") for name in names)
    return head + bytes((len(values),)) + _packed(values) + scale + texts


def update_item(topic_id: int, values: Sequence[int]) -> bytes:
    """Return the values that have changed, `MISSING` for the others."""
    return struct.pack(">BHB", 85, topic_id, len(values)) + _packed(values)


def lite_item(topic_id: int, price: int) -> bytes:
    """Return the last price alone."""
    return struct.pack(">BHi", 76, topic_id, price)


def _packed(values: Sequence[int]) -> bytes:
    return struct.pack(f">{len(values)}i", *(max(MISSING, min(value, _LARGEST)) for value in values))


def _layout(entries: str, prefix: str, first: int = 0) -> list[dict[str, object]]:
    """Return one description per field from `id:name:n|c|t` words; `first` is the position of the first one."""
    kinds = {"c": "ConvNumber", "n": "Number", "t": "timestamp"}
    described: list[dict[str, object]] = []
    for index, entry in enumerate(entries.split(), first):
        number, name, kind = entry.split(":")
        described.append(
            {
                "fid": f"{prefix}{number}", "type": prefix, "details": name, "index": index, "fld": name,
                "dataType": kinds[kind],
            }
        )  # fmt: skip
    return described


_SCRIP = _layout(
    "105:ltp:c 104:v:n 103:ltt:t 102:fdtm:t 111:bq:n 112:bs:n 109:bp:c 110:sp:c 106:ltq:n 107:tbq:n 108:tsq:n 113:ap:c "
    "122:oi:n 114:lo:c 115:h:c 118:yh:c 119:yl:c 116:lcl:c 117:ucl:c 120:op:c 121:c:c",
    "s",
)
_INDEX = _layout("102:iv:c 103:ic:c 104:tvalue:t 105:highPrice:c 106:lowPrice:c 107:openingPrice:c", "i")
_DEPTH = _layout(
    "102:bp:c 103:bp1:c 104:bp2:c 105:bp3:c 106:bp4:c 107:sp:c 108:sp1:c 109:sp2:c 110:sp3:c 111:sp4:c "
    "112:bq:n 113:bq1:n 114:bq2:n 115:bq3:n 116:bq4:n 117:bs:n 118:bs1:n 119:bs2:n 120:bs3:n 121:bs4:n "
    "122:bno1:n 123:bno2:n 124:bno3:n 125:bno4:n 126:bno5:n 127:sno1:n 128:sno2:n 129:sno3:n 130:sno4:n 131:sno5:n",
    "d",
)
# The Node SDK computes these values itself. It appends them to the lists below and exits when one is not described.
_DERIVED = (
    *_layout("101:cng:c 102:nc:n 103:to:c", "f", first=len(_SCRIP)),
    *_layout("104:cng:c 105:nc:n", "f", first=len(_INDEX)),
)
STREAM_CONFIG = orjson.dumps(
    {
        "fields": [*_SCRIP, *_INDEX, *_DEPTH, *_DERIVED],
        "scrip": [field["fid"] for field in _SCRIP],
        "index": [field["fid"] for field in _INDEX],
        "depth": [field["fid"] for field in _DEPTH],
        "scrip_lite": {"hfid": 1},
        "index_lite": {"hfid": 1},
    }
)
"""Order and kind of every streamed value."""
