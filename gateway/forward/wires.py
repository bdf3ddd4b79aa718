"""The wires: what each provider name means for address, key and lane. Data only; litellm is not needed to read it.

Addresses are those of litellm's provider configs; the equivalence suite holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from gateway.forward.http1.target import Target, target
from router_core.deployment import Deployment, Lane, Provider
from router_core.errors import ConfigError


class Auth(StrEnum):
    """Which header carries the key."""

    BEARER = "authorization"
    API_KEY = "api-key"
    X_API_KEY = "x-api-key"
    GOOGLE = "x-goog-api-key"


class Shape(StrEnum):
    """What requests and answers look like."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    COHERE = "cohere"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Wire:
    """One provider name. ``lane`` is what ``auto`` means; ``base_url`` the vendor's address, None where there is none.

    ``usage_option`` says whether a stream is asked for its usage by ``stream_options.include_usage``; the others send
    it anyway.
    """

    name: str
    lane: Lane
    shape: Shape = Shape.OPENAI
    base_url: str | None = None
    auth: Auth = Auth.BEARER
    usage_option: bool = True


def _rows() -> tuple[Wire, ...]:
    relay, translate = Lane.RELAY, Lane.TRANSLATE
    return (
        Wire("openai", relay, base_url="https://api.openai.com/v1"),
        Wire("custom_openai", relay),
        Wire("openai_like", relay),
        Wire("azure", relay, auth=Auth.API_KEY),
        Wire("hosted_vllm", relay),
        Wire("ollama", relay, base_url="http://localhost:11434/v1"),
        Wire("ollama_chat", relay, base_url="http://localhost:11434/v1"),
        Wire("llamafile", relay, base_url="http://127.0.0.1:8080/v1"),
        Wire("lm_studio", relay, base_url="http://localhost:1234/v1"),
        Wire("anthropic", translate, Shape.ANTHROPIC, "https://api.anthropic.com", Auth.X_API_KEY, usage_option=False),
        Wire(
            "gemini",
            translate,
            Shape.GEMINI,
            "https://generativelanguage.googleapis.com/v1beta",
            Auth.GOOGLE,
            usage_option=False,
        ),
        Wire("vertex_ai", translate, Shape.GEMINI, auth=Auth.BEARER, usage_option=False),
        Wire("cohere_chat", translate, Shape.COHERE, "https://api.cohere.com", usage_option=False),
        Wire("cohere", translate, Shape.COHERE, "https://api.cohere.com", usage_option=False),
        Wire("mistral", translate, base_url="https://api.mistral.ai/v1", usage_option=False),
        Wire("codestral", translate, base_url="https://codestral.mistral.ai/v1", usage_option=False),
        Wire("groq", translate, base_url="https://api.groq.com/openai/v1"),
        Wire("together_ai", translate, base_url="https://api.together.ai/v1"),
        Wire("openrouter", translate, base_url="https://openrouter.ai/api/v1"),
        Wire("deepseek", translate, base_url="https://api.deepseek.com/beta"),
        Wire("xai", translate, base_url="https://api.x.ai/v1"),
        Wire("fireworks_ai", translate, base_url="https://api.fireworks.ai/inference/v1"),
        Wire("perplexity", translate, base_url="https://api.perplexity.ai"),
        Wire("cerebras", translate, base_url="https://api.cerebras.ai/v1"),
        Wire("nvidia_nim", translate, base_url="https://integrate.api.nvidia.com/v1"),
        Wire("databricks", translate),
        Wire("moonshot", translate, base_url="https://api.moonshot.ai/v1"),
        Wire("deepinfra", translate, base_url="https://api.deepinfra.com/v1/openai"),
        Wire("sambanova", translate, base_url="https://api.sambanova.ai/v1"),
        Wire("dashscope", translate, base_url="https://dashscope.aliyuncs.com/compatible-mode/v1"),
        Wire("zai", translate, base_url="https://api.z.ai/api/paas/v4"),
        Wire("hyperbolic", translate, base_url="https://api.hyperbolic.xyz/v1"),
        Wire("nebius", translate, base_url="https://api.studio.nebius.ai/v1"),
    )


WIRES: Final[Mapping[str, Wire]] = {row.name: row for row in _rows()}
AZURE_API_VERSION: Final = "2024-10-21"


def wire_of(name: str) -> Wire:
    """Return a wire's row; a name the table does not know is left to litellm's own call."""
    return WIRES.get(name) or Wire(name, Lane.ACOMPLETION, Shape.OTHER, usage_option=False)


def lane_of(provider: Provider) -> Lane:
    """Return the lane a provider's calls take: what the operator says, else what the table says."""
    return provider.lane if provider.lane is not Lane.AUTO else wire_of(provider.wire).lane


def base_of(provider: Provider, deployment: Deployment) -> str:
    """Return the address calls start from. Raises ``ConfigError`` when neither the registry nor the table has one."""
    base = deployment.base_url or provider.base_url or wire_of(provider.wire).base_url
    if not base:
        msg = f"provider {provider.id} needs a base_url: wire {provider.wire!r} has no address of its own"
        raise ConfigError(msg)
    return base.rstrip("/")


def chat_url(provider: Provider, deployment: Deployment) -> Target:
    """Return the URL of a chat completion on OpenAI's wire, Azure's form included."""
    base = base_of(provider, deployment)
    if provider.wire == "azure":
        version = provider.options.get("api_version", AZURE_API_VERSION)
        return _azure_url(base, deployment.upstream_model, version)
    return openai_url(base)


@lru_cache(maxsize=1024)
def openai_url(base: str) -> Target:
    """Return ``base`` + ``/chat/completions``; a base that is already the whole URL stays."""
    return target(base if base.endswith("/chat/completions") else base + "/chat/completions")


@lru_cache(maxsize=1024)
def _azure_url(base: str, model: str, version: str) -> Target:
    """Azure names the deployment in the path, except under its newer ``/openai/v1``."""
    if base.endswith("/openai/v1"):
        return target(f"{base}/chat/completions")
    root = base.removesuffix("/openai")
    path = "" if "/openai/deployments/" in root else f"/openai/deployments/{quote(model, safe='')}"
    return target(f"{root}{path}/chat/completions?api-version={quote(version, safe='')}")


def auth_headers(auth: Auth, key: str | None) -> dict[str, str]:
    """Return the header that carries a key, or none."""
    if key is None:
        return {}
    return {"Authorization": f"Bearer {key}"} if auth is Auth.BEARER else {auth.value: key}
