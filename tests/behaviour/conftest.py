"""What the tests of the edge share: one open gateway, started once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.edge import Edge, running_edge


@pytest.fixture(scope="session")
async def open_edge(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """A gateway without keys; what the providers recorded is another test's until ``edge`` forgets it."""
    async with running_edge(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


@pytest.fixture
def edge(open_edge: Edge) -> Edge:
    """The open gateway, with nothing recorded and nothing wrong."""
    open_edge.reset()
    return open_edge
