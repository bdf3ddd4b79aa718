"""A client's stream: relayed event by event, ended truthfully, recovered when its upstream breaks and policy says so.

Nothing is sent before the first content; whatever was sent is never changed or repeated; a stream that did not end
whole ends with an error event and without ``[DONE]``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from gateway import chunks
from gateway.attempts import AttemptLoop, Exhausted
from gateway.calls import LiveCall
from gateway.context import RequestContext
from gateway.idle import IdleWatch
from gateway.limits import stream_limits
from gateway.recovery import Mismatch, Splice, can_continue, continuation
from gateway.relay import Relay
from gateway.services import Services
from gateway.signals import keeps_answer
from gateway.usage import cost_of, usage_of
from router_core.errors import AttemptFailed
from router_core.outcome import AttemptRole, Failure, FailureKind, Usage
from router_core.ports import Event
from router_core.request import StreamRecovery

_EVIDENT_PIECES: Final = 8


class StreamFailed(Exception):
    """A stream could not be brought to a whole end; ``failure`` is the last one."""

    def __init__(self, failure: Failure) -> None:
        """Keep the failure for the error event."""
        super().__init__(failure.message)
        self.failure = failure


class ClientStream:
    """One client's stream, fed by one upstream call after another until the answer is whole."""

    def __init__(self, services: Services, ctx: RequestContext, loop: AttemptLoop, live: LiveCall) -> None:
        """Take over an open call; ``loop`` gives more of them."""
        self._services = services
        self._ctx = ctx
        self._loop = loop
        self.live = live
        self.relay = self._new_relay(live)
        self._sent_parts = 0
        self._silent = False

    def _new_relay(self, live: LiveCall) -> Relay:
        ctx = self._ctx
        keep = ctx.recovery is StreamRecovery.CONTINUE or ctx.shadowed or keeps_answer(ctx)
        return Relay(live.deployment, include_usage=ctx.chat.include_usage, n=ctx.chat.n, keep=keep)

    async def payloads(self) -> AsyncGenerator[list[bytes]]:
        """Yield the payloads to send, without framing; raises StreamFailed when no whole end can be reached.

        Payloads that came together are yielded together; nothing is held for what may follow.
        """
        try:
            async for payloads in self._first():
                yield payloads
        except AttemptFailed as exc:
            if self._ctx.recovery is not StreamRecovery.CONTINUE or not can_continue(self._ctx, self.relay):
                raise StreamFailed(exc.failure) from exc
            async for payload in self._continued(exc.failure):
                yield [payload]

    async def buffered(self) -> list[bytes]:
        """Return all payloads of a whole answer; falls back like a request without a stream. Raises Exhausted."""
        while True:
            held: list[bytes] = []
            try:
                async for payloads in self._first():
                    held += payloads
            except AttemptFailed as exc:
                # Nothing was sent yet, so it may be written again; but a silent deployment is not asked twice.
                self.live = await self._loop.replace(self.live.attempt, exc.failure, again=not self._silent)
                self.relay = self._new_relay(self.live)
            else:
                return held

    async def _first(self) -> AsyncGenerator[list[bytes]]:
        """Relay one upstream to its end.

        After a malformed event hold what follows; where skipping is allowed, only the end, until it is known whether
        a piece of the answer is missing.
        """
        skip = self._ctx.recovery is StreamRecovery.ERROR
        relay = self.relay
        held: list[bytes] = []
        async with aclosing(self._events(self.live, relay)) as batches:
            async for batch in batches:
                payloads: list[bytes] = []
                for event in batch:
                    payload = relay.feed(event)
                    if payload is not None and not relay.skipped:
                        payloads.append(payload)
                    elif relay.done:
                        break
                    elif relay.skipped and (relay.complete or not skip):
                        if not held:
                            self._sent_parts = len(relay.parts)
                        held.append(payload or b"")
                    elif payload is not None:
                        payloads.append(payload)
                if not held:
                    self._sent_parts = len(relay.parts)
                if payloads:
                    yield payloads
        if relay.skipped:
            self._require_whole(skip=skip)
            if whole := list(filter(None, held)):
                yield whole
        self._finish(self.live, relay)

    def _require_whole(self, *, skip: bool) -> None:
        """Refuse a stream with a malformed event unless as many pieces came as the provider says it wrote tokens.

        Where skipping is allowed it is refused only when as many pieces are missing as events were skipped: this
        provider sends one token a piece, so a piece of the answer was in each. A few pieces are no such evidence.
        """
        relay, usage = self.relay, usage_of(self.relay.usage)
        missing = None if usage is None else usage.output - relay.content_events
        if skip:
            lost = missing == relay.skipped and relay.content_events >= _EVIDENT_PIECES
        else:
            lost = missing is None or missing > 0
        if lost:
            failure = Failure(FailureKind.STREAM_BROKEN, "the provider sent an event that is no JSON")
            self._fail(self.live, self.relay, failure)
            raise AttemptFailed(failure)

    async def _events(self, live: LiveCall, relay: Relay) -> AsyncGenerator[Sequence[Event]]:
        """Yield a call's events for ``relay`` to be fed with, held ones first.

        A call that does not end whole is booked and raises.
        """
        held, live.held = live.held, []
        if held:
            yield held
        failure: Failure | None = None
        try:
            async with aclosing(self._watched(live, relay)) as batches:
                async for batch in batches:
                    yield batch
        except AttemptFailed as exc:
            failure = exc.failure
        finally:
            await live.events.aclose()  # left to the garbage collector, it would cost a task of its own
            await live.aclose()
        if relay.whole:
            return  # everything was said; how the connection ended is nobody's concern
        if failure is None:
            failure = Failure(FailureKind.STREAM_TRUNCATED, "the provider's stream ended before the answer did")
        self._fail(live, relay, failure)
        raise AttemptFailed(failure)

    async def _watched(self, live: LiveCall, relay: Relay) -> AsyncGenerator[Sequence[Event]]:
        """Yield a call's remaining events; silence, too many comments and the time limit raise AttemptFailed."""
        policy = self._ctx.policy
        idle_s, total_s = stream_limits(live.deployment, live.provider, policy)
        left = min(live.started + total_s, self._ctx.deadline) - self._services.steady()
        comments = 0
        shortened = False
        with IdleWatch(idle_s, asyncio.get_running_loop().time() + max(0.0, left)) as watch:
            try:
                while not relay.done:
                    if relay.complete and not shortened:
                        watch.shorten(policy.timeouts.after_finish_s)
                        shortened = True
                    if comments <= policy.upstream.idle_comments:
                        watch.waiting()
                    batch: Sequence[Event] | None = await anext(live.events, None)
                    if batch is None:
                        return
                    if chunks.speaks(batch):
                        comments = 0
                        watch.got()
                        yield batch
                    else:
                        comments += len(batch)
            except asyncio.CancelledError:
                if not watch.expired:
                    raise
                watch.uncancel()
        self._silent = watch.expired
        if watch.expired:
            raise AttemptFailed(Failure(FailureKind.STREAM_BROKEN, "the provider's stream fell silent"))

    async def _continued(self, failure: Failure) -> AsyncGenerator[bytes]:
        """Go on from what was sent with other deployments until the answer is whole; raises StreamFailed."""
        text = chunks.joined(self.relay.parts[: self._sent_parts])
        first = self.relay
        while self._loop.calls < self._ctx.policy.retry.max_attempts:
            if not self._loop.left:
                self._loop.again(self.live.attempt)
            overrides = continuation(self._services, self._ctx, text)
            try:
                live = await self._loop.open(overrides=overrides)
            except Exhausted as exc:
                raise StreamFailed(exc.failure or failure) from exc
            live.role = AttemptRole.CONTINUATION
            self.live, self.relay = live, self._new_relay(live)
            splice = Splice(text, first, prefilled="messages" in overrides(live.deployment.id))
            try:
                async with aclosing(self._events(live, self.relay)) as batches:
                    async for batch in batches:
                        for event in batch:
                            self.relay.feed(event)
                            if self.relay.skipped:
                                self._require_whole(skip=False)
                            for payload in splice.take(event.chunk):
                                yield payload
                splice.require_end()
            except AttemptFailed as exc:
                text, failure = splice.text, exc.failure
            except Mismatch as exc:
                text, failure = splice.text, Failure(FailureKind.STREAM_BROKEN, str(exc))
                # It answered well, only differently: nobody's fault, so its circuit is left alone.
                live.cancel(self.usage_of(self.relay))
            else:
                self._finish(live, self.relay)
                return
        raise StreamFailed(failure)

    def _finish(self, live: LiveCall, relay: Relay) -> None:
        live.close(self.usage_of(relay), relay.tail(cost_of(relay.usage)))

    def usage_of(self, relay: Relay) -> Usage:
        """Return a stream's usage: the provider's, else our estimate."""
        found = usage_of(relay.usage)
        return found or chunks.estimate_usage(self._ctx.routing.input_tokens, relay.characters)

    def _fail(self, live: LiveCall, relay: Relay, failure: Failure) -> None:
        live.fail(failure, self.usage_of(relay) if relay.characters else None)

    def abandon(self) -> None:
        """Book the open call as cancelled: the client has left."""
        relay = self.relay
        self.live.cancel(self.usage_of(relay) if relay.characters else None)
