"""The demo provider: reads a call, composes the answer, lets a fault have its way, writes it.

It uses aiohttp's low-level server (no router, no middleware): a load generator must not wait for its own provider.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace
from typing import Any, Final

import orjson
from aiohttp import web

from gateway.demo.answer import Answer, AnswerSettings
from gateway.demo.ask import Ask, Complaint, Json, Refused
from gateway.demo.complaints import COMPLAINTS
from gateway.demo.compose import compose, prefill_of
from gateway.demo.control import PREFIX, control
from gateway.demo.faults import FaultQueue, FaultRule
from gateway.demo.misbehave import misbehave
from gateway.demo.plain import refusal, well
from gateway.demo.play import Player
from gateway.demo.profile import PROFILES, Profile
from gateway.demo.records import Recorded, Recorder
from gateway.demo.script import End, Script, Send
from gateway.demo.wire import Wire
from gateway.demo.wires import wire_named

_MAX_BODY_BYTES: Final = 256 << 20
_CACHE_FROM_TOKENS: Final = 1024
_CACHE_STEP_TOKENS: Final = 128
_CACHE_ENTRIES: Final = 1024
_BENCH_SCRIPTS: Final = 64


class DemoServer:
    """One provider on one wire.

    ``models`` are the names it serves (empty: any name); ``seed`` varies the answers. ``settings``, ``faults`` and
    ``recorder`` are what the control calls reach.
    """

    def __init__(self, wire: str, name: str = "demo", models: tuple[str, ...] = (), seed: int = 0) -> None:
        self.wire: Wire = wire_named(wire)
        self.name = name
        self.models = models
        self.seed = seed
        self.settings = AnswerSettings()
        self.faults = FaultQueue(seed)
        self.recorder = Recorder()
        self._prompts: OrderedDict[int, int] = OrderedDict()
        self._bench: dict[tuple[Any, ...], Script] = {}

    def reset(self) -> None:
        """Forget faults, settings, records and the prompt cache."""
        self.configure(AnswerSettings())
        self.faults.clear()
        self.recorder.clear()
        self.recorder.enabled = True
        self._prompts.clear()

    def configure(self, settings: AnswerSettings) -> None:
        """Fix how answers look from now on."""
        self.settings = settings
        self._bench.clear()

    def http_server(self) -> web.Server:
        """Return the aiohttp server for a runner; it cancels a handler whose client has left."""

        def request(
            message: Any,
            payload: Any,
            protocol: Any,
            writer: Any,
            task: asyncio.Task[None],
        ) -> web.BaseRequest:
            loop = asyncio.get_running_loop()
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY_BYTES)

        return web.Server(
            self.handle, request_factory=request, handler_cancellation=True, access_log=None, auto_decompress=True
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        path = request.path
        if path.startswith(PREFIX):
            return await control(self, request)
        raw = await request.read()
        if self.settings.bench and not self.recorder.enabled:
            self.recorder.total += 1
            return await self._bench_answer(request, orjson.loads(raw))
        return await self._recorded(request, raw)

    async def _recorded(self, request: web.BaseRequest, raw: bytes) -> web.StreamResponse:
        body, problem = _parse(raw)
        headers = {key.lower(): value for key, value in request.headers.items()}
        peer = request.transport.get_extra_info("peername") if request.transport else None
        record = Recorded(request.method, request.path, headers, body, peer[1] if peer else 0, request.query_string)
        self.recorder.total += 1
        if self.recorder.enabled:
            self.recorder.add(record, len(raw))
        self.recorder.active += 1
        try:
            script, waits = self._script(request, body, problem, record)
            response = await self._send(request, script, waits, record)
        except asyncio.CancelledError:
            record.mark_closed(by_client=True)
            raise
        except ConnectionError:
            record.mark_closed(by_client=True)
            return web.Response()  # nobody is there to read it
        finally:
            record.mark_closed(by_client=False)
            self.recorder.active -= 1
        return response

    async def _send(
        self, request: web.BaseRequest, script: Script, waits: tuple[float, float], record: Recorded
    ) -> web.StreamResponse:
        quick = script.before_s == 0.0 and waits == (0.0, 0.0) and script.end is End.WHOLE and not script.raw
        if quick and len(script.steps) == 1 and script.length is not None and isinstance(script.steps[0], Send):
            record.mark_first_byte()
            data = script.steps[0].data
            if len(data) == script.length:
                return web.Response(body=data, status=script.status, headers=script.headers)
        player = Player(request, waits[0], waits[1], record.mark_first_byte)
        response = await player.play(script)
        record.mark_closed(by_client=False)
        return response

    def _script(
        self, request: web.BaseRequest, body: Json | None, problem: str | None, record: Recorded
    ) -> tuple[Script, tuple[float, float]]:
        """Decide what is sent, and the waits (between tokens, before the first) in seconds."""
        wire, nothing = self.wire, (0.0, 0.0)
        if wire.is_models(request.method, request.path):
            data = orjson.dumps(wire.models(self.models or tuple(PROFILES)))
            headers = {"Content-Type": "application/json"}
            return Script(headers=headers, steps=(Send(data),), length=len(data)), nothing
        try:
            ask, body = _read(wire, request, body, problem)
            profile = self._profile(ask.model)
            rule = self.faults.take(ask, body)
            if rule is None and ask.prefill is not None:
                self._check_prefill(profile)
        except Refused as refused:
            return refusal(wire, refused.complaint), nothing
        return self._answer(ask, profile, rule, record)

    def _answer(
        self, ask: Ask, profile: Profile, rule: FaultRule | None, record: Recorded
    ) -> tuple[Script, tuple[float, float]]:
        settings = self.settings
        if ask.prefill and prefill_of(settings, profile, self.wire.name) == "ignore":
            ask = without_prefill(ask)
        answer = compose(ask, profile, settings, self.seed, self._cached(ask))
        waits = _waits(settings, profile, ask, answer)
        if rule is not None:
            record.fault = rule.kind
            return misbehave(rule, self.wire, ask, answer), waits
        script = well(self.wire, ask, answer)
        if settings.raw_chunks is not None:
            steps = tuple(Send(chunk.encode("utf-8", "surrogateescape"), content=True) for chunk in settings.raw_chunks)
            length = None if script.length is None else sum(len(step.data) for step in steps)
            return Script(headers=script.headers, steps=steps, length=length), waits
        return script, waits

    def _profile(self, model: str) -> Profile:
        if self.models and model not in self.models:
            base = COMPLAINTS["model_not_found"]
            raise Refused(404, base.kind, f"The model '{model[:100]}' does not exist.", base.code, "model")
        return PROFILES.get(model) or Profile(model or self.name)

    def _check_prefill(self, profile: Profile) -> None:
        if prefill_of(self.settings, profile, self.wire.name) == "reject":
            base: Complaint = COMPLAINTS["prefill_rejected"]
            raise Refused(400, base.kind, base.message)

    def _cached(self, ask: Ask) -> int:
        """Return the input tokens found in the prompt cache, and remember this prompt's beginning."""
        if ask.input_tokens < _CACHE_FROM_TOKENS or not ask.cacheable:
            return 0
        key = hash((ask.model, ask.cacheable))
        found = self._prompts.pop(key, 0)
        tokens = len(ask.cacheable) // 4
        self._prompts[key] = tokens - tokens % _CACHE_STEP_TOKENS
        if len(self._prompts) > _CACHE_ENTRIES:
            self._prompts.popitem(last=False)
        return found

    async def _bench_answer(self, request: web.BaseRequest, body: Json) -> web.StreamResponse:
        """Answer from a script made once: the shortest way through, for load runs."""
        stream = body.get("stream") is True or "streamGenerateContent" in request.path
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        key = (stream, usage, body.get("model"), request.path)
        script = self._bench.get(key)
        if script is None:
            ask = Ask(model=str(body.get("model") or self.name), stream=stream, include_usage=usage, input_tokens=250)
            script = well(self.wire, ask, compose(ask, Profile(ask.model), self.settings, self.seed))
            if len(self._bench) < _BENCH_SCRIPTS:
                self._bench[key] = script
        delay, first = self.settings.delay_s or 0.0, self.settings.first_delay_s or 0.0
        if script.length is not None and not delay and not first and isinstance(script.steps[0], Send):
            return web.Response(body=script.steps[0].data, headers=script.headers)
        return await Player(request, delay, first, _nothing).play(script)


