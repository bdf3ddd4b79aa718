"""The relay lane: bytes through untouched, whatever goes wrong named once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gateway.forward.forwarder import HttpForwarder
from router_core.outcome import FailureKind as K
from router_core.ports import Stream
from tests.fakes.provider import FakeProvider
from tests.unit.gateway.forward.calls import KEY, answer, call_to, events, failure, forwarder, text_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider("openai") as made:
        yield made


@pytest.fixture
async def made() -> AsyncIterator[HttpForwarder]:
    async with forwarder() as one:
        yield one


def sent(fake: FakeProvider) -> dict[str, Any]:
    body = fake.requests[-1].body
    return orjson.loads(body) if isinstance(body, bytes) else dict(body)


async def test_the_body_goes_through_with_only_the_model_changed(fake: FakeProvider, made: HttpForwarder) -> None:
    extra = {"verbosity": "low", "user": "u1", "metadata": {"a": "b"}, "x_unknown": [1, {"y": None}], "thinking": {}}
    got = await answer(made, call_to(fake.base_url, body=extra))
    assert sent(fake) == {"model": "m-1", "messages": [{"role": "user", "content": "Say hello to the world"}], **extra}
    assert got.raw is not None
    assert orjson.loads(got.raw) == got.body
    assert got.body["choices"][0]["message"]["content"]
    assert fake.requests[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_overrides_replace_and_remove(fake: FakeProvider, made: HttpForwarder) -> None:
    call = call_to(fake.base_url, body={"user": "u", "max_tokens": 900}, overrides={"max_tokens": 5, "user": None})
    await answer(made, call)
    body = sent(fake)
    assert body["max_tokens"] == 5
    assert "user" not in body
    assert call.body["max_tokens"] == 900


async def test_a_stream_is_relayed_byte_for_byte_and_asks_for_its_usage(
    fake: FakeProvider, made: HttpForwarder
) -> None:
    got = await events(made, call_to(fake.base_url, stream=True))
    assert sent(fake)["stream_options"] == {"include_usage": True}
    assert got[-1].done
    chunks = [event for event in got if event.chunk]
    assert all(event.raw is not None and orjson.loads(event.raw) == event.chunk for event in chunks)
    assert text_of(got)
    assert chunks[-1].chunk is not None
    assert chunks[-1].chunk["usage"]["prompt_tokens"] > 0


async def test_stream_options_of_the_client_are_kept_and_can_be_overridden(
    fake: FakeProvider, made: HttpForwarder
) -> None:
    await events(made, call_to(fake.base_url, body={"stream_options": {"x": 1}}, stream=True))
    assert sent(fake)["stream_options"] == {"x": 1, "include_usage": True}
    await events(made, call_to(fake.base_url, stream=True, overrides={"stream_options": None}))
    assert "stream_options" not in sent(fake)


async def test_a_call_without_a_stream_sends_none(fake: FakeProvider, made: HttpForwarder) -> None:
    await answer(made, call_to(fake.base_url, body={"stream": True, "stream_options": {"include_usage": True}}))
    assert not {"stream", "stream_options"} & set(sent(fake))


async def test_azure_has_its_own_path_and_header(fake: FakeProvider, made: HttpForwarder) -> None:
    call = call_to(fake.origin, "azure", model="my deployment", options={"api_version": "2025-01-01"})
    await answer(made, call)
    request = fake.requests[-1]
    assert request.path.replace("%20", " ") == "/openai/deployments/my deployment/chat/completions"
    assert request.query == "api-version=2025-01-01"
    assert request.headers["api-key"] == KEY
    assert "authorization" not in request.headers


STATUS_ROWS = [
    ("bad_request", K.INVALID_REQUEST, 400),
    ("auth", K.AUTH, 401),
    ("billing", K.BILLING, 402),
    ("permission", K.AUTH, 403),
    ("model_not_found", K.NOT_FOUND, 404),
    ("request_timeout", K.TIMEOUT, 408),
    ("conflict", K.CONFLICT, 409),
    ("too_large", K.INVALID_REQUEST, 413),
    ("unprocessable", K.INVALID_REQUEST, 422),
    ("rate_limit", K.RATE_LIMITED, 429),
    ("insufficient_quota", K.BILLING, 429),
    ("server_error", K.SERVER, 500),
    ("bad_gateway", K.SERVER, 502),
    ("unavailable", K.SERVER, 503),
    ("gateway_timeout", K.TIMEOUT, 504),
    ("overloaded", K.OVERLOADED, 529),
    ("context_length_exceeded", K.CONTEXT_OVERFLOW, 400),
    ("content_filter", K.CONTENT_FILTER, 400),
    ("content_policy_violation", K.CONTENT_FILTER, 400),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "kind", "status"), STATUS_ROWS)
async def test_a_refusal_has_its_kind(
    fake: FakeProvider, made: HttpForwarder, fault: str, kind: K, status: int, stream: bool
) -> None:
    fake.fail(fault)
    found, got = await failure(made, call_to(fake.base_url, stream=stream))
    assert (found.kind, found.status, got) == (kind, status, [])
    assert found.gateway is (status in {502, 503, 504})
    assert found.message
    assert len(fake.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("html", K.SERVER),
        ("redirect", K.PROTOCOL),
        ("not_http", K.PROTOCOL),
        ("error_object_200", K.PROTOCOL),
        ("empty_body", K.PROTOCOL),
        ("reset", K.CONNECT),
        ("close", K.CONNECT),
    ],
)
async def test_nonsense_has_its_kind(
    fake: FakeProvider, made: HttpForwarder, fault: str, kind: K, stream: bool
) -> None:
    fake.fail(fault)
    found, _ = await failure(made, call_to(fake.base_url, stream=stream))
    assert found.kind is kind
    assert found.redirect is (fault == "redirect")
    assert len(fake.requests) == 1


async def test_html_that_says_200_is_nonsense(fake: FakeProvider, made: HttpForwarder) -> None:
    for stream in (False, True):
        fake.fail("html", status=200)
        found, _ = await failure(made, call_to(fake.base_url, stream=stream))
        assert found.kind is K.PROTOCOL


@pytest.mark.parametrize(
    ("fault", "empty"), [("truncated_json", False), ("short_body", False), ("empty_choices", True)]
)
async def test_broken_bodies_are_protocol_failures(
    fake: FakeProvider, made: HttpForwarder, fault: str, empty: bool
) -> None:
    fake.fail(fault)
    found, _ = await failure(made, call_to(fake.base_url))
    assert (found.kind, found.empty) == (K.PROTOCOL, empty)


async def test_a_gzip_bomb_is_refused(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("gzip_bomb", size=8_000_000)
    found, _ = await failure(made, call_to(fake.base_url, body_bytes=1_000_000))
    assert found.kind is K.PROTOCOL


async def test_a_wrong_content_type_is_forgiven(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("wrong_content_type")
    assert (await answer(made, call_to(fake.base_url))).body["choices"]
    fake.fail("wrong_content_type")
    got = await events(made, call_to(fake.base_url, stream=True))
    assert got[-1].done
    assert text_of(got)


async def test_a_json_answer_to_a_stream_becomes_one_chunk(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("json_to_stream")
    got = await events(made, call_to(fake.base_url, stream=True))
    assert got[-1].done
    assert text_of(got)
    reasons = [c["finish_reason"] for e in got if e.chunk for c in e.chunk["choices"] if c["finish_reason"]]
    assert reasons == ["stop"]
    assert any(event.chunk and event.chunk.get("usage") for event in got)


@pytest.mark.parametrize("fault", ["reset_after", "cut_after"])
async def test_a_stream_that_is_cut_breaks_after_what_came(fake: FakeProvider, made: HttpForwarder, fault: str) -> None:
    fake.fail(fault, after=3)
    found, got = await failure(made, call_to(fake.base_url, stream=True))
    assert found.kind is K.STREAM_BROKEN
    assert text_of(got)


async def test_a_clean_end_without_finish_reason_does_not_look_finished(
    fake: FakeProvider, made: HttpForwarder
) -> None:
    fake.fail("clean_end_after", after=2)
    got = await events(made, call_to(fake.base_url, stream=True))
    assert not any(event.done for event in got)
    assert not any(c["finish_reason"] for e in got if e.chunk for c in e.chunk["choices"])


@pytest.mark.parametrize(("fault", "before"), [("error_event_first", False), ("error_event_after", True)])
async def test_an_error_event_is_raised_after_what_came_before_it(
    fake: FakeProvider, made: HttpForwarder, fault: str, before: bool
) -> None:
    fake.fail(fault, after=2)
    found, got = await failure(made, call_to(fake.base_url, stream=True))
    assert found.kind in {K.SERVER, K.OVERLOADED}
    assert bool(text_of(got)) is before


async def test_one_malformed_event_is_marked_and_the_rest_goes_on(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("malformed_event", after=2)
    got = await events(made, call_to(fake.base_url, stream=True))
    assert [event.malformed for event in got].count(True) == 1
    assert got[-1].done


async def test_bytes_that_are_no_utf8_become_replacement_characters(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("invalid_utf8")
    got = await events(made, call_to(fake.base_url, stream=True))
    assert "\ufffd" in text_of(got)
    assert any(event.chunk and event.raw is None for event in got)
    fake.fail("invalid_utf8")
    whole = await answer(made, call_to(fake.base_url))
    assert whole.raw is None
    assert "\ufffd" in whole.body["choices"][0]["message"]["content"]


async def test_a_huge_event_is_passed_on_up_to_the_limit(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("huge_event", times=None, size=3_000_000)
    assert len(text_of(await events(made, call_to(fake.base_url, stream=True)))) >= 3_000_000
    found, _ = await failure(made, call_to(fake.base_url, stream=True, event_bytes=1_000_000))
    assert found.kind is K.STREAM_BROKEN
    fake.reset()


async def test_a_closed_port_is_not_reached(made: HttpForwarder) -> None:
    async with FakeProvider("openai") as fake:
        base = fake.base_url
    found, _ = await failure(made, call_to(base))
    assert (found.kind, found.sent, found.status) == (K.CONNECT, False, None)
    assert "127.0.0.1" not in found.message


async def test_a_name_that_does_not_resolve(made: HttpForwarder) -> None:
    found, _ = await failure(made, call_to("http://no-such-host.invalid/v1"))
    assert (found.kind, found.sent) == (K.CONNECT, False)
    assert "invalid" not in found.message


async def test_a_missing_key_calls_nobody(fake: FakeProvider) -> None:
    lonely = HttpForwarder(secrets=lambda name: None)
    found, _ = await failure(lonely, call_to(fake.base_url))
    assert (found.kind, found.sent, fake.requests) == (K.AUTH, False, [])


async def test_a_connection_the_provider_closed_meanwhile_is_replaced_once(made: HttpForwarder) -> None:
    """The provider restarts between two calls: the kept connection is dead, the second call does not notice."""
    async with FakeProvider("openai") as fake:
        await answer(made, call_to(fake.base_url))
        await fake.stop()
        await fake.start()
        assert (await answer(made, call_to(fake.base_url))).body["choices"]


async def test_retry_after_is_read(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("rate_limit", retry_after=7)
    found, _ = await failure(made, call_to(fake.base_url))
    assert found.retry_after_s == 7.0


async def test_a_refused_parameter_of_ours_is_named(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("reject_param", times=None, param="stream_options")
    found, _ = await failure(made, call_to(fake.base_url, stream=True))
    assert (found.kind, found.ours) == (K.INVALID_REQUEST, "stream_options")
    call = call_to(fake.base_url, body={"stream_options": {"include_usage": True}}, stream=True)
    found, _ = await failure(made, call)
    assert found.ours is None


async def wait_active(fake: FakeProvider, *, active: bool) -> None:
    async with asyncio.timeout(60.0):
        while bool(fake.active) is not active:  # noqa: ASYNC110 - the provider is its own program
            await asyncio.sleep(0.005)


async def test_cancelling_before_the_first_byte_closes_the_socket(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("hang", seconds=60)
    task = asyncio.create_task(made.send(call_to(fake.base_url)))
    await wait_active(fake, active=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_active(fake, active=False)


@pytest.mark.parametrize("fault", ["hang_after", "headers_then_nothing", "slow_drip"])
async def test_closing_a_stream_closes_the_socket(fake: FakeProvider, made: HttpForwarder, fault: str) -> None:
    fake.fail(fault, seconds=60)
    stream = await made.send(call_to(fake.base_url, stream=True))
    assert isinstance(stream, Stream)

    async def read() -> None:
        async for _ in stream:
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0.05)
    assert fake.active
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await stream.aclose()
    await stream.aclose()
    await wait_active(fake, active=False)


async def kept(made: HttpForwarder) -> None:
    """Wait until a connection stands ready for the next call."""
    client = made._transport._client
    assert client is not None
    async with asyncio.timeout(60.0):
        while not any(client._idle.values()):  # noqa: ASYNC110 - it is told to nobody
            await asyncio.sleep(0.005)


async def test_a_finished_stream_keeps_its_connection(fake: FakeProvider, made: HttpForwarder) -> None:
    for _ in range(3):
        stream = await made.send(call_to(fake.base_url, stream=True))
        assert isinstance(stream, Stream)
        async for event in stream:
            if event.done:
                break
        await stream.aclose()
        await kept(made)
    assert len({request.connection for request in fake.requests}) == 1
