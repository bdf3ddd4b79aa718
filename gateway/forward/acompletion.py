"""The last lane: litellm's own call, for providers whose translation needs more than a body (signing, polling).

Slow (milliseconds a call) but able. Only OpenAI's own parameters become keywords; where the call goes, with which key,
is the registry's alone. litellm's retries are off, its time-out is never the first to fire, and its exceptions are
judged by the same table as everybody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from gateway.forward.answers import check
from gateway.forward.chunks import plain
from gateway.forward.failures import failed
from gateway.forward.litellm_door import Door
from gateway.forward.litellm_errors import from_litellm
from gateway.forward.media import refuse_remote_media
from gateway.forward.outgoing import added_by_us, effective_body
from gateway.forward.params import STANDARD, split
from gateway.forward.translate import copy_of, drops
from router_core.errors import AttemptFailed
from router_core.outcome import FailureKind
from router_core.ports import Answer, Call, Event, Stream

_NEVER: Final = frozenset({"metadata", "stream_options"})
"""Standard names that mean something else to litellm: its own bookkeeping."""
_LONGEST_S: Final = 3600.0


async def send(door: Door, call: Call, key: str | None) -> Answer | Stream:
    """Make one call. Raises ``AttemptFailed``."""
    keywords, dropped = _keywords(door, call, key)
    added = added_by_us(call)
    try:
        found = await door.litellm.acompletion(**keywords)
    except asyncio.CancelledError:
        raise
    except Exception as exc:
        raise AttemptFailed(from_litellm(exc, added=added)) from exc
    if call.stream:
        return LitellmStream(found, dropped, added)
    body = check(_body(found))
    return Answer(body, None, 200, _headers(found), dropped)


def _keywords(door: Door, call: Call, key: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    provider, deployment = call.provider, call.deployment
    body = effective_body(call, usage_option=True)
    refuse_remote_media(body.get("messages"), lambda _kind, _address: False)
    model = deployment.upstream_model
    listed = door.litellm.get_supported_openai_params(model=model, custom_llm_provider=provider.wire)
    supported = (frozenset(listed) if listed else STANDARD) & STANDARD - _NEVER
    params = split(body, supported, frozenset(), drop=drops(call))
    keywords: dict[str, Any] = {
        **copy_of(params.known),
        **provider.options,
        "model": f"{provider.wire}/{model}",
        "messages": copy_of(body.get("messages") or []),
        "max_retries": 0,
        "num_retries": 0,
        "_skip_mcp_handler": True,  # tools are data, never servers to connect to
        "timeout": min(max(call.deadline - asyncio.get_running_loop().time(), 1.0), _LONGEST_S),
        "drop_params": drops(call),
    }
    if call.stream:
        keywords["stream"] = True
        keywords["stream_options"] = {"include_usage": True}
    base = deployment.base_url or provider.base_url
    if base:
        keywords["api_base"] = base
    if provider.headers:
        keywords["extra_headers"] = dict(provider.headers)
    keywords.update(_credentials(provider.wire, key))
    return keywords, params.dropped


def _credentials(wire: str, key: str | None) -> dict[str, str]:
    """Return the key as litellm wants it; AWS's pair is written ``ACCESS_ID:SECRET`` or ``ACCESS_ID:SECRET:TOKEN``."""
    if key is None:
        return {}
    parts = key.split(":")
    if wire in {"bedrock", "bedrock_converse", "sagemaker"} and len(parts) in {2, 3}:
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        return dict(zip(names, parts, strict=False))
    return {"api_key": key}


class LitellmStream:
    """litellm's stream as ours. It calls a cut stream finished; what its parser really saw tells the truth."""

    __slots__ = ("_added", "_wrapper", "dropped_params", "headers", "status")

    def __init__(self, wrapper: Any, dropped: tuple[str, ...], added: frozenset[str]) -> None:
        self._wrapper = wrapper
        self._added = added
        self.status = 200
        self.headers: Mapping[str, str] = _headers(wrapper)
        self.dropped_params = dropped

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events until the upstream ends; raises ``AttemptFailed`` when it breaks."""
        finished = spoke = False
        usage: Any = None
        frame: dict[str, Any] = {}
        try:
            async for found in self._wrapper:
                chunk = _body(found)
                usage = chunk.pop("usage", None) or usage
                frame = {key: value for key, value in chunk.items() if key != "choices"}
                truth = self._truth()
                choices = [choice for choice in map(_choice, chunk.get("choices", ())) if choice["delta"]]
                if choices:
                    spoke = True
                    yield Event({**frame, "choices": choices})
                for choice in chunk.get("choices", ()):
                    if choice.get("finish_reason") and truth is not None:
                        finished = True
                        end = {"index": choice.get("index", 0), "delta": {}, "finish_reason": choice["finish_reason"]}
                        yield Event({**frame, "choices": [end]})
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            raise AttemptFailed(from_litellm(exc, added=self._added, streaming=True)) from exc
        if not (spoke or finished):
            raise failed(FailureKind.PROTOCOL, "the provider's stream holds no events", status=200)
        if usage:
            yield Event({**frame, "choices": [], "usage": usage})
        if finished:
            yield Event(done=True)

    def _truth(self) -> str | None:
        """Return the finish reason the provider sent; the wrapper invents one for a stream that was cut."""
        names = ("received_finish_reason", "intermittent_finish_reason")
        return next((found for name in names if (found := getattr(self._wrapper, name, None))), None)

    async def aclose(self) -> None:
        """Close the upstream connection."""
        close = getattr(self._wrapper, "aclose", None)
        if close is not None:
            await close()


def _choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    delta = {key: value for key, value in (choice.get("delta") or {}).items() if value not in (None, "", [], {})}
    if set(delta) == {"role"}:
        delta = {}
    out = {"index": choice.get("index", 0), "delta": delta, "finish_reason": None}
    if choice.get("logprobs"):
        out["logprobs"] = choice["logprobs"]
    return out


def _body(found: Any) -> dict[str, Any]:
    """Return litellm's answer or chunk as plain data, with the nulls that OpenAI's shape wants."""
    body: dict[str, Any] = plain(found)
    for choice in body.get("choices", ()):
        choice.setdefault("finish_reason", None)
        choice.pop("provider_specific_fields", None)
        if "message" in choice:
            choice["message"].setdefault("content", None)
            if not choice["message"].get("provider_specific_fields"):
                choice["message"].pop("provider_specific_fields", None)
    return body


def _headers(found: Any) -> dict[str, str]:
    """Return the provider's headers, which litellm keeps under names of its own."""
    hidden = getattr(found, "_hidden_params", None)
    more = hidden.get("additional_headers") if isinstance(hidden, Mapping) else None
    if not isinstance(more, Mapping):
        return {}
    return {str(name).removeprefix("llm_provider-"): str(value) for name, value in more.items()}


async def close(door: Door) -> None:
    """Close the connections litellm keeps for itself."""
    closer = getattr(door.litellm, "close_litellm_async_clients", None)
    if closer is not None:
        await closer()
