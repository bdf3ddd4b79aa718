from __future__ import annotations

import pytest

from router_core import code as code_of
from router_core import verify as v
from router_core.code import parses
from router_core.verify import refuses, verify

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def held(request, message, finish="stop"):
    return {check.name: check.held for check in verify(request, message, finish)}


def call(name="weather", arguments='{"city": "Rome"}'):
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


def test_plain_prose_needs_no_check():
    assert verify({}, {"content": "Hello, here you are."}, "stop") == ()


@pytest.mark.parametrize("message", [{}, {"content": None}, {"content": "  \n"}, {"content": 3, "tool_calls": "no"}])
def test_an_empty_answer_is_found(message):
    assert held({}, message) == {"not_empty": False}


def test_a_cut_answer_is_found_and_its_open_code_block_is_not_a_second_fault():
    assert held({}, {"content": "Here:\n```python\nprint(1"}, "length") == {"not_cut": False}
    assert held({}, {"content": "Here:\n```python\nprint(1"}) == {"code_closed": False}


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist with this request.",
        "As an AI language model, I can't do this",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Lo siento, no puedo ayudar con eso.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Извините, я не могу помочь с этим.",
        "对不起，我不能帮助你。",
        "申し訳ありませんが、お手伝いできません。",
    ],
)
def test_refusals_are_recognised_in_several_languages(text):
    assert held({}, {"content": text}) == {"not_refused": False}


@pytest.mark.parametrize(
    "text",
    [
        "I cannot stress enough how good this is.",
        "Sorry for the delay! Here it is.",
        "I can't help with that." + "x" * 700,
    ],
)
def test_what_only_sounds_like_a_refusal_is_none(text):
    assert not refuses(text)


def test_the_provider_s_own_refusal_counts():
    assert held({}, {"content": "no", "refusal": "policy"}) == {"not_refused": False}


@pytest.mark.parametrize(
    ("wanted", "text", "result"),
    [
        ({"type": "json_object"}, '{"a": 1}', {"json": True}),
        ({"type": "json_object"}, "a: 1", {"json": False}),
        ({"type": "json_object"}, "[" * 100_000, {"json": False}),
        ({"type": "text"}, "a: 1", {}),
        ("json", "a: 1", {}),
        (
            {"type": "json_schema", "json_schema": {"schema": {"type": "array"}}},
            "[]",
            {"json": True, "json_schema": True},
        ),
        (
            {"type": "json_schema", "json_schema": {"schema": {"type": "array"}}},
            "{}",
            {"json": True, "json_schema": False},
        ),
        ({"type": "json_schema"}, "{}", {"json": True}),
        ({"type": "json_schema", "json_schema": {}}, "{}", {"json": True}),
    ],
)
def test_the_response_format_is_held_against_the_answer(wanted, text, result):
    assert held({"response_format": wanted}, {"content": text}) == result


@pytest.mark.parametrize(
    ("made", "fine"),
    [
        (call(), True),
        (call(arguments="{}"), False),
        (call(arguments=""), False),
        (call(arguments='{"city": 3}'), False),
        (call(arguments="[]"), False),
        (call(arguments="{city}"), False),
        (call(arguments={"city": "Rome"}), False),
        (call(name="time"), False),
        (call(name=["weather"]), False),
    ],
)
def test_tool_arguments_are_held_against_their_schema(made, fine):
    request = {"tools": [WEATHER, "odd", {"function": {"name": 3}}]}
    assert held(request, {"content": None, "tool_calls": [made]}) == {"tool_arguments": fine}


def test_a_tool_without_a_schema_takes_any_object_and_calls_of_unknown_shape_are_passed_over():
    request = {"tools": [{"function": {"name": "free"}}]}
    assert held(request, {"tool_calls": [call("free", '{"x": 1}'), 3, {}]}) == {"tool_arguments": True}
    assert held({"tools": "none"}, {"tool_calls": [call("free")]}) == {"tool_arguments": False}


@pytest.mark.parametrize(
    ("language", "code", "told"),
    [
        ("python", "def f():\n    return 1\n", ""),
        ("py", "def f(:\n", "not Python"),
        ("python", ">>> 1 + 1\n2\n", None),
        ("python", "x = '\\d'\n", ""),
        ("python", "a\0b", "not Python"),
        ("python", "(" * 500 + ")" * 500, "not Python"),
        ("json", '{"a": [1]}', ""),
        ("json", "{a: 1}", "not JSON"),
        ("js", "function f() { return '}'; } // }", ""),
        ("go", "func f() { if (x { } }", "brackets do not match"),
        ("rust", "fn f() { let x = vec![1];", "brackets are left open"),
        ("java", "} {", None),
        ("c", "int x; /* never closed {", ""),
        ("bash", "if [", None),
    ],
)
def test_code_is_parsed_where_its_language_can_be(language, code, told):
    assert parses(language, code) == told


def test_python_too_deep_for_the_parser_is_not_judged(monkeypatch):
    def deep(code):
        raise RecursionError

    monkeypatch.setattr(code_of.ast, "parse", deep)
    assert parses("python", "x") is None


def test_each_complete_block_is_checked_up_to_a_bound():
    text = "Look:\n```python\nx = 1\n```\nand\n```json\n{bad}\n```\nand\n```text\nfree\n```\n"
    assert held({}, {"content": text}) == {"code_python": True, "code_json": False}
    many = "```json\n{}\n```\n" * 50
    assert len(verify({}, {"content": many}, "stop")) == v.MAX_BLOCKS


