"""The built pages, served from a folder like that of a build."""

import gzip
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from fakes.clock import FakeClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hullwatch.web.built_pages import built_pages
from hullwatch.web.config import WebConfig
from web.web_environment import WebEnvironment, make_supervisor

SCRIPT = b"console.log('hullwatch');" * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A document, an icon, and one script with its small form."""
    (tmp_path / "index.html").write_text("<!doctype html><title>hullwatch</title>")
    (tmp_path / "icon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "index-abc.js").write_bytes(SCRIPT)
    (tmp_path / "assets" / "index-abc.js.gz").write_bytes(gzip.compress(SCRIPT))
    (tmp_path / "secret.txt").write_text("not to be served")
    return tmp_path


@pytest.fixture
async def client(folder: Path):
    """A browser in front of a web that has these pages."""
    clock = FakeClock()
    async with make_supervisor(clock) as supervisor:
        env = WebEnvironment(supervisor, clock, WebConfig(pages=folder))
        async with env.client() as client:
            yield client


async def test_the_document_is_not_cached_and_allows_nothing_inline(client: httpx2.AsyncClient):
    """The one document is asked for afresh, so that a new build is seen at once; its policy admits own files only."""
    page = await client.get("/")

    assert page.status_code == 200
    assert "<title>hullwatch</title>" in page.text
    assert page.headers["cache-control"] == "no-store"
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_files_with_a_hash_are_cached_and_compressed(client: httpx2.AsyncClient, encoding: str):
    """A browser that accepts gzip gets the compressed copy; the content is the same and is cached for good."""
    script = await client.get("/assets/index-abc.js", headers={"Accept-Encoding": encoding})

    assert script.content == SCRIPT
    assert script.headers.get("content-encoding", "identity") == encoding
    assert "immutable" in script.headers["cache-control"]
    assert "javascript" in script.headers["content-type"]
    assert script.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "path", ["/assets/../secret.txt", "/assets/%2e%2e/secret.txt", "/assets/none.js", "/assets/"]
)
async def test_nothing_beside_the_assets_is_served(client: httpx2.AsyncClient, path: str):
    """A path that leads out of the folder, or nowhere, finds nothing, and that is not kept."""
    answer = await client.get(path)

    assert answer.status_code == 404
    assert "not to be served" not in answer.text
    assert "immutable" not in answer.headers.get("cache-control", "")


async def test_a_package_without_pages_has_a_plain_home_page(env, tmp_path: Path):
    """The server runs without the built pages, and its home page names what is missing."""
    async with env.client() as client:
        page = await client.get("/")

    assert built_pages(tmp_path) is None
    assert page.status_code == 200
    assert "This build does not contain the dashboard" in page.text


@pytest.mark.parametrize(
    "path",
    [
        "%00",
        "a%00.js",
        "a" * 5000,
        "a/" * 2000,
        "%ff%fe",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "%5c..%5csecret.txt",
        "index-abc.js/x",
        "index-abc.js%0a",
        "%ed%a0%80",
        "CON",
        "",
    ],
)
async def test_no_path_is_an_error_of_the_server(client: httpx2.AsyncClient, path: str):
    """Names that no file can have are a 404 like all others."""
    answer = await client.get(f"/assets/{path}")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_path_is_answered_below_500(folder: Path, text: str):
    """On every part of the site."""
    clock = FakeClock()
    async with make_supervisor(clock) as supervisor:
        env = WebEnvironment(supervisor, clock, WebConfig(pages=folder))
        async with env.client() as client:
            for prefix in ("/", "/assets/", "/api/", "/api/hma/", "/r/"):
                answer = await client.get(prefix + quote(text, safe="/"))

                assert answer.status_code < 500


@pytest.mark.parametrize("path", ["/assets/index-abc.js", "/", "/icon.svg"])
async def test_other_methods_name_those_that_exist(client: httpx2.AsyncClient, path: str):
    """Files are only read."""
    answer = await client.request("PROPFIND", path)

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
