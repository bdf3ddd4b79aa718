"""The control calls over HTTP, and what is recorded about the calls and their clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gateway.demo.records import KEEP_BYTES, Recorded, Recorder
from tests.fakes.provider import FakeProvider
from tests.fakes.sockets import dead_port, full_backlog, raw_server, tls_bad_cert

pytestmark = pytest.mark.anyio

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider("openai", name="p1") as fake:
        yield fake


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


async def control(session: aiohttp.ClientSession, fake: FakeProvider, method: str, what: str, body: Any = None):
    async with session.request(method, f"{fake.origin}/_control/{what}", json=body) as response:
        return response.status, await response.json()


async def chat(session: aiohttp.ClientSession, fake: FakeProvider, **more: Any) -> tuple[int, bytes]:
    async with session.post(fake.base_url + "/chat/completions", json=CHAT | more) as response:
        return response.status, await response.read()


async def test_faults_are_set_shown_and_forgotten(session: aiohttp.ClientSession, provider: FakeProvider):
    rules = [{"kind": "status", "status": 500, "times": 2}, {"kind": "rate_limit", "times": None}]
    assert (await control(session, provider, "POST", "faults", rules))[0] == 200
    assert (await chat(session, provider))[0] == 500
    _, rows = await control(session, provider, "GET", "faults")
    assert [(row["kind"], row["left"]) for row in rows] == [("status", 1), ("rate_limit", None)]
    await control(session, provider, "DELETE", "faults")
    assert (await chat(session, provider))[0] == 200


async def test_one_bad_rule_means_none_is_taken(session: aiohttp.ClientSession, provider: FakeProvider):
    status, answer = await control(session, provider, "POST", "faults", [{"kind": "hang"}, {"kind": "nonsense"}])
    assert status == 400
    assert "nonsense" in answer["error"]
    assert (await control(session, provider, "GET", "faults"))[1] == []


async def test_answers_are_fixed_and_set_free(session: aiohttp.ClientSession, provider: FakeProvider):
    await control(session, provider, "POST", "answer", {"text": "fixed words"})
    assert b"fixed words" in (await chat(session, provider))[1]
    status, answer = await control(session, provider, "POST", "answer", {"txt": "x"})
    assert (status, "txt" in answer["error"]) == (400, True)
    await control(session, provider, "DELETE", "answer")
    assert b"demo answer" in (await chat(session, provider))[1]


@pytest.mark.parametrize("bad", [{"delay_s": -1}, {"chunks": 0}, {"usage": {"tokens": 1}}])
async def test_answers_out_of_range_are_refused(session: aiohttp.ClientSession, provider: FakeProvider, bad: Any):
    assert (await control(session, provider, "POST", "answer", bad))[0] == 400


async def test_calls_are_recorded_and_forgotten(session: aiohttp.ClientSession, provider: FakeProvider):
    before = time.monotonic()
    await chat(session, provider, temperature=0.5)
    await chat(session, provider)
    _, rows = await control(session, provider, "GET", "requests")
    first, second = rows
    assert (first["method"], first["path"], first["body"]["temperature"]) == ("POST", "/v1/chat/completions", 0.5)
    assert first["headers"]["content-type"] == "application/json"
    assert before <= first["started_at"] <= first["first_byte_at"] <= first["closed_at"] <= second["started_at"]
    assert first["connection"] == second["connection"] > 0
    assert not first["client_closed"]
    await control(session, provider, "DELETE", "requests")
    assert (await control(session, provider, "GET", "requests"))[1] == []
    _, state = await control(session, provider, "GET", "state")
    assert state == {"name": "p1", "wire": "openai", "models": [], "total": 2, "active": 0}


async def test_recording_can_be_off_and_reset_turns_it_on(session: aiohttp.ClientSession, provider: FakeProvider):
    await control(session, provider, "POST", "requests", {"enabled": False})
    await control(session, provider, "POST", "faults", {"kind": "auth"})
    assert (await chat(session, provider))[0] == 401
    assert provider.requests == []
    await control(session, provider, "POST", "reset")
    assert (await chat(session, provider))[0] == 200
    assert len(provider.requests) == 1


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
async def test_web_pages_cannot_control(
    session: aiohttp.ClientSession, provider: FakeProvider, headers: dict[str, str]
):
    for method in ("GET", "POST"):
        async with session.request(method, f"{provider.origin}/_control/requests", headers=headers) as response:
            assert response.status == 403


def test_records_are_bounded_in_bytes():
    recorder = Recorder()
    for number in range(100):
        recorder.add(Recorded("POST", "/", {}, {}, number), size=1 << 20)
    assert len(recorder.rows) <= KEEP_BYTES >> 20
    assert recorder.rows[-1].connection == 99


async def test_unknown_calls_are_404(session: aiohttp.ClientSession, provider: FakeProvider):
    assert (await control(session, provider, "POST", "nothing"))[0] == 404
    async with session.get(provider.origin + "/elsewhere") as response:
        assert response.status == 404
        assert "error" in await response.json()


async def test_a_body_that_is_no_json_is_refused_in_the_vendors_shape(
    session: aiohttp.ClientSession, provider: FakeProvider
):
    async with session.post(provider.base_url + "/chat/completions", data=b'{"model": "m"') as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_a_client_that_leaves_a_stream_is_noticed_at_once(provider: FakeProvider):
    provider.answer("word " * 1000, delay_s=0.1)
    async with aiohttp.ClientSession() as session:
        response = await session.post(provider.base_url + "/chat/completions", json={**CHAT, "stream": True})
        await response.content.readany()
        response.close()
        left = time.monotonic()
    async with asyncio.timeout(60):
        while provider.requests[0].closed_at is None:  # noqa: ASYNC110 - it is told to nobody
            await asyncio.sleep(0.002)
    record = provider.requests[0]
    assert record.client_closed
    assert record.closed_at is not None
    assert record.closed_at - left < 30
    assert provider.active == 0


async def test_tokens_are_paced_and_the_first_one_waits(session: aiohttp.ClientSession, provider: FakeProvider):
    provider.answer("a b c d e", delay_s=0.02, first_delay_s=0.1)
    for stream in (True, False):
        started = time.monotonic()
        await chat(session, provider, stream=stream)
        assert time.monotonic() - started >= 0.1 + 4 * 0.02


async def test_a_stopped_provider_refuses_and_comes_back_on_its_port(session: aiohttp.ClientSession):
    fake = FakeProvider("openai")
    await fake.start()
    port = fake.port
    await fake.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await chat(session, fake)
    await fake.start()
    assert (fake.port, (await chat(session, fake))[0]) == (port, 200)
    await fake.stop()


async def test_a_dead_port_refuses_and_a_silent_one_never_answers(session: aiohttp.ClientSession):
    with pytest.raises(aiohttp.ClientConnectorError):
        await session.get(f"http://127.0.0.1:{dead_port()}/")
    async with raw_server(None) as port:
        with pytest.raises(TimeoutError):
            await session.get(f"http://127.0.0.1:{port}/", timeout=aiohttp.ClientTimeout(total=0.2))
    async with raw_server(b"220 mail.example ESMTP\r\n") as port:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://127.0.0.1:{port}/")


async def test_a_full_backlog_lets_connections_hang(session: aiohttp.ClientSession):
    async with full_backlog() as port:
        with pytest.raises((TimeoutError, aiohttp.ServerTimeoutError)):
            await session.get(f"http://127.0.0.1:{port}/", timeout=aiohttp.ClientTimeout(connect=0.3))


async def test_a_bad_certificate_is_refused(session: aiohttp.ClientSession):
    async with tls_bad_cert() as port:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"https://127.0.0.1:{port}/")