def test_a_text_beyond_the_bound_is_left_alone():
    assert held({"response_format": {"type": "json_object"}}, {"content": "x" * (v.MAX_CHARS + 1)}) == {}


# --- answers as models really give them


@pytest.mark.parametrize(
    ("language", "code", "told"),
    [
        ("python", "    def total(self):\n        return sum(self.prices)\n", ""),
        ("python", "!pip install pandas\nimport pandas as pd\n", None),
        ("python", "%matplotlib inline\nimport numpy\n", None),
        ("python", "client = Client(api_key=<YOUR_API_KEY>)\n", None),
        ("python", "def f():\n    ... # as before\n    return x y\n", None),
        ("python", "elif x > 3:\n    y = 1\n", None),
        ("python", "async def f():\n    async with a as b:\n        await b\n\nawait f()\n", ""),
        ("python", "print 'python two'\n", "not Python"),
        ("python", "def f(x)\n    return x\n", "not Python"),
        ("json", '{\n  // the port\n  "port": 80\n}', None),
        ("json", '{"a": 1, ...}', None),
        ("json", '{"a": 1}\n\n{"a": 2}\n', None),
        ("json", '{"a": 1}\n{"a": }\n', "not JSON"),
        ("json", '{"key": "<your key>", "b": }', None),
        ("json", '{"a": NaN}', "not JSON"),
        ("json", "", None),
        ("json", '{"a": 1,}', "not JSON"),
        ("json", "[" * 100_000, "not JSON"),
        ("rust", "fn longest<'a>(x: &'a str, y: &'a str) -> &'a str { if x.len() > 1 { x } else { y } }", ""),
        ("rust", "let open = '{';\nlet s: &'static str = \"}\";", ""),
        ("rust", "fn f<'a>(x: &'a str { }", "brackets are left open"),
        ("js", "const word = /[({]/; const ok = s.replace(/\\)/g, '');", ""),
        ("js", "const t = `a ${b} }`;", ""),
        ("ts", "function f() {\n  // ... existing code\n  if (x) {\n}", None),
        ("jsx", 'return <p title="(">{names.map((n) => <b>{n}</b>)}</p>;', ""),
        ("java", "    }\n    return total;\n}\n", None),
        ("java", 'String s = """\n  {\n""";', ""),
        ("kotlin", 'fun f(m: Map<String, Int>) = "${m["k"]}"', ""),
        ("cpp", "int main() { std::vector<int> v{1, 2}; return 0;", "brackets are left open"),
        ("go", "func f() (int, error) { return 1, nil }", ""),
        ("html", "<div", None),
        ("", "anything (", None),
    ],
)
def test_excerpts_and_settings_for_people_are_not_called_wrong(language, code, told):
    assert parses(language, code) == told


def test_fences_are_read_as_markdown_reads_them():
    nested = "````markdown\n```python\nx = (\n```\n````\n"
    assert held({}, {"content": nested}) == {}
    listed = "1. First:\n\n    ```python\n    def f():\n        return 1\n    ```\n2. Then done.\n"
    assert held({}, {"content": listed}) == {"code_python": True}
    assert held({}, {"content": "~~~json\n{}\n~~~\n"}) == {"code_json": True}
    assert held({}, {"content": "Write ``` to open a block, that is all."}) == {}
    assert held({}, {"content": "```js title=a.js\nlet a = [1];\n```"}) == {"code_js": True}
    assert held({}, {"content": "```python\nx = 1\n```\n```python\ny = ("}) == {
        "code_python": True,
        "code_closed": False,
    }


def test_code_beyond_a_bound_is_left_alone():
    block = "```python\n" + "x = 1\n" * 2500 + "```\n"
    assert [check.name for check in verify({}, {"content": block * 3}, "stop")] == ["code_python"]


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}\n\nLet me know if you need anything else!',
        'Here is the JSON:\n{"a": 1}',
        '```json\n{"a": 1}\n```',
        '{"a": NaN}',
    ],
)
def test_json_with_something_around_it_is_not_what_was_asked_for(text):
    assert held({"response_format": {"type": "json_object"}}, {"content": text})["json"] is False


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_words_where_a_tool_had_to_be_called_are_a_fault(choice):
    request = {"tools": [WEATHER], "tool_choice": choice}
    assert held(request, {"content": "It is sunny in Rome."}) == {"tool_called": False}
    assert held(request, {"tool_calls": [call()]}) == {"tool_arguments": True}
    assert held({**request, "tool_choice": "auto"}, {"content": "It is sunny."}) == {}


@pytest.mark.parametrize(
    "text",
    [
        "I'm unable to help with that request.",
        "I\u2019m sorry, but I can\u2019t assist with that.",
        "I'm not able to provide medical dosages.",
        "I am sorry, I cannot write that.",
        "Desculpe, mas não posso ajudar com isso.",
        "Mi dispiace, ma non posso aiutarti.",
        "很抱歉，我无法提供这类信息。",
        "죄송하지만 그 요청은 도와드릴 수 없습니다.",
        "Het spijt me, maar ik kan daar niet bij helpen.",
        "Przykro mi, ale nie mogę w tym pomóc.",
        "К сожалению, я не могу с этим помочь.",
        "عذرًا، لا يمكنني المساعدة في ذلك.",
    ],
)
def test_more_refusals_are_recognised(text):
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can only find two of the three files. Here they are.",
        "I'm sorry to hear that your cat is ill.",
        "Sorry, I misread the table. The total is 12.",
        "The function cannot help here, use a loop.",
        "I'm not able-bodied, wrote the author.",
    ],
)
def test_apologies_are_no_refusals(text):
    assert not refuses(text)
