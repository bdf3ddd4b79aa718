"""What the tests of the edge share: an open gateway and one with keys, each started once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fakes.edge import ADMIN, CLIENT, HASTY, OTHER_CLIENT, PROVIDER_KEYS, SCRAPER, Edge, bearer, running_edge


def lent(shared: Edge) -> Iterator[Edge]:
    """Yield a gateway that many tests share, with nothing recorded and nothing wrong, now and for whoever comes next."""
    shared.reset()
    yield shared
    shared.reset()


@pytest.fixture(scope="session")
async def open_edge(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """A gateway without keys; what the providers recorded is another test's until ``edge`` forgets it."""
    async with running_edge(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


@pytest.fixture
def edge(open_edge: Edge) -> Iterator[Edge]:
    """The open gateway, with nothing recorded and nothing wrong."""
    yield from lent(open_edge)


@pytest.fixture(scope="session")
async def hasty_edge(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """A gateway without keys that waits a second for heads and bodies: only for tests of just that."""
    async with running_edge(tmp_path_factory.mktemp("hasty"), policy=HASTY) as edge:
        yield edge


@pytest.fixture
def hasty(hasty_edge: Edge) -> Iterator[Edge]:
    """The hasty gateway, with nothing recorded and nothing wrong."""
    yield from lent(hasty_edge)


@pytest.fixture(scope="session")
async def keyed_edge(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """A gateway with two clients, an operator and a scraper, before providers whose keys are canaries."""
    environment = {
        "MOE_API_KEYS": f"{CLIENT},{OTHER_CLIENT}",
        "MOE_ADMIN_KEYS": ADMIN,
        "MOE_METRICS_KEYS": SCRAPER,
        "CANARY_ALPHA": PROVIDER_KEYS["alpha"],
        "CANARY_BETA": PROVIDER_KEYS["beta"],
        "MOE_LOG_LEVEL": "debug",
    }
    async with running_edge(
        tmp_path_factory.mktemp("keyed"),
        environment=environment,
        provider_keys={"alpha": "${CANARY_ALPHA}", "beta": "${CANARY_BETA}"},
        keys=bearer(CLIENT),
        admin=bearer(ADMIN),
        metrics=bearer(SCRAPER),
    ) as edge:
        yield edge


@pytest.fixture
def keyed(keyed_edge: Edge) -> Iterator[Edge]:
    """The gateway with keys, with nothing recorded and nothing wrong."""
    yield from lent(keyed_edge)
