from __future__ import annotations

from typing import Any

import pytest

from router_core.deployment import Limits, QualityPrior, TimeoutOverrides
from router_core.errors import ConfigError
from router_core.price import Price
from tests.unit.router_core.builders import deployment

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Price(-1.0, 1.0), "price input"),
        (lambda: Price(1.0, INFINITE), "price output"),
        (lambda: Price(1.0, 1.0, cached_input=NAN), "price cached_input"),
        (lambda: Price(1.0, 1.0, request_usd=-0.1), "price request_usd"),
        (lambda: Limits(requests_per_minute=0), "requests_per_minute"),
        (lambda: Limits(max_in_flight=-5), "max_in_flight"),
        (lambda: TimeoutOverrides(idle_s=0.0), "idle_s"),
        (lambda: TimeoutOverrides(total_s=NAN), "total_s"),
        (lambda: QualityPrior(mean=1.1), "quality mean"),
        (lambda: QualityPrior(weight=0.0), "quality weight"),
        (lambda: deployment(context_window=0), "context_window of acme/m1"),
        (lambda: deployment(weight=-1.0), "weight of acme/m1"),
        (lambda: deployment(weight=INFINITE), "weight of acme/m1"),
        (lambda: deployment(weight=NAN), "weight of acme/m1"),
    ],
)
def test_an_impossible_value_is_refused_by_name(make: Any, says: str):
    with pytest.raises(ConfigError, match=says):
        make()


def test_an_id_begins_with_its_provider():
    from router_core.deployment import Deployment

    with pytest.raises(ConfigError, match="'beta/m1' must start with its provider, 'acme'"):
        Deployment("beta/m1", "acme", "m1", 1000, Price(1.0, 1.0))


def test_none_means_unlimited_and_the_policy_s_own():
    assert Limits().tokens_per_minute is None
    assert TimeoutOverrides().connect_s is None


def test_lists_may_call_it_by_id_model_or_provider():
    assert deployment("acme/m1#eu").names == {"acme/m1#eu", "acme/m1", "acme", "m1"}


def test_the_provider_s_own_name_of_the_model_defaults_to_the_public_one():
    assert deployment("acme/m1").upstream_model == "m1"
    assert deployment("acme/m1", upstream_model="accounts/x/m1").upstream_model == "accounts/x/m1"


@pytest.mark.parametrize(
    ("price", "rates"),
    [
        (Price(1.0, 2.0), (1e-6, 1e-6, 2e-6, 0.0)),
        (Price(1.0, 2.0, cached_input=0.1), (1e-6, 1e-7, 2e-6, 0.0)),
        (Price(1.0, 2.0, reasoning=3.0, request_usd=0.5), (1e-6, 1e-6, 3e-6, 0.5)),
        (Price(1.0, 2.0, reasoning=1.0), (1e-6, 1e-6, 2e-6, 0.0)),
    ],
)
def test_rates_are_dollars_per_token_and_reckon_with_the_dearer_output(price: Price, rates: tuple[float, ...]):
    assert deployment(price=price).rates == pytest.approx(rates)


def test_the_prior_is_the_task_s_else_the_default_else_neutral():
    good, usual = QualityPrior(0.9, 20.0), QualityPrior(0.7, 5.0)
    known = deployment(quality={"testing": good, "default": usual})
    assert known.prior("testing") is good
    assert known.prior("planning") is usual
    assert deployment().prior("testing") == QualityPrior(0.5, 10.0)
