"""One call to one deployment: opened, timed, and booked exactly once, whatever happens to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Final

from gateway import chunks
from gateway.charging import booked, limits_to_send
from gateway.context import RequestContext
from gateway.limits import first_content_limit, stall_limit, whole_answer_limit
from gateway.portable import portable
from gateway.rate_limits import Pass
from gateway.services import Services
from gateway.spending import return_passes
from gateway.time_limit import TimeLimit
from router_core.decision import Attempt
from router_core.deployment import Deployment, Provider
from router_core.errors import AttemptFailed
from router_core.outcome import AttemptOutcome, AttemptRole, CostSource, Failure, FailureKind, Usage
from router_core.ports import Answer, Call, Event, Stream
from router_core.pricing import cost_usd

OWN_DEADLINE: Final = "the request's own time limit ran out"


def batches_of(stream: Stream) -> AsyncGenerator[Sequence[Event]]:
    """Return a stream's events, those that came together in one batch where the stream can tell."""
    batches: Callable[[], AsyncGenerator[list[Event]]] | None = getattr(stream, "batches", None)
    return _one_by_one(stream) if batches is None else batches()


def _with_choices(answer: Answer) -> Answer:
    choices = answer.body.get("choices")
    if not isinstance(choices, list) or not choices:
        failure = Failure(
            FailureKind.PROTOCOL, "the provider's answer has no choices", status=answer.status, empty=True
        )
        raise AttemptFailed(failure)
    return answer


async def _one_by_one(stream: Stream) -> AsyncGenerator[Sequence[Event]]:
    async for event in stream:
        yield (event,)


