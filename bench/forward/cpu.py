"""CPU per call of each lane against a loopback provider in a process of its own: `python -m bench.forward.cpu`.

Prints milliseconds of this process's CPU per whole answer and per stream of 50 pieces, interleaved in rounds, and the
ratio to litellm's own call on the same wire. Figures are of one process on whatever machine runs this: compare
within one run only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from aiohttp import web

from gateway.forward.forwarder import HttpForwarder
from gateway.secrets import Secret
from router_core.deployment import Deployment, Lane, Provider
from router_core.ports import Answer, Call
from router_core.price import Price
from tests.fakes.ports import free_port

PIECES = 50
_WORDS = [f"word{n} " for n in range(PIECES)]
_BODY = {
    "messages": [
        {"role": "system", "content": "You answer briefly and to the point. " * 5},
        {"role": "user", "content": "Explain what a load balancer does, with one example. " * 15},
    ],
    "temperature": 0.3,
    "max_tokens": 400,
}


def _openai(*, stream: bool) -> bytes:
    usage = {"prompt_tokens": 200, "completion_tokens": 50, "total_tokens": 250}
    base = {"id": "c1", "created": 1, "model": "m", "object": "chat.completion"}
    if not stream:
        message = {"role": "assistant", "content": "".join(_WORDS)}
        return orjson.dumps(
            {**base, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
        )
    frame = {**base, "object": "chat.completion.chunk", "usage": None}
    rows = [{"index": 0, "delta": {"content": word}, "finish_reason": None} for word in _WORDS]
    rows.append({"index": 0, "delta": {}, "finish_reason": "stop"})  # type: ignore[dict-item]
    events: list[dict[str, Any]] = [{**frame, "choices": [row]} for row in rows]
    events.append({**frame, "choices": [], "usage": usage})
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def _anthropic(*, stream: bool) -> bytes:
    usage = {"input_tokens": 200, "output_tokens": 50}
    message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "usage": usage}
    if not stream:
        content = [{"type": "text", "text": "".join(_WORDS)}]
        return orjson.dumps({**message, "content": content, "stop_reason": "end_turn", "stop_sequence": None})
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in _WORDS
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    return b"".join(b"event: %s\ndata: %s\n\n" % (row["type"].encode(), orjson.dumps(row)) for row in events)


def _gemini(*, stream: bool) -> bytes:
    usage = {"promptTokenCount": 200, "candidatesTokenCount": 50, "totalTokenCount": 250}

    def response(text: str, **more: Any) -> dict[str, Any]:
        candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r1"}

    if not stream:
        return orjson.dumps(response("".join(_WORDS), finishReason="STOP"))
    rows = [response(word) for word in _WORDS[:-1]] + [response(_WORDS[-1], finishReason="STOP")]
    return b"".join(b"data: " + orjson.dumps(row) + b"\r\n\r\n" for row in rows)


_WIRES: dict[str, Callable[..., bytes]] = {"openai": _openai, "anthropic": _anthropic, "gemini": _gemini}


def _serve(port: int) -> None:
    bodies = {(name, stream): make(stream=stream) for name, make in _WIRES.items() for stream in (False, True)}

    async def answer(request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        name = request.path.split("/")[1]
        stream = b'"stream":true' in raw or b'"stream": true' in raw or "streamGenerate" in request.path
        if not stream:
            return web.Response(body=bodies[name, False], content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in bodies[name, True].replace(b"\r\n", b"\n").split(b"\n\n")[:-1]:
            await response.write(event + b"\n\n")
        await response.write_eof()
        return response

    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/{path:.*}", answer)
    with contextlib.suppress(KeyboardInterrupt):
        web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


@contextlib.contextmanager
def _provider() -> Iterator[str]:
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(port,), daemon=True)
    process.start()
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join()


def _call(origin: str, wire: str, lane: Lane, *, stream: bool) -> Call:
    tails = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}
    base = f"{origin}/{wire}{tails[wire]}"
    model = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}[wire]
    provider = Provider(id="p", wire=wire, base_url=base, key_ref="KEY", lane=lane)
    deployment = Deployment(id=f"p/{model}", provider="p", model=model, context_window=8192, price=Price(1.0, 2.0))
    return Call(deployment, provider, {"model": model, **_BODY}, stream=stream, deadline=1e12)


async def _once(forwarder: HttpForwarder, call: Call) -> int:
    found = await forwarder.send(call)
    if isinstance(found, Answer):
        return len(found.body["choices"])
    count = 0
    async for event in found:
        count += event.chunk is not None
    await found.aclose()
    return count


async def _round(forwarder: HttpForwarder, call: Call, calls: int, width: int) -> float:
    """Return CPU milliseconds a call."""

    async def worker(share: int) -> None:
        for _ in range(share):
            if await _once(forwarder, call) == 0:
                msg = "an empty answer"
                raise RuntimeError(msg)

    before = time.process_time()
    await asyncio.gather(*(worker(calls // width) for _ in range(width)))
    return (time.process_time() - before) * 1000.0 / (calls // width * width)


async def _main(origin: str, rounds: int, width: int) -> None:
    forwarder = HttpForwarder(secrets={"KEY": Secret("bench-key-0123456789")}.get)
    await forwarder.open()
    await forwarder.warm()
    gc.collect()
    gc.freeze()  # as the gateway does after start: else every collection walks all of litellm
    table: dict[tuple[str, str, bool], list[float]] = {}
    for number in range(rounds + 1):
        for wire in _WIRES:
            for lane in (Lane.AUTO, Lane.ACOMPLETION):
                for stream in (False, True):
                    calls = (320 if lane is Lane.AUTO else 64) // (4 if stream else 1)
                    await asyncio.sleep(0.3)  # litellm goes on logging after its answers; that is not ours to pay
                    spent = await _round(forwarder, _call(origin, wire, lane, stream=stream), calls, width)
                    if number:  # the first round warms
                        table.setdefault((wire, lane.value, stream), []).append(spent)
    print(f"CPU ms per call, {width} open, ~1 kB bodies, streams of {PIECES} pieces; median of {rounds} rounds")
    print(f"{'wire':<10} {'what':<7} {'ours':>8} {'acompletion':>12} {'ratio':>7}")
    for wire in _WIRES:
        for stream in (False, True):
            ours, theirs = (sorted(table[wire, lane, stream])[rounds // 2] for lane in ("auto", "acompletion"))
            what = "stream" if stream else "whole"
            print(f"{wire:<10} {what:<7} {ours:>8.3f} {theirs:>12.3f} {theirs / ours:>6.1f}x")
    await forwarder.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (1-100)")
    parser.add_argument("--width", type=int, default=16, help="calls open at once (1-256)")
    options = parser.parse_args()
    with _provider() as origin:
        asyncio.run(_main(origin, max(1, min(options.rounds, 100)), max(1, min(options.width, 256))))


if __name__ == "__main__":
    main()