def without_prefill(ask: Ask) -> Ask:
    """Return the request as a model sees it that starts its answer anew."""
    return replace(ask, prefill=None)


def _read(wire: Wire, request: web.BaseRequest, body: Json | None, problem: str | None) -> tuple[Ask, Json]:
    if not wire.is_chat(request.method, request.path):
        raise Refused(404, "route_not_found", f"Unknown request URL: {request.method} {request.path}.")
    if body is None:
        raise Refused(400, "bad_request", f"We could not parse the JSON body of your request. ({problem})")
    return wire.read(body, request.path, request.query, request.headers), body


def _nothing() -> None:
    """Mark nothing."""


def _waits(settings: AnswerSettings, profile: Profile, ask: Ask, answer: Answer) -> tuple[float, float]:
    """Return the wait between tokens and before the first, in seconds; a whole body waits for all of them."""
    delay = profile.token_ms / 1000 if settings.delay_s is None else settings.delay_s
    first = profile.first_token_ms / 1000 if settings.first_delay_s is None else settings.first_delay_s
    if ask.stream or not (delay or first):
        return delay, first
    count = max(len(choice.chunks) + len(choice.reasoning) for choice in answer.choices)
    return 0.0, first + delay * count


def _parse(raw: bytes) -> tuple[Json | None, str | None]:
    try:
        body = orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError as error:
        return None, str(error)
    return (body, None) if isinstance(body, dict) else (None, "not an object")
