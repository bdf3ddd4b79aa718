"""Open streams: bytes from the transport, events to the caller, and the socket closed the moment nobody wants more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, NoReturn, Protocol

import orjson

from gateway.chunks import speaks
from gateway.forward.exceptions import from_exception
from gateway.forward.failures import failed, from_error_event
from gateway.forward.http1.errors import Http1Error
from gateway.forward.http1.response import Response
from gateway.forward.mended import mended, passable, too_deep
from gateway.forward.sse_reader import EventTooLarge, Item, SseReader
from gateway.forward.transport import Transport
from router_core.errors import AttemptFailed
from router_core.outcome import FailureKind
from router_core.ports import Event

_LONG: Final = 800
"""Most events are shorter, in bytes: these nest not too deeply."""
_READING: Final = (Http1Error, ValueError, LookupError, AttributeError, TypeError)
"""What can go wrong while reading: the connection, or a reader of a translated wire at its first missing key."""


class Decoder(Protocol):
    """Turns one stream's server-sent events into ours; keeps what it must remember between them."""

    def events(self, items: Iterable[Item]) -> Iterator[Event]:
        """Yield what the items mean. Raises ``AttemptFailed`` for an error event, after what came before it."""
        ...

    def end(self) -> Iterator[Event]:
        """Yield what is still to be said when the upstream has ended cleanly."""
        ...


class RelayDecoder:
    """OpenAI's own events: parsed to be looked at, passed on as they came."""

    __slots__ = ("_added",)

    def __init__(self, added: frozenset[str] = frozenset()) -> None:
        self._added = added

    def events(self, items: Iterable[Item]) -> Iterator[Event]:
        """Yield one event an item; ``raw`` is None where the bytes could not stay as they came."""
        loads = orjson.loads
        for name, data in items:
            if data is None:
                yield Event(comment=True)
                continue
            raw: bytes | None = data
            try:
                chunk = loads(data)
            except orjson.JSONDecodeError:
                if data.strip() == b"[DONE]":
                    yield Event(done=True)
                    continue
                if data.find(b"\n") >= 0 and (lines := _separate(data)):
                    yield from self.events(lines)
                    continue
                chunk = mended(data)
                raw = data if chunk is not None and passable(data) else None
            if len(data) > _LONG and too_deep(data, chunk):
                chunk = None
            if name == b"error" or data.find(b'"error"') >= 0 or type(chunk) is not dict or "choices" not in chunk:
                odd = self._odd(name, data, chunk)
                if odd is not None:
                    yield odd
                    continue
            if data.find(b"\n") >= 0:
                raw = None  # it came as several data lines; passed on it must be one
            yield Event(chunk, raw)

    def _odd(self, name: bytes, data: bytes, chunk: Any) -> Event | None:
        """Look closer at an event that may be no piece of an answer; None when it is one."""
        if name == b"error":
            self._refuse(chunk if type(chunk) is dict else {"error": data.decode("utf-8", "replace")})
        if type(chunk) is not dict:
            return Event(malformed=True)
        complaint = _complaint(chunk)
        if complaint is not None:
            self._refuse(complaint)
        # a ping or the like says nothing that a client waits for
        return None if "choices" in chunk or chunk.get("usage") else Event(comment=True)

    def _refuse(self, complaint: dict[str, Any]) -> NoReturn:
        raise AttemptFailed(from_error_event(complaint, added=self._added))

    def end(self) -> Iterator[Event]:
        """Yield nothing: what was not said stays unsaid."""
        return iter(())