class LiveCall:
    """A call under way. ``open`` returns when an answer is there, or a stream's first content.

    ``held`` are a stream's events up to that first content. ``close`` or ``fail`` books the call; later ones do
    nothing. What was booked is told to whoever learns from calls at once, or by ``tell``.
    """

    __slots__ = (
        "answer",
        "attempt",
        "booked",
        "ctx",
        "deployment",
        "events",
        "first_at",
        "held",
        "lease",
        "model",
        "passes",
        "provider",
        "role",
        "sent",
        "services",
        "started",
        "stream",
        "untold",
    )

    def __init__(
        self,
        services: Services,
        ctx: RequestContext,
        attempt: Attempt,
        role: AttemptRole,
        lease: int | None = None,
    ) -> None:
        """Prepare a call; nothing is sent yet."""
        self.services = services
        self.ctx = ctx
        self.attempt = attempt
        self.role = role
        self.lease = lease
        self.deployment: Deployment = ctx.deployment(attempt.deployment)
        self.provider: Provider = ctx.registry.providers[self.deployment.provider]
        self.started = services.steady()
        self.first_at: float | None = None
        self.answer: Answer | None = None
        self.stream: Stream | None = None
        self.events: Any = None
        self.held: list[Event] = []
        self.model = self.deployment.model
        self.passes: Sequence[Pass] = ()
        self.booked = False
        self.untold: AttemptOutcome | None = None
        self.sent = False

    async def open(self, overrides: Mapping[str, Any], *, stream: bool | None = None, spare_s: float = 0.0) -> None:
        """Send the call and wait for its answer or first content; raises AttemptFailed, booked already.

        ``spare_s`` is what must be left of the request's time for somebody else. Cancelling closes the upstream socket
        and books the call as cancelled.
        """
        ctx = self.ctx
        streamed = ctx.chat.stream if stream is None else stream
        now = self.services.steady()
        self.started = now
        remaining = ctx.deadline - now
        limit = self._limit(streamed=streamed)
        share = remaining - spare_s
        by_deadline = share <= limit
        ctx.calls += 1
        self.sent = True
        call = self._call(overrides, streamed, now + remaining)
        try:
            with TimeLimit(max(0.001, min(limit, share))):
                opened = await self.services.forwarder.send(call)
                self._note_dropped(opened)
                if isinstance(opened, Answer):
                    self.answer = _with_choices(opened)
                else:
                    await self._begin(opened)
        except TimeoutError as exc:
            hurried = by_deadline and ctx.own_deadline  # a client's haste is no fault of the provider
            failure = self._timed_out(hurried=hurried and not spare_s, streamed=streamed)
            await self._drop()
            if hurried:
                self.cancel()
            else:
                self.fail(failure)
            raise AttemptFailed(failure) from exc
        except AttemptFailed as exc:
            failure = chunks.before_content(exc.failure)
            await self._drop()
            self.fail(failure)
            raise AttemptFailed(failure) from exc
        except BaseException:
            await self._drop()
            self.cancel()
            raise
        finally:
            ctx.upstream_s += self.services.steady() - now

    def _call(self, overrides: Mapping[str, Any], streamed: bool, deadline: float) -> Call:  # noqa: FBT001 - private
        ctx, deployment = self.ctx, self.deployment
        ours: dict[str, Any] = dict(overrides)
        for owner, name in self.services.quirks:
            if owner == deployment.id and name not in ours:
                ours[name] = None
        messages, left_out = portable(ours.get("messages") or ctx.chat.body["messages"], self.provider.wire)
        if messages is not None:
            ours["messages"] = messages
            ctx.dropped.extend(name for name in left_out if name not in ctx.dropped)
        for name, limit in limits_to_send(ctx, self.attempt, deployment, self.provider, ours).items():
            ours[name] = limit
            if name not in ctx.adjusted:
                ctx.adjusted.append(name)
        timeouts = deployment.timeouts.connect_s or self.provider.timeouts.connect_s
        return Call(
            deployment,
            self.provider,
            ctx.chat.body,
            streamed,
            deadline,
            timeouts or ctx.policy.timeouts.connect_s,
            ours,
            ctx.request_id,
            self.provider.drop_params and not ctx.hints.require_parameters,
            ctx.policy.upstream.event_bytes,
            ctx.policy.upstream.body_bytes,
            stall_limit(deployment, self.provider, ctx.policy),
        )

    def _note_dropped(self, opened: Answer | Stream) -> None:
        for name in opened.dropped_params:
            if name not in self.ctx.dropped:
                self.ctx.dropped.append(name)

    async def _begin(self, stream: Stream) -> None:
        """Hold a stream's events until the first content is among them."""
        self.stream = stream
        self.events = batches_of(stream)
        async for batch in self.events:
            self.held += batch
            if any(event.chunk is not None and chunks.begins(event.chunk) for event in batch):
                if chunks.ends_unsaid(self.held):
                    msg = "the provider sent an event that is no JSON in the place of its answer"
                    raise AttemptFailed(Failure(FailureKind.PROTOCOL, msg))
                self.first_at = self.services.steady()
                return
            if any(event.done for event in batch):
                break
        empty = Failure(FailureKind.PROTOCOL, "the provider's stream ended without any content", empty=True)
        raise AttemptFailed(empty)

    def _limit(self, *, streamed: bool) -> float:
        series = self.services.learner.view.of(self.deployment.id)
        rule = first_content_limit if streamed else whole_answer_limit
        return rule(self.deployment, self.provider, series, self.ctx.routing, self.ctx.policy, self.started)

    def _timed_out(self, *, hurried: bool, streamed: bool) -> Failure:
        if hurried:
            return Failure(FailureKind.CANCELLED, OWN_DEADLINE)
        what = "first content" if streamed else "answer"
        return Failure(FailureKind.TIMEOUT, f"no {what} within the time limit")

    async def _drop(self) -> None:
        if self.stream is not None:
            await self.stream.aclose()

    async def aclose(self) -> None:
        """Close the upstream socket at once; booking stays to be done."""
        await self._drop()

    def close(self, usage: Usage, tail: chunks.Tail, *, told: bool = True) -> None:
        """Book a good answer; without ``told``, ``tell`` is still to be called."""
        self._book(None, usage, tail, told=told)

    def fail(self, failure: Failure, usage: Usage | None = None) -> None:
        """Book a failure; ``usage`` is what was produced before it."""
        self._book(failure, usage or Usage(), chunks.NO_TAIL)

    def cancel(self, usage: Usage | None = None) -> None:
        """Book a call that nobody wants any more: nobody's failure."""
        self.fail(Failure(FailureKind.CANCELLED, "the call was cancelled"), usage)

    def _book(self, failure: Failure | None, usage: Usage, tail: chunks.Tail, *, told: bool = True) -> None:
        if self.booked:
            return
        self.booked = True
        ctx, services = self.ctx, self.services
        now = services.steady()
        ctx.open_usd = max(0.0, ctx.open_usd - self.attempt.worst_cost_usd)
        if self.sent:
            hidden = self.first_at is None or self.deployment.reasoning
            unseen = (self.first_at or now) - self.started if hidden else 0.0
            kind = None if failure is None else failure.kind
            usage = booked(usage, ctx, self.attempt, self.deployment, kind, unseen)
        charged, source = self._cost(usage, tail)
        outcome = AttemptOutcome(
            deployment=self.deployment.id,
            provider=self.deployment.provider,
            task=ctx.decision.profile.task,
            at=now,
            duration_s=now - self.started,
            role=self.role,
            failure=failure,
            time_to_first_content_s=None if self.first_at is None else self.first_at - self.started,
            usage=usage,
            cost_usd=charged,
            cost_source=source,
            stream=self.stream is not None,
            input_estimate=ctx.routing.input_tokens,
            status=failure.status if failure is not None else 200,
            upstream_id=tail.upstream_id,
            tool_calls=tail.tool_calls,
            finish_reason=tail.finish_reason,
            refusal=tail.refusal,
            skipped_events=tail.skipped,
            probe_lease=self.lease,
        )
        ctx.book(outcome)
        self.untold = outcome
        if told:
            self.tell()

    def tell(self) -> None:
        """Give the call's place back and let circuit, memory and statistics know of it, once."""
        outcome, self.untold = self.untold, None
        if outcome is None:
            return
        ctx, services = self.ctx, self.services
        if self.passes:
            return_passes(services, self.passes, outcome.usage.total)
        if self.sent:
            name = self.deployment.id
            services.concurrency.learn(name, outcome.failure, self.started, outcome.at, ctx.policy.admission)
            services.concurrency.leave(name)
        services.learner.attempt(outcome, ctx.registry, ctx.policy)
        services.observer.attempt(outcome)

    def _cost(self, usage: Usage, tail: chunks.Tail) -> tuple[float, CostSource]:
        if tail.provider_cost_usd is not None:
            return tail.provider_cost_usd, CostSource.PROVIDER
        if not usage.total:
            return 0.0, CostSource.PRICE_TABLE
        source = CostSource.ESTIMATE if usage.estimated else CostSource.PRICE_TABLE
        return cost_usd(usage, self.deployment.price), source
