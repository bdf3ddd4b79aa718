"""Addresses in messages: a provider may fetch public ones; none may reach inside a network, however it is spelled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.edge import Edge, assert_refused

pytestmark = pytest.mark.anyio


def part(**fields: Any) -> list[Any]:
    return [{"role": "user", "content": [fields]}]


PUBLIC = [
    "https://example.com/a.png",
    "http://8.8.8.8/a.png",
    "https://[2606:4700:4700::1111]/a.png",
    "https://cdn.example.com:8443/a b.png".replace(" ", "%20"),
    "data:image/png;base64,AAAA",
    "https://xn--bcher-kva.example/a.png",
]
INSIDE = [
    "http://localhost/a.png",
    "http://LOCALHOST:8080/",
    "http://localhost./",
    "http://foo.localhost/",
    "http://127.0.0.1/",
    "http://127.0.0.1:8080/admin",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://127.0.0.0x1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.100.100.200/latest/meta-data",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254./",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fd00::1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[ff02::1]/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://metadata/",
    "http://printer.local/",
    "http://nas." + "lan/",
    "http://router.home.arpa/",
    "http://host.docker.internal/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://ｌocalhost/",
    "http://%6c%6fcalhost/",
    "http://%31%32%37.0.0.1/",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "file:/etc/passwd",
    "ftp://example.com/a.png",
    "gopher://127.0.0.1:6379/_x",
    "jar:http://example.com!/",
    "javascript:alert(1)",
    "//127.0.0.1/a.png",
    "/etc/passwd",
    "127.0.0.1",
    "http:/127.0.0.1/",
    "http:127.0.0.1",
    "http:\\\\127.0.0.1\\",
    "http://127.0.0.1\\.example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://user:password@example.com/",
    "http://example.com@127.0.0.1/",
    "http://@127.0.0.1/",
    " http://127.0.0.1/",
    "http://127.0.0.1\t/",
    "ht\ntp://127.0.0.1/",
    "http://exa mple.com/",
    "http://example.com:99999/",
    "http://",
    "http://./",
    "http://[::1/",
    "https://" + "a" * 10_000 + ".example.com/",
]


@pytest.mark.parametrize("url", PUBLIC)
async def test_a_public_address_goes_to_the_provider_as_it_is(edge: Edge, url: str):
    seen = await edge.chat(messages=part(type="image_url", image_url={"url": url}))
    assert seen.status == 200, seen.body
    (call,) = edge.calls
    assert call.body["messages"][0]["content"][0]["image_url"]["url"] == url


async def test_an_address_inside_is_refused_in_every_spelling(edge: Edge):
    for url in INSIDE:
        for image in ({"url": url}, url):
            seen = await edge.chat(messages=part(type="image_url", image_url=image))
            error = assert_refused(seen, 400, "forbidden_url", "messages[0].content[0].image_url.url")
            assert "password" not in error["message"]
    assert edge.calls == []


PLACES = [
    {"type": "file", "file": {"file_data": "http://169.254.169.254/"}},
    {"type": "file", "file": {"file_url": "file:///etc/passwd"}},
    {"type": "input_file", "file_url": "http://127.0.0.1/"},
    {"type": "input_image", "image_url": "http://127.0.0.1/"},
    {"type": "video_url", "video_url": {"url": "http://[::1]/"}},
    {"type": "audio_url", "audio_url": {"url": "http://10.0.0.1/"}},
    {"type": "input_audio", "input_audio": {"data": "http://127.0.0.1/", "format": "wav"}},
    {"type": "document_url", "document_url": "http://localhost/"},
    {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1/"}},
    {"type": "document", "source": {"content": [{"source": {"url": "gopher://127.0.0.1/"}}]}},
    {"type": "something_new", "a": {"b": [{"c": ["http:\\\\127.0.0.1"]}]}},
]


@pytest.mark.parametrize("place", PLACES, ids=json.dumps)
async def test_an_address_inside_is_refused_wherever_a_part_has_it(edge: Edge, place: dict[str, Any]):
    seen = await edge.chat(messages=[{"role": "user", "content": [{"type": "text", "text": "look"}, place]}])
    error = assert_refused(seen, 400, "forbidden_url")
    assert error["param"].startswith("messages[0].content[1].")
    assert edge.calls == []


async def test_an_address_in_plain_text_is_text(edge: Edge):
    text = "curl http://127.0.0.1:8080/ and file:///etc/hosts"
    seen = await edge.chat(messages=[{"role": "user", "content": [{"type": "text", "text": text}]}])
    assert seen.status == 200, seen.body