def _complaint(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """Return the error an event tells of, in the shapes of OpenAI, of vLLM and Mistral, of OpenRouter's choices."""
    if chunk.get("error"):
        return chunk
    choices = chunk.get("choices")
    if choices is None:
        return chunk if chunk.get("object") == "error" or "detail" in chunk else None
    for choice in choices if type(choices) is list else ():
        if type(choice) is dict and choice.get("finish_reason") == "error":
            return {"error": choice.get("error") or {"message": "the provider's answer broke on the way"}}
    return None


def _separate(data: bytes) -> list[Item]:
    """Return the events of a server that forgot the blank lines between them; none unless each line is one."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    whole = all(line.strip() == b"[DONE]" or type(mended(line)) is dict for line in lines)
    return [(b"", line) for line in lines] if whole and len(lines) > 1 else []


class OpenStream:
    """A stream whose head has come. Iterate once; ``aclose`` ends it at any moment."""

    __slots__ = (
        "_closed",
        "_decoder",
        "_done",
        "_first",
        "_limit",
        "_response",
        "_transport",
        "dropped_params",
        "headers",
        "status",
    )

    def __init__(
        self,
        transport: Transport,
        response: Response,
        decoder: Decoder,
        *,
        event_bytes: int,
        first: bytes = b"",
        dropped_params: tuple[str, ...] = (),
    ) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.dropped_params = dropped_params
        self._transport = transport
        self._response = response
        self._decoder = decoder
        self._limit = event_bytes
        self._first = first
        self._done = False
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events until the upstream ends; raises ``AttemptFailed`` when it breaks."""
        async for batch in self.batches():
            for event in batch:
                yield event

    async def batches(self) -> AsyncGenerator[list[Event]]:
        """Yield the same, as they came: what one read brought is one batch, never held for more to come."""
        reader, decoder, response = SseReader(self._limit), self._decoder, self._response
        spoke = False
        try:
            data = self._first or await response.read_some()
            while data:
                batch: list[Event] = []
                try:
                    batch.extend(decoder.events(reader.feed(data)))
                finally:  # what came before a broken event is told before it is
                    if batch:
                        spoke = self._note(batch) or spoke
                        yield batch
                data = await response.read_some()
            batch = list(chain(decoder.events(reader.finish()), decoder.end()))
            if batch:
                spoke = self._note(batch) or spoke
                yield batch
            self._require(spoke)
        except AttemptFailed:
            self._response.abort()
            raise
        except (EventTooLarge, *_READING) as exc:
            self._response.abort()
            if not self._done:  # else everything was said, and how the connection ended is nobody's concern
                raise self._broken(exc) from exc
        except BaseException:
            if not self._done:
                self._response.abort()
            raise

    def _note(self, batch: list[Event]) -> bool:
        """Remember the end mark; return whether the batch says anything."""
        for event in batch:
            if event.done:
                self._done = True
        return speaks(batch)

    def _require(self, spoke: bool) -> None:  # noqa: FBT001 - one question, one answer
        if not spoke:
            raise failed(FailureKind.PROTOCOL, "the provider's stream holds no events", status=self.status)

    def _broken(self, exc: Exception) -> AttemptFailed:
        if isinstance(exc, EventTooLarge):
            message = f"the provider sent an event larger than {self._limit} bytes"
        elif isinstance(exc, Http1Error):
            message = from_exception(exc, answering=True).message
        else:
            message = "the provider's stream cannot be read"
        return failed(FailureKind.STREAM_BROKEN, message, status=self.status)

    async def aclose(self) -> None:
        """Close the socket at once; after ``[DONE]`` the connection is kept where possible. Safe to call twice."""
        if self._closed:
            return  # two readers of what is left would disturb each other
        self._closed = True
        if self._done:
            self._transport.finish(self._response)
        else:
            self._response.abort()


class ReadyStream:
    """A stream whose events are all there already."""

    __slots__ = ("_events", "dropped_params", "headers", "status")

    def __init__(
        self, events: Iterable[Event], *, status: int, headers: Mapping[str, str], dropped_params: tuple[str, ...] = ()
    ) -> None:
        self._events = events
        self.status = status
        self.headers = headers
        self.dropped_params = dropped_params

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield the events."""
        for event in self._events:
            yield event

    async def aclose(self) -> None:
        """Nothing is open."""
