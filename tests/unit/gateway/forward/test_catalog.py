"""litellm's bundled facts, read without importing litellm."""

from __future__ import annotations

import subprocess
import sys

from gateway.forward.catalog import available, facts, models
from router_core.deployment import Capability


def test_facts_are_per_million_tokens_and_name_their_source() -> None:
    found = facts("gpt-4o", "openai")
    assert found is not None
    assert (found.input_usd, found.cached_input_usd, found.output_usd) == (2.5, 1.25, 10.0)
    assert found.max_input_tokens == 128_000
    assert found.source.startswith("https://")
    assert {Capability.TOOLS, Capability.VISION, Capability.JSON_SCHEMA} <= found.capabilities


def test_the_same_name_on_two_wires_is_two_models() -> None:
    studio, vertex = facts("gemini-2.5-pro", "gemini"), facts("gemini-2.5-pro", "vertex_ai")
    assert studio is not None
    assert vertex is not None
    assert studio.key != vertex.key
    assert studio.long_context == ((200_000, 2.5, 15.0, 0.25, None),)


def test_prices_in_ranges_of_the_prompt_are_a_first_price_and_steps() -> None:
    found = facts("qwen-plus-latest", "dashscope")
    assert found is not None
    assert (found.input_usd, found.output_usd) == (0.4, 1.2)
    assert found.long_context == ((256_000, 1.2, 3.6, None, None),)


def test_a_model_of_another_vendor_is_not_found_under_a_bare_name() -> None:
    assert facts("claude-sonnet-4-5", "openai") is None
    assert facts("claude-sonnet-4-5", "anthropic") is not None
    assert facts("no-such-model", "openai") is None


def test_cache_write_prices_and_reasoning_are_read() -> None:
    found = facts("claude-sonnet-4-5", "anthropic")
    assert found is not None
    assert found.cache_write_usd == 3.75
    assert Capability.REASONING in found.capabilities


def test_every_chat_model_of_every_wire_reads() -> None:
    assert available()
    rows = [row for wire in ("openai", "anthropic", "gemini", "mistral", "cohere_chat", "groq") for row in models(wire)]
    assert len(rows) > 50
    assert all(row.input_usd is None or row.input_usd >= 0.0 for row in rows)


def test_litellm_is_not_imported() -> None:
    code = (
        "import sys; from gateway.forward.catalog import facts\n"
        "assert facts('gpt-4o', 'openai') and 'litellm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
