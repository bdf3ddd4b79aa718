"""The door to litellm: imported once, lazily, with its network habits turned off; what we take of it is listed here.

Importing takes seconds and about 160 MB, so it happens in a thread before readiness, and never when every upstream
speaks OpenAI's wire.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from gateway.memory import collector_rests

_QUIET: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no price list from the network
    "LITELLM_MODE": "PRODUCTION",  # no .env file read
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",  # no header list from the network
}
_lock: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Door:
    """What we use of litellm. Types are litellm's own and unknown to us: values are checked where they come out."""

    litellm: Any
    chat_config: Callable[[str, str], Any]
    anthropic: Any
    anthropic_parser: Callable[..., Any]
    gemini: Any
    vertex: Any
    gemini_parser: Callable[..., Any]
    gemini_body: Callable[..., Any]
    model_response: Callable[..., Any]
    unsupported: type[Exception]


class Quiet:
    """A logging object for litellm's translators: every method does nothing."""

    def __init__(self) -> None:
        self.model_call_details: dict[str, Any] = {}
        self.optional_params: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a method that does nothing, whatever its name."""
        return _nothing


def _nothing(*_: Any, **__: Any) -> None:
    return None


def door() -> Door:
    """Import litellm if need be and return what we use of it. Blocks for seconds the first time."""
    with _lock:
        return _open()


async def open_door() -> Door:
    """Return the door without blocking the loop: the import runs in a thread."""
    if _open.cache_info().currsize:
        return _open()
    return await asyncio.to_thread(door)


def is_open() -> bool:
    """Say whether litellm is imported."""
    return bool(_open.cache_info().currsize)


@lru_cache(maxsize=1)
def _open() -> Door:
    os.environ.update(_QUIET)
    # Of the many objects that are made none is garbage: looking for it takes an eighth of the time.
    with collector_rests(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic remarks on litellm's own types; nobody here can act on it
        return _import()


def _import() -> Door:
    # Imported here and nowhere else, so that a gateway of relayed providers never pays for it.
    import litellm
    from litellm.llms.anthropic.chat.handler import ModelResponseIterator as AnthropicParser
    from litellm.llms.vertex_ai.gemini.transformation import transform_request_body
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import ModelResponseIterator as GeminiParser
    from litellm.types.utils import (
        Choices,
        Delta,
        LlmProviders,
        Message,
        ModelResponse,
        ModelResponseStream,
        StreamingChoices,
        Usage,
    )
    from litellm.utils import ProviderConfigManager

    for model in (Delta, StreamingChoices, ModelResponseStream, Message, Choices, Usage, ModelResponse):
        model.model_rebuild()  # else the first chunk of the first stream pays for it
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.drop_params = False
    litellm.modify_params = False
    litellm.disable_hf_tokenizer_download = True  # it would fetch a tokenizer to count tokens, blocking the loop
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # its lines quote prompts; what matters comes as exceptions

    _follow_no_redirects()
    _remember_capabilities()

    def chat_config(provider: str, model: str) -> Any:
        return ProviderConfigManager.get_provider_chat_config(model=model, provider=LlmProviders(provider))

    return Door(
        litellm=litellm,
        chat_config=chat_config,
        anthropic=litellm.AnthropicConfig(),
        anthropic_parser=AnthropicParser,
        gemini=litellm.GoogleAIStudioGeminiConfig(),
        vertex=litellm.VertexGeminiConfig(),
        gemini_parser=GeminiParser,
        gemini_body=transform_request_body,
        model_response=ModelResponse,
        unsupported=litellm.UnsupportedParamsError,
    )


def _follow_no_redirects() -> None:
    """Keep litellm's own clients from carrying a key to wherever a redirect points; it has no setting for that."""
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler
    from litellm.llms.openai.common_utils import BaseOpenAILLM

    AsyncHTTPHandler.follow_redirects = property(lambda _: False, lambda _, __: None)
    make = BaseOpenAILLM._get_async_http_client  # noqa: SLF001 - there is no other place to take hold of

    def staying(*args: Any, **kwargs: Any) -> Any:
        client = make(*args, **kwargs)
        if client is not None:
            client.follow_redirects = False
        return client

    BaseOpenAILLM._get_async_http_client = staticmethod(staying)  # noqa: SLF001


def _remember_capabilities() -> None:
    """Let litellm look up once, not per call, what a Claude model can do: most of a request's translation otherwise.

    Sound because its price list never changes here, and bounded because model names come from the registry. It would
    read the list a second time to look there, too: the one it has is that list, and the copy would take 10 MiB.
    """
    from litellm import model_cost, utils
    from litellm.llms.anthropic import common_utils
    from litellm.llms.anthropic.chat import transformation

    utils.get_bundled_model_cost_map = lambda: model_cost
    info = common_utils.AnthropicModelInfo
    for name in ("_supports_model_capability", "_get_model_capability", "_supports_sampling_params"):
        found = getattr(info, name, None)
        if found is not None and isinstance(info.__dict__.get(name), staticmethod):
            setattr(info, name, staticmethod(lru_cache(maxsize=4096)(found)))
    config = transformation.AnthropicConfig
    config.get_max_tokens_for_model = staticmethod(lru_cache(maxsize=4096)(config.get_max_tokens_for_model))
    question = "supports_mid_conversation_system"
    setattr(transformation, question, lru_cache(maxsize=4096)(getattr(transformation, question)))
