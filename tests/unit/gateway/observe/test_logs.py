from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.logs import MAX_WAITING, LineFormatter, Logs, RequestLog
from gateway.secrets import Secret
from tests.fakes.outcomes import attempt, request

log = logging.getLogger("gateway.test")


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs = Logs(form="json", stream=stream)
    logs.start()
    stream.stop = logs.stop  # type: ignore[attr-defined]
    yield stream
    logs.stop()


def lines(out: io.StringIO) -> list[dict[str, object]]:
    out.stop()  # type: ignore[attr-defined]
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_request_is_one_line_with_its_attempts(out: io.StringIO):
    failed = attempt("acme/m1", 5.0, failure="timeout", status=None)
    outcome = request(failed, attempt("beta/m2", 5.0, status=200), key_id="k1", tags=("web",))
    RequestLog().request(outcome, {"request_id": "r-1", "rationale": "the prompt said SECRET WORDS"})
    (line,) = lines(out)
    assert (line["event"], line["level"], line["status"], line["served_by"]) == ("request", "info", 200, "beta/m2")
    assert (line["request_id"], line["key_id"], line["tags"]) == ("r-1", "k1", ["web"])
    assert [each["result"] for each in line["attempts"]] == ["timeout", "ok"]  # type: ignore[attr-defined]
    assert "SECRET WORDS" not in out.getvalue()


def test_a_failed_request_is_a_warning_and_a_client_that_left_is_not(out: io.StringIO):
    RequestLog().request(request(attempt(failure="server"), error_code="upstream_failed"), {})
    RequestLog().request(request(attempt(failure="cancelled"), status=499), {})
    assert [(line["level"], line.get("error_code")) for line in lines(out)] == [
        ("warning", "upstream_failed"),
        ("info", None),
    ]


def test_no_secret_reaches_a_line(out: io.StringIO):
    secret = Secret("zebra-crossing-4711")
    log.warning("calling with %s and sk-abcdefghijkl", secret.reveal())
    RequestLog().request(request(attempt(), tags=("sk-abcdefghijkl", "zebra-crossing-4711")), {})
    text = "".join(json.dumps(line) for line in lines(out))
    assert "zebra" not in text
    assert "abcdefghijkl" not in text


@pytest.mark.parametrize("field", ["key_id", "policy", "error_code", "served_by", "tags", "request_id", "deployment"])
def test_whatever_text_of_a_request_looks_like_a_key_is_masked(out: io.StringIO, field: str):
    secret = Secret("walrus-crossing-4711")
    for said in ("sk-abcdefghijkl", "moe-abcdefghijkl", secret.reveal()):
        call = attempt(said) if field == "deployment" else attempt()
        changes = {} if field in {"deployment", "request_id"} else {field: (said,) if field == "tags" else said}
        RequestLog().request(request(call, **changes), {"request_id": said if field == "request_id" else "r-1"})
    found = lines(out)
    assert len(found) == 3
    assert all(line["decision_id"] == "d-1" for line in found)
    assert not any(said in json.dumps(found) for said in ("abcdefghijkl", "walrus"))
    assert json.dumps(found).count("[redacted]") >= 3


def test_a_secret_that_is_known_only_later_is_masked_from_then_on(out: io.StringIO):
    RequestLog().request(request(attempt(), key_id="otter-crossing-4711"), {})
    Secret("otter-crossing-4711")
    RequestLog().request(request(attempt(), key_id="otter-crossing-4711"), {})
    assert [line["key_id"] for line in lines(out)][1] == "[redacted]"


@given(st.floats(0.0, 4e9))
def test_a_line_says_when_it_was_written(at: float):
    record = logging.makeLogRecord({"created": at, "msg": "it happened", "levelname": "INFO"})
    written = json.loads(LineFormatter().format(record))["timestamp"]
    assert written == datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def test_an_exception_stays_on_its_line(out: io.StringIO):
    try:
        int("line one\nline two")
    except ValueError:
        log.exception("it broke")
    (line,) = lines(out)
    assert "line two" in str(line["exception"])


def test_a_line_feed_in_a_value_makes_no_second_line(out: io.StringIO):
    log.info("a\n%s", '{"event": "forged"}')
    assert len(lines(out)) == 1


def test_the_console_form_is_for_people():
    out = io.StringIO()
    logs = Logs(form="console", stream=out)
    logs.start()
    RequestLog().request(request(attempt()), {})
    logs.stop()
    assert "request" in out.getvalue()
    assert not out.getvalue().startswith("{")


class Stuck(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def write(self, text: str) -> int:
        self.free.wait(10)
        return super().write(text)


def test_a_pipe_that_nobody_reads_costs_lines_and_not_time():
    out = Stuck()
    logs = Logs(form="json", stream=out)
    logs.start()
    for _ in range(MAX_WAITING + 300):  # up to 200 may be in the writing thread's hands
        log.info("one more")
    assert logs.lost >= 99
    out.free.set()
    logs.stop()


def test_stopping_gives_the_former_handlers_back():
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    logs = Logs(level="debug", stream=io.StringIO())
    logs.start()
    assert root.level == logging.DEBUG
    logs.stop()
    assert (root.level, root.handlers) == before
