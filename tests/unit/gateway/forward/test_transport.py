"""Connections: what is never sent, what is never followed, how fast a socket closes, who is trusted."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.forward.forwarder import HttpForwarder
from gateway.forward.wires import chat_url
from router_core.deployment import Provider
from router_core.errors import ConfigError
from router_core.outcome import FailureKind as K
from router_core.ports import Stream
from tests.fakes.provider import FakeProvider
from tests.unit.gateway.forward.calls import HELLO, answer, call_to, failure, forwarder

pytestmark = pytest.mark.anyio


@pytest.fixture
async def made() -> AsyncIterator[HttpForwarder]:
    async with forwarder() as one:
        yield one


async def test_no_redirect_is_followed_with_a_key(made: HttpForwarder) -> None:
    async with FakeProvider("openai") as there, FakeProvider("openai") as here:
        here.fail("redirect", location=there.base_url + "/chat/completions", status=307)
        found, _ = await failure(made, call_to(here.base_url))
        assert (found.kind, found.redirect, there.requests) == (K.PROTOCOL, True, [])


async def test_no_cookie_is_kept(made: HttpForwarder) -> None:
    async with FakeProvider("openai") as fake:
        fake.fail("leak_headers")
        await answer(made, call_to(fake.base_url))
        await answer(made, call_to(fake.base_url))
        assert "cookie" not in fake.requests[-1].headers


async def test_sockets_close_within_a_tenth_of_a_second(made: HttpForwarder) -> None:
    waits = []
    async with FakeProvider("openai") as fake:
        for _ in range(20):
            fake.fail("hang_after", seconds=60, after=1)
            stream = await made.send(call_to(fake.base_url, stream=True))
            assert isinstance(stream, Stream)
            async for event in stream:
                if event.chunk:
                    break
            left = time.monotonic()
            await stream.aclose()
            async with asyncio.timeout(60.0):
                while fake.active:  # noqa: ASYNC110 - the provider is its own program
                    await asyncio.sleep(0.002)
            waits.append((fake.requests[-1].closed_at or 0.0) - left)
    assert sorted(waits)[len(waits) // 2] < 0.1


async def test_a_deadline_around_a_call_closes_its_socket(made: HttpForwarder) -> None:
    async with FakeProvider("openai") as fake:
        fake.fail("headers_then_nothing", seconds=60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await made.send(call_to(fake.base_url))
        async with asyncio.timeout(60.0):
            while fake.active:  # noqa: ASYNC110 - the provider is its own program
                await asyncio.sleep(0.005)


async def _tls_server(folder: Path) -> tuple[asyncio.Server, int, str]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(  # noqa: ASYNC221 - a test's own certificate, made once
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    return server, server.sockets[0].getsockname()[1], str(certificate)


async def test_certificates_are_checked_and_a_private_authority_can_be_trusted(tmp_path: Path) -> None:
    server, port, certificate = await _tls_server(tmp_path)
    base = f"https://127.0.0.1:{port}/v1"
    async with server:
        async with forwarder() as wary:
            found, _ = await failure(wary, call_to(base))
            assert (found.kind, found.sent) == (K.CONNECT, False)
        async with forwarder(ca_file=certificate) as trusting:
            got = await answer(trusting, call_to(base))
            assert got.body["choices"][0]["message"]["content"] == "hi"


async def test_tls_is_not_spoken_to_a_plain_port(made: HttpForwarder) -> None:
    async with FakeProvider("openai") as fake:
        found, _ = await failure(made, call_to(fake.base_url.replace("http:", "https:")))
        assert (found.kind, found.sent) == (K.CONNECT, False)
        assert fake.requests == []


async def test_a_silent_connect_ends_at_its_own_limit(made: HttpForwarder) -> None:
    """Nobody accepts: the backlog of a listening socket is full."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            async with asyncio.timeout(60.0):
                found, _ = await failure(made, call_to(f"http://127.0.0.1:{port}/v1", connect_s=0.2))
        finally:
            for filler in fillers:
                filler.close()
    assert (found.kind, found.sent) == (K.CONNECT, False)


def test_azures_address_in_its_forms() -> None:
    def where(base: str, **options: str) -> str:
        call = call_to(base, "azure", model="my deployment", options=options)
        return str(chat_url(call.provider, call.deployment))

    path = "openai/deployments/my%20deployment/chat/completions"
    assert where("https://x.azure.com/") == f"https://x.azure.com/{path}?api-version=2024-10-21"
    assert where("https://x.azure.com/openai", api_version="v9") == f"https://x.azure.com/{path}?api-version=v9"
    assert where("https://x.azure.com/openai/v1") == "https://x.azure.com/openai/v1/chat/completions"


def test_a_provider_without_an_address_is_a_config_fault() -> None:
    call = call_to(None, "hosted_vllm")
    with pytest.raises(ConfigError, match="needs a base_url"):
        chat_url(call.provider, call.deployment)
    own = Provider(id="o", wire="openai")
    assert str(chat_url(own, call.deployment)) == "https://api.openai.com/v1/chat/completions"


def test_relaying_never_imports_litellm() -> None:
    code = (
        "import asyncio, sys\n"
        "from tests.fakes.provider import FakeProvider\n"
        "from tests.unit.gateway.forward.calls import answer, call_to, forwarder\n"
        "async def main():\n"
        "    async with FakeProvider('openai') as fake, forwarder() as made:\n"
        "        await answer(made, call_to(fake.base_url))\n"
        "asyncio.run(main())\n"
        "assert 'litellm' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=180)


async def test_a_translated_call_before_warming_waits_for_the_import_alone(made: HttpForwarder) -> None:
    async with FakeProvider("anthropic") as fake:
        got = await answer(made, call_to(fake.base_url, "anthropic", {"messages": HELLO}))
        assert got.body["choices"]
        assert not made.litellm_ready
