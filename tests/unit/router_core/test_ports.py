from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from router_core import ports
from router_core.ports import Answer, Batch, Call, Event, Pull, Stream
from router_core.registry import Registry
from tests.unit.router_core.builders import registry


class Chunks:
    """A stream as a forwarder may write one: no base class needed."""

    status = 200
    headers: Mapping[str, str] = {}
    dropped_params: tuple[str, ...] = ()

    async def __aiter__(self) -> AsyncIterator[Event]:
        yield Event(done=True)

    async def aclose(self) -> None:
        """Nothing to close."""


def test_every_exported_name_is_there():
    assert all(hasattr(ports, name) for name in ports.__all__)


def test_a_stream_is_told_from_an_answer_by_its_shape():
    assert isinstance(Chunks(), Stream)
    assert not isinstance(Answer({}), Stream)


def test_a_call_says_only_what_to_change_in_the_client_s_body():
    setup: Registry = registry("acme/m1")
    call = Call(setup.deployments["acme/m1"], setup.providers["acme"], {"messages": []}, stream=False, deadline=9.0)
    assert (call.overrides, call.drop_params, call.connect_s) == ({}, False, 5.0)


def test_no_two_values_share_what_they_were_not_given():
    assert Answer({}).headers is not Answer({}).headers
    assert Batch("w:1").sums is not Batch("w:2").sums
    assert Pull("1").maxima is not Pull("2").maxima
