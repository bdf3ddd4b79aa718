from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.cli.banner import banner
from gateway.keys import KeyRing
from tests.fakes.contexts import services

KEY = "a-client-key-of-this-test"


def shown(*, keyed: bool, host: str = "127.0.0.1") -> str:
    keys = KeyRing(api_keys=(KEY,)) if keyed else KeyRing()
    parts: Any = SimpleNamespace(
        settings=SimpleNamespace(host=host), config=services().config, keys=keys, demo=(), warnings=()
    )
    return banner(parts, 8123)


@pytest.mark.parametrize(("keyed", "sent"), [(False, "any"), (True, KEY)])
def test_what_it_says_to_paste_into_a_shell_sends_a_key(keyed: bool, sent: str):
    text = shown(keyed=keyed)
    command = text.partition("curl ")[2].partition("\n\n")[0]
    done = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {command}"],
        env={"PATH": os.environ["PATH"], "MOE_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.splitlines()
    assert f"authorization: Bearer {sent}" in words
    assert "http://127.0.0.1:8123/v1/chat/completions" in words
    assert KEY not in text


@pytest.mark.parametrize(("keyed", "sent"), [(False, "any"), (True, KEY)])
def test_what_it_says_to_run_in_python_makes_a_client_with_a_key(keyed: bool, sent: str):
    code = textwrap.dedent(shown(keyed=keyed).partition("or in Python:\n")[2].partition("\n\n")[0])
    *setting, call = code.splitlines()
    compile(call, "banner", "exec")
    code = "\n".join([*setting, "print(client.api_key, client.base_url)"])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "MOE_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [sent, "http://127.0.0.1:8123/v1/"]


def test_an_address_that_others_reach_is_shown_as_one_that_can_be_asked():
    assert "listens on http://127.0.0.1:8123" in shown(keyed=True, host="0.0.0.0")
    assert "listens on http://[::1]:8123" in shown(keyed=True, host="::1")
