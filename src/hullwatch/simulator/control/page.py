"""The page at `/` and `/simulator`, which lists the control calls."""

from functools import cache
from html import escape

import orjson

from hullwatch.simulator.control.call import ControlCall
from hullwatch.simulator.control.table import CALLS

_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Fyers simulator</title>
<style>body{font:1rem/1.5 sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}code{font-size:.9em}
li{margin:.4rem 0}</style></head><body>
<h1>Fyers simulator</h1>
<p>A stand-in for Fyers API v3: <code>/api/v3</code>, <code>/data</code>, <code>/hsm/v1-5/prod</code>,
<code>/sym_details</code>. The app <code>HULLWATCH-100</code> has the secret <code>simulator</code>.
The control calls below need no login. <a href="/simulator/openapi.json">Their OpenAPI document</a>.</p>
<ul>
"""


@cache
def page() -> bytes:
    """Return the page as HTML."""
    return (_HEAD + "\n".join(map(_item, CALLS)) + "\n</ul></body></html>\n").encode()


def _item(call: ControlCall) -> str:
    examples = "".join(
        f"<br><code>{escape(orjson.dumps(example).decode())}</code>" for example in call.examples if example
    )
    return f"<li><code>{call.method} {escape(call.path)}</code> {escape(call.summary)}{examples}</li>"
