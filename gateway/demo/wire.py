"""What a wire is: how one vendor's requests are read and its answers written. Implemented by the three wire files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from gateway.demo.answer import Answer
from gateway.demo.ask import Ask, Complaint, Json


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event, framed. ``content`` marks those that carry a piece of the answer."""

    data: bytes
    content: bool = False


class Wire(Protocol):
    """One vendor's wire."""

    name: str
    done: bytes | None
    """The event that marks a stream's end after its last content, None where the wire has none."""

    def is_chat(self, method: str, path: str) -> bool:
        """Say whether a call asks for an answer."""
        ...

    def is_models(self, method: str, path: str) -> bool:
        """Say whether a call asks for the list of models."""
        ...

    def read(self, body: Json, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Ask:
        """Read a call. Raises ``Refused`` for what the vendor would refuse."""
        ...

    def whole(self, answer: Answer, ask: Ask) -> Json:
        """Render an answer as one body."""
        ...

    def events(self, answer: Answer, ask: Ask) -> list[Event]:
        """Render an answer as a stream of events, the end mark included."""
        ...

    def complain(self, complaint: Complaint) -> Json:
        """Render an error body in the vendor's shape."""
        ...

    def error_event(self, complaint: Complaint) -> bytes:
        """Render an error as an event within a stream."""
        ...

    def models(self, names: Sequence[str]) -> Json:
        """Render the list of models."""
        ...

    def empty(self, body: Json) -> Json:
        """Return an answer's body with its list of answers emptied."""
        ...

    def headers(self, answer_id: str) -> dict[str, str]:
        """Return the response headers the vendor is known for."""
        ...


def data_event(payload: Json) -> bytes:
    """Frame a JSON value as an unnamed server-sent event."""
    return b"data: " + orjson.dumps(payload) + b"\n\n"


def named_event(name: str, payload: Json) -> bytes:
    """Frame a JSON value as a named server-sent event."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(payload) + b"\n\n"
