from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.buckets import (
    BOOT_SPAN_S,
    EVER,
    Span,
    Window,
    boot_bucket,
    bucket_of,
    decode,
    encode,
    expiry,
)

NOW = 1_760_000_123.0
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(names, min_size=2, max_size=5))
def test_a_stored_name_says_what_it_is_about(labels: list[str]):
    for bucket in (EVER, bucket_of(Span.MINUTE, NOW), boot_bucket("1760000000.host1", NOW)):
        assert decode(encode(bucket, tuple(labels))) == (bucket, tuple(labels))


@pytest.mark.parametrize("name", ["", "perf|a|b|c", "obs|m|12", "obs|x|1|a|b", "obs|m|soon|a|b", "~x~near|a", "~"])
def test_other_names_are_left_alone(name: str):
    assert decode(name) is None


@pytest.mark.parametrize(
    ("window", "seconds", "more"),
    [
        (Window.HOUR, 3600, 60),
        (Window.DAY, 86_400, 3600),
        (Window.WEEK, 604_800, 86_400),
        (Window.MONTH, 2_592_000, 86_400),
    ],
)
def test_a_window_covers_at_least_its_name_and_at_most_one_bucket_more(window: Window, seconds: int, more: int):
    begins = window.begins(NOW)
    assert begins is not None
    assert seconds <= NOW - begins < seconds + more


def test_all_has_no_beginning():
    assert Window.ALL.begins(NOW) is None
    assert Window.ALL.buckets(NOW) == [EVER]


def test_the_hour_of_one_key_is_read_in_whole_hours():
    assert {bucket.span for bucket in Window.HOUR.buckets(NOW, coarse=True)} == {Span.HOUR}
    begins = Window.HOUR.begins(NOW, coarse=True)
    assert begins is not None
    assert 3600 <= NOW - begins < 7200


@pytest.mark.parametrize("window", [Window.HOUR, Window.DAY, Window.WEEK, Window.MONTH])
def test_nothing_expires_while_a_window_reads_it(window: Window):
    for bucket in window.buckets(NOW):
        end = expiry(bucket)
        assert end is not None
        assert end > NOW
        assert encode(bucket, ("a", "", "x")).startswith(f"~{int(end)}~")


def test_boot_counters_start_again_before_their_names_expire():
    started = 1_760_000_000.0
    first = boot_bucket("1760000000.4711", started + 5)
    assert first == boot_bucket("1760000000.4711", started + BOOT_SPAN_S - 1)
    second = boot_bucket("1760000000.4711", started + BOOT_SPAN_S)
    assert second != first
    end = expiry(first)
    assert end is not None
    assert end > started + BOOT_SPAN_S
    assert boot_bucket("1760000000", started - 100) == boot_bucket("1760000000", started)


def test_all_never_expires():
    assert expiry(EVER) is None
    assert encode(EVER, ("a", "", "x")) == "obs|a|0|a||x"
