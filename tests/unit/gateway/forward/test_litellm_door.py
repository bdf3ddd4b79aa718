"""What we change of litellm changes nothing it answers."""

from __future__ import annotations

from importlib import resources

import orjson

from gateway.forward.litellm_door import door


def test_the_list_of_models_litellm_would_read_again_is_the_one_it_has() -> None:
    litellm = door().litellm
    written = orjson.loads(
        resources.files("litellm").joinpath("model_prices_and_context_window_backup.json").read_bytes()
    )
    read = litellm.utils.get_bundled_model_cost_map()
    assert read is litellm.model_cost
    assert {name: read[name] for name in written if name in read} == {name: written[name] for name in read}
    assert [name for name in written if name not in read and "litellm_provider" in written[name]] == []


def test_what_a_claude_model_can_do_is_still_known() -> None:
    from litellm.llms.anthropic.common_utils import AnthropicModelInfo

    assert door().litellm
    assert AnthropicModelInfo._is_adaptive_thinking_model("claude-opus-4-6", "anthropic")
    assert not AnthropicModelInfo._is_adaptive_thinking_model("claude-3-haiku-20240307", "anthropic")
