"""``POST /v1/chat/completions``: the hot route, plain ASGI. Authenticate, read, check, decide, carry, answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from gateway.context import RequestContext
from gateway.disconnect import WHOLE, ClientWatch, Receive
from gateway.http.auth import authenticate, require_client
from gateway.http.body import ClientGone, check_headers, read_body
from gateway.http.errors import ApiError
from gateway.http.headers import new_request_id, read_hints, request_id
from gateway.http.unknown import wrong_method
from gateway.http.wire import parse_chat
from gateway.idempotency import key_of
from gateway.keys import Principal
from gateway.pipeline import serve
from gateway.prepare import prepare
from gateway.reply import Reply
from gateway.services import Services
from gateway.stages import Stages, Steps, alone

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Scope = MutableMapping[str, Any]

_log = logging.getLogger("gateway.http")
_JSON: Final = (b"content-type", b"application/json")
_SSE: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class ChatEndpoint:
    """The ASGI application behind the hot route."""

    def __init__(self, services: Services) -> None:
        """Keep the worker's parts."""
        self._services = services
        self._stages = Stages()
        self.tasks: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises but for a client that left."""
        services = self._services
        started = services.steady()
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        name = request_id(headers) or new_request_id()
        task = asyncio.current_task()
        assert task is not None, "a server answers each request in a task"  # noqa: S101 - narrows the type
        self.tasks.add(task)
        try:
            check_method(scope)
            principal = require_client(authenticate(headers, services.keys, open_host=services.settings.allow_open))
            await services.admission.enter(principal.key_id)
            try:
                await self._answer(scope, receive, send, task, principal, name, started)
            finally:
                services.admission.leave(principal.key_id)
        except ApiError as exc:
            await send_error(send, exc, name, services.steady() - started)
        except ClientGone:
            return
        finally:
            self.tasks.discard(task)

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        task: asyncio.Task[Any],
        principal: Principal,
        name: str,
        started: float,
    ) -> None:
        services = self._services
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        limits = services.config.current.policy.limits
        check_headers(headers, limits)
        raw = await read_body(receive, limits, whole=WHOLE in (scope.get("extensions") or ()))
        watch = ClientWatch(scope, receive, task)
        watch.start()

        async def work(to_client: Send) -> None:
            steps = self._prepare(raw, headers, principal, name, started)
            ctx = await self._stages.run(steps) if len(self.tasks) > 1 else alone(steps)
            await self._send(await serve(services, ctx), to_client)

        try:
            await services.idempotency.run(principal.key_id, key_of(headers), raw, send, work)
        except asyncio.CancelledError:
            if watch.gone:
                return  # recorded as 499 where the work was cancelled; nobody is there to be told
            if services.admission.expelled:
                raise ApiError(503, "the gateway is shutting down", "draining", retry_after_s=1.0) from None
            raise
        except ApiError:
            raise
        except Exception as exc:
            _log.exception("request %s failed inside the gateway", name)
            raise ApiError(500, "the gateway failed; see its log", "internal_error") from exc
        finally:
            watch.stop()

    def _prepare(
        self, raw: bytes, headers: list[tuple[bytes, bytes]], principal: Principal, name: str, started: float
    ) -> Steps[RequestContext]:
        services = self._services
        chat = parse_chat(raw, services.config.current.policy.limits)
        cache_key = chat.body.get("prompt_cache_key")
        hints = read_hints(headers, chat.own, principal.default_hints, principal.default_policy, cache_key)
        return (yield from prepare(services, chat, hints, principal, name, started))

    async def _send(self, reply: Reply, send: Send) -> None:
        head = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in reply.headers.items()]
        if reply.stream is None:
            head += [_JSON, (b"content-length", str(len(reply.body)).encode())]
            try:
                await send({"type": "http.response.start", "status": reply.status, "headers": head})
                await send({"type": "http.response.body", "body": reply.body})
                if len(self.tasks) > 1:
                    await asyncio.sleep(0)  # a stage: first the answers of this turn, then what comes after them
            finally:
                if reply.after is not None:
                    reply.after()
            return
        try:
            # The first event is there already; fetched before the headers so that the stream's own ending always runs.
            first = await anext(reply.stream)
            await send({"type": "http.response.start", "status": reply.status, "headers": [*head, *_SSE]})
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for event in reply.stream:
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await reply.stream.aclose()


def check_method(scope: Scope) -> None:
    """Refuse everything but POST; raises ApiError 405."""
    if scope["method"] != "POST":
        raise wrong_method(scope["method"], scope["path"], "POST")


async def send_error(send: Send, error: ApiError, name: str, elapsed_s: float) -> None:
    """Send an error in OpenAI's shape."""
    body = error.render()
    headers = {"x-request-id": name, "x-router-overhead-ms": f"{elapsed_s * 1000.0:.2f}", **error.all_headers()}
    head = [(key.encode("latin-1"), value.encode("latin-1", "replace")) for key, value in headers.items()]
    head += [_JSON, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": head})
    await send({"type": "http.response.body", "body": body})
