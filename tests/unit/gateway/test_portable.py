import pytest

from gateway.portable import BOUND, portable

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is the weather in Paris?"},
    {
        "role": "assistant",
        "content": None,
        "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}],
        "reasoning_content": "hm",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "weather", "arguments": "{}"},
                "extra_content": {"google": {"thought_signature": "c2ln"}},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
]


def test_a_conversation_without_bound_fields_goes_as_it_is():
    plain = [TALK[0], TALK[1], {"role": "assistant", "content": "Sunny."}]
    assert portable(plain, "openai") == (None, ())


def test_another_vendor_gets_the_talk_without_signatures_and_they_are_named():
    messages, dropped = portable(TALK, "openai")
    assert messages is not None
    assert messages[2] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
    }
    assert set(dropped) == {
        "messages.thinking_blocks",
        "messages.reasoning_content",
        "messages.tool_calls.extra_content",
    }
    assert messages[0] is TALK[0]
    assert messages[3] is TALK[3]


def test_the_vendor_that_signed_gets_its_own_back():
    messages, dropped = portable(TALK, "anthropic")
    assert messages is not None
    assert messages[2]["thinking_blocks"] == TALK[2]["thinking_blocks"]
    assert dropped == ("messages.tool_calls.extra_content",)


@pytest.mark.parametrize("wire", ["openai", "anthropic", "gemini"])
def test_the_clients_own_messages_are_never_changed(wire):
    before = repr(TALK)
    portable(TALK, wire)
    assert repr(TALK) == before


def test_a_user_may_write_any_field():
    said = [{"role": "user", "content": "x", "reasoning": "mine"}]
    assert portable(said, "openai") == (None, ())
    assert "reasoning" in BOUND


@pytest.mark.parametrize(
    ("wire", "role"),
    [
        ("openai", "developer"),
        ("azure", "developer"),
        ("anthropic", "system"),
        ("gemini", "system"),
        ("groq", "system"),
    ],
)
def test_openais_developer_is_everybody_elses_system(wire, role):
    talk = [{"role": "developer", "content": "Be brief.", "name": "me"}, {"role": "user", "content": "Hi"}]
    messages, dropped = portable(talk, wire)
    assert (messages or talk)[0] == {"role": role, "content": "Be brief.", "name": "me"}
    assert (talk[0]["role"], dropped) == ("developer", ())
