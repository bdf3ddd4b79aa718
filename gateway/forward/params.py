"""Which of a request's parameters a translated provider gets. Nothing of a request becomes a keyword of litellm.

| a parameter that the provider does not take                          | what happens                            |
|----------------------------------------------------------------------|-----------------------------------------|
| says what happens anyway (n=1, logprobs=false, an empty list, null)  | left out                                |
| is advice or bookkeeping (``ADVISORY``)                              | left out, named in ``dropped_params``   |
| anything else, dropping allowed by the operator                      | left out, named in ``dropped_params``   |
| anything else                                                        | refused: 400 that names it              |

On wires that look like OpenAI's the last two rows are the provider's to judge: what litellm does not know travels on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from gateway.forward.litellm_door import Door
from gateway.forward.words import clean
from router_core.errors import AttemptFailed
from router_core.needs import KNOWN
from router_core.outcome import Failure, FailureKind

STANDARD: Final = KNOWN - {"messages", "model", "stream"}
"""The parameters of OpenAI's chat completions, and ``thinking``, which litellm treats as one of them."""

ADVISORY: Final = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "stream_options",
        "user",
        "verbosity",
    }
)
"""Advice, bookkeeping and best-effort wishes: an answer without them is still an answer to the question asked.

``parallel_tool_calls: false`` is a demand, not advice; see ``_advice``.
"""

_OURS: Final = frozenset({"model", "messages", "stream", "stream_options"})
_STEERING: Final = frozenset({"extra_headers", "extra_body", "extra_query"})
_NO_WISH: Final[Mapping[str, tuple[Any, ...]]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "stop": ([], ""),
    "tools": ([],),
    "functions": ([],),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "tool_choice": ("auto",),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "service_tier": ("auto", "default"),
}


@dataclass(frozen=True, slots=True)
class Params:
    """``known`` go through litellm's mapping, ``extra`` into the body as they are, ``dropped`` nowhere."""

    known: dict[str, Any]
    extra: dict[str, Any]
    dropped: tuple[str, ...]


def split(body: Mapping[str, Any], supported: frozenset[str], native: frozenset[str], *, drop: bool) -> Params:
    """Sort a request's parameters for a wire unlike OpenAI's. Raises ``AttemptFailed`` for one it cannot take."""
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    dropped: list[str] = []
    for name, value in body.items():
        if name in _OURS or value is None:
            continue
        if name in supported and name not in _STEERING:
            known[name] = value
        elif name in native:
            extra[name] = value
        elif value in _NO_WISH.get(name, ()):
            continue
        elif drop or _advice(name, value):
            dropped.append(name)
        else:
            raise refused(name)
    return Params(known, extra, tuple(dropped))


def split_openai(body: Mapping[str, Any], supported: frozenset[str], *, drop: bool) -> Params:
    """Sort a request's parameters for a wire that looks like OpenAI's: what is not known there goes as it is."""
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    dropped: list[str] = []
    for name, value in body.items():
        if name in _OURS:
            continue
        if name in supported and name in STANDARD and value is not None:
            known[name] = value
        elif drop and name in STANDARD:
            if value is not None and value not in _NO_WISH.get(name, ()):
                dropped.append(name)
        else:
            extra[name] = value
    return Params(known, extra, tuple(dropped))


def mapped(
    config: Any, door: Door, params: Params, model: str, *, drop: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return litellm's mapping of the known parameters, and the names of those it could not map and may drop.

    Raises ``AttemptFailed`` when one cannot be mapped and may not be dropped.
    """
    try:
        return config.map_openai_params(dict(params.known), {}, model, drop_params=False), ()
    except Exception as exc:
        if not (drop and isinstance(exc, door.unsupported)):
            raise untranslatable(exc) from exc
    culprits = tuple(name for name, value in params.known.items() if _unmappable(config, name, value, model))
    kept = {name: value for name, value in params.known.items() if name not in culprits}
    try:
        return config.map_openai_params(kept, {}, model, drop_params=True), culprits
    except Exception as exc:
        raise untranslatable(exc) from exc


def refused(name: str) -> AttemptFailed:
    """Return the refusal of a parameter by name."""
    message = f"this model does not take the parameter '{name}'"
    return AttemptFailed(
        Failure(
            FailureKind.INVALID_REQUEST,
            message,
            status=400,
            code="unsupported_parameter",
            param=name,
            type="invalid_request_error",
            sent=False,
        )
    )


def untranslatable(exc: Exception) -> AttemptFailed:
    """Return the refusal of a request that litellm could not put into the provider's words; names no library."""
    text = str(getattr(exc, "message", None) or exc).split("Received Messages=")[0]
    text = text.split("To drop", 1)[0].split("If you want", 1)[0]
    text = text.rsplit("litellm.", 1)[-1].partition(": ")[2] if text.startswith("litellm.") else text
    lower = text.lower()
    words = "" if "litellm" in lower or "traceback" in lower or 'file "' in lower else clean(text, 500)
    message = "the request cannot be put into this provider's words" + (f": {words}" if words else "")
    return AttemptFailed(
        Failure(
            FailureKind.INVALID_REQUEST,
            message,
            status=400,
            code="unsupported_value",
            type="invalid_request_error",
            sent=False,
        )
    )


@lru_cache(maxsize=4096)
def supported_params(config: Any, model: str) -> frozenset[str]:
    """Return the names litellm's config of a provider takes for a model (looked up once)."""
    return frozenset(config.get_supported_openai_params(model) or ())


def _advice(name: str, value: Any) -> bool:
    return name in ADVISORY and not (name == "parallel_tool_calls" and value is False)


def _unmappable(config: Any, name: str, value: Any, model: str) -> bool:
    try:
        config.map_openai_params({name: value}, {}, model, drop_params=False)
    except Exception:  # noqa: BLE001 - whatever it raises, this one cannot be mapped
        return True
    return False
