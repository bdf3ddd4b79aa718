from __future__ import annotations

from gateway.sessions import KEEP_S, WARM_S, Sessions

NOW = 1000.0


def used(sessions: Sessions, provider: str, *, key: str = "k", session: str | None = "s", **more: float) -> None:
    now, cached = more.get("now", NOW), int(more.get("cached", 0))
    sessions.used(key, session, provider, f"{provider}/m1", cached, now, keep=5)


def test_the_last_providers_are_kept_newest_last():
    sessions = Sessions()
    for number in range(7):
        used(sessions, f"p{number}")
    assert sessions.get("k", "s", NOW).providers == ("p2", "p3", "p4", "p5", "p6")


def test_one_provider_again_and_again_does_not_push_the_others_out():
    sessions = Sessions()
    for name in ("a", "b", "c", "d", "e", "e", "e"):
        used(sessions, name)
    assert sessions.get("k", "s", NOW).providers == ("a", "b", "c", "d", "e")


def test_a_session_belongs_to_its_key_and_a_key_has_a_memory_of_its_own():
    sessions = Sessions()
    used(sessions, "a")
    used(sessions, "b", session=None)
    assert sessions.get("other", "s", NOW).providers == ()
    assert sessions.get("k", None, NOW).providers == ("b",)
    assert sessions.get("k", "another", NOW).providers == ()


def test_a_warm_cache_is_known_as_long_as_providers_keep_it():
    sessions = Sessions()
    used(sessions, "a", cached=4000)
    held = sessions.get("k", "s", NOW)
    assert sessions.warm(held, NOW + WARM_S - 1) == {"a/m1": 4000}
    assert sessions.warm(held, NOW + WARM_S) == {}
    used(sessions, "b", cached=100)
    assert sessions.warm(sessions.get("k", "s", NOW), NOW) == {"b/m1": 100}


def test_without_a_session_no_cache_is_taken_for_warm():
    sessions = Sessions()
    used(sessions, "a", session=None, cached=4000)
    assert sessions.warm(sessions.get("k", None, NOW), NOW) == {}


def test_a_session_is_forgotten_after_an_hour_and_begins_anew():
    sessions = Sessions()
    used(sessions, "a", cached=9)
    late = NOW + KEEP_S + 1
    assert sessions.get("k", "s", late).providers == ()
    used(sessions, "b", now=late)
    assert sessions.get("k", "s", late).providers == ("b",)
    assert sessions.warm(sessions.get("k", "s", late), NOW) == {}


def test_only_so_many_are_kept_the_longest_unused_goes_first():
    sessions = Sessions(most=3)
    for name in "abc":
        used(sessions, "p", session=name)
    used(sessions, "q", session="a")
    used(sessions, "p", session="d")
    kept = {name for name in "abcd" if sessions.get("k", name, NOW).providers}
    assert kept == {"a", "c", "d"}


def test_an_unknown_session_is_empty_and_stays_so():
    sessions = Sessions()
    unknown = sessions.get("k", "s", NOW)
    used(sessions, "a", cached=5)
    assert unknown.providers == ()
    assert sessions.get("k", "nobody", NOW).warm == {}
