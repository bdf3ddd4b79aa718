from __future__ import annotations

import pytest

from gateway.http.unknown import no_such_address, wrong_method

CHAT = "use POST /v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "advice", "code"),
    [
        ("/chat/completions", CHAT, "not_found"),
        ("/v1/v1/chat/completions", CHAT, "not_found"),
        ("/v1/chat/completions/", CHAT, "not_found"),
        ("//v1//chat/completions", CHAT, "not_found"),
        ("/V1/Chat/Completions", CHAT, "not_found"),
        ("/openai/deployments/auto/chat/completions", CHAT, "not_found"),
        ("/models", "use GET /v1/models", "not_found"),
        ("/v1/models/", "use GET /v1/models", "not_found"),
        ("/feedback", "use POST /v1/feedback", "not_found"),
        ("/v1/moderations", f"not supported; {CHAT}", "not_supported"),
        ("/v1/images/generations", f"not supported; {CHAT}", "not_supported"),
        ("/v1/responses/resp_1", f"not supported; {CHAT}", "not_supported"),
        ("/embeddings", f"not supported; {CHAT}", "not_supported"),
        ("/v1/chat/completions/chatcmpl-1", f"not supported; {CHAT}", "not_supported"),
        ("/", "the dashboard is at /dashboard", "not_found"),
        ("/v1", "OpenAI's API is POST /v1/chat/completions", "not_found"),
        ("/v1/nothing", "OpenAI's API is POST /v1/chat/completions", "not_found"),
    ],
)
def test_an_address_that_is_not_here_is_answered_with_the_one_to_use(path: str, advice: str, code: str):
    error = no_such_address("POST", path)
    assert (error.status, error.code, error.should_retry) == (404, code, False)
    assert error.message.startswith(f"there is no POST {path}: ")
    assert advice in error.message


def test_a_method_that_is_not_here_is_answered_with_the_one_to_use():
    error = wrong_method("DELETE", "/v1/models", "GET")
    assert (error.status, error.code, error.headers) == (405, "method_not_allowed", {"allow": "GET"})
    assert error.message == "there is no DELETE /v1/models: use GET"
    assert wrong_method("BREW", "/v1/models", "").headers == {}


def test_what_is_echoed_is_short_and_printable():
    error = no_such_address("G" * 50, "/\r\nset-cookie:\x00é" + "a" * 500)
    assert error.message.startswith(f"there is no {'G' * 20} /set-cookie:aaaa")
    assert len(error.message) < 300
    assert error.message.isprintable()
