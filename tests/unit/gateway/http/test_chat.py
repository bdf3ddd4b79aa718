"""How an answer is sent, and when what it taught is written down."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.http.chat import ChatEndpoint
from gateway.reply import Reply
from tests.fakes.contexts import services

pytestmark = pytest.mark.anyio


async def test_what_nobody_waits_for_is_done_after_the_last_byte():
    order: list[str] = []

    async def send(message: Any) -> None:
        order.append(message["type"])

    await ChatEndpoint(services())._send(Reply(200, {}, b"{}", after=lambda: order.append("after")), send)
    assert order == ["http.response.start", "http.response.body", "after"]


async def test_it_is_done_although_nobody_took_the_answer():
    order: list[str] = []

    async def gone(message: Any) -> None:
        raise ConnectionError(message)

    with pytest.raises(ConnectionError):
        await ChatEndpoint(services())._send(Reply(200, {}, b"{}", after=lambda: order.append("after")), gone)
    assert order == ["after"]
