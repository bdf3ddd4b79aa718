"""From a prompt to its task: structure first, then a small trained model over words, an embedding and measures.

The model is multinomial logistic regression over three blocks: terms of the last user turn (each counts
``1 / sqrt(n)``), terms of the system text with ``system_weight``, the embedding, and the dense measures. One of its
classes is internal: "follow_up", a turn that only makes sense with what came before; its probability is handed to
the classes of the earlier turns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from router_core.features import EMBEDDING_SIZE, FOLLOW_UP_CHARS, Features, Prompt
from router_core.lexical import Lexicon, concepts, terms, words
from router_core.task import TaskProfile, TaskType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FOLLOW_UP: Final = "follow_up"
EVIDENCE_TERMS: Final = 4
EVIDENCE_POOL: Final = 10
CODE_EVIDENCE: Final = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierModel:
    """The trained weights.

    Rows of ``term_weights`` (int8, times ``term_scale``) belong to ``names``; ``vocabulary`` maps a name to its row.
    ``classes`` are content task names and ``follow_up``; ``temperature`` calibrates the probabilities;
    below ``abstain_below`` (in [0, 1]) the answer is ``general``.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    vocabulary: Mapping[str, int]
    term_weights: NDArray[np.int8]
    term_scale: NDArray[np.float32]
    embedding_weights: NDArray[np.float32]
    dense_weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    lexicon: Lexicon
    system_weight: float = 0.5
    temperature: float = 1.0
    abstain_below: float = 0.25
    version: str = ""

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, or numbers out of range."""
        n = len(self.classes)
        fits = (
            self.term_weights.shape == (len(self.names), n)
            and len(self.vocabulary) == len(self.names)
            and self.term_scale.shape == (n,)
            and self.embedding_weights.shape == (EMBEDDING_SIZE, n)
            and self.dense_weights.ndim == 2
            and self.dense_weights.shape[1] == n
            and self.bias.shape == (n,)
        )
        if not fits or FOLLOW_UP not in self.classes or TaskType.GENERAL not in self.classes:
            msg = "the classifier's arrays do not fit its classes and vocabulary"
            raise ValueError(msg)
        if not (self.temperature > 0 and 0 <= self.abstain_below <= 1 and self.system_weight >= 0):
            msg = "temperature must be above 0, abstain_below within [0, 1], system_weight at least 0"
            raise ValueError(msg)


def classify(
    prompt: Prompt, features: Features, model: ClassifierModel, *, long_context_tokens: int = 8000
) -> TaskProfile:
    """Name the task of ``prompt``, how sure that is, and why.

    Structure decides first: media parts, then an estimate above ``long_context_tokens``, then tools; the content's
    task then stands in ``secondary``. The evidence names words of the model's vocabulary only, never prompt text.
    """
    content, evidence = _content_profile(prompt, features, model)
    structural = _structural(prompt, features, long_context_tokens)
    if structural is None:
        return content
    task, confidence, reason = structural
    return TaskProfile(task, confidence, content.task, content.task, (reason, *evidence))


def class_probabilities(prompt: Prompt, features: Features, model: ClassifierModel) -> dict[TaskType, float]:
    """Return the calibrated probability of every content task (they sum to 1), before any abstention."""
    probabilities, _ = _content(prompt, features, model)
    return {TaskType(name): float(p) for name, p in zip(model.classes, probabilities, strict=True) if name != FOLLOW_UP}


def _structural(prompt: Prompt, features: Features, limit: int) -> tuple[TaskType, float, str] | None:
    if prompt.media:
        return TaskType.MULTIMODAL, 1.0, f"carries {', '.join(sorted(prompt.media))}"
    if features.input_tokens > limit:
        sure = min(1.0, 0.5 + 2.0 * (features.input_tokens / max(1, limit) - 1.0))
        return TaskType.LONG_CONTEXT, sure, f"about {features.input_tokens} input tokens, above {limit}"
    if prompt.n_tools:
        return TaskType.TOOL_USE, 1.0, f"offers {prompt.n_tools} tool{'s' if prompt.n_tools > 1 else ''}"
    if prompt.has_tool_messages:
        return TaskType.TOOL_USE, 1.0, "carries tool messages"
    return None


def _content_profile(prompt: Prompt, features: Features, model: ClassifierModel) -> tuple[TaskProfile, tuple[str, ...]]:
    probabilities, ids = _content(prompt, features, model)
    chances = probabilities.tolist()
    best, second = sorted(range(len(chances)), key=chances.__getitem__, reverse=True)[:2]
    confidence = min(1.0, chances[best])
    task, runner_up = TaskType(model.classes[best]), TaskType(model.classes[second])
    evidence = _evidence(ids, best, features, model)
    if confidence < model.abstain_below and task is not TaskType.GENERAL:
        evidence = (f"unsure: {task} at {confidence:.2f}", *evidence)
        general = min(1.0, chances[model.classes.index(TaskType.GENERAL)])
        return TaskProfile(TaskType.GENERAL, general, task, None, evidence), evidence
    return TaskProfile(task, confidence, runner_up, None, evidence), evidence


def _content(prompt: Prompt, features: Features, model: ClassifierModel) -> tuple[NDArray[np.float32], list[int]]:
    """Return each class's probability (0 for ``follow_up``) and the rows of the terms that spoke."""
    ids: list[int] = []
    logits = model.bias + features.dense @ model.dense_weights + _text_logits(prompt.user, model, ids)
    if prompt.system:
        logits = logits + model.system_weight * _text_logits(prompt.system, model, ids)
    if features.embedding is not None and not features.hashed:
        logits = logits + features.embedding @ model.embedding_weights
    probabilities = _softmax(logits / model.temperature)
    follow_up = model.classes.index(FOLLOW_UP)
    share = float(probabilities[follow_up])
    probabilities[follow_up] = 0.0
    if prompt.before and prompt.user_chars <= FOLLOW_UP_CHARS:
        return probabilities + share * _earlier(prompt, features, model, ids), ids
    # A long turn speaks for itself; without earlier turns there is nothing to follow and the doubt is nobody's.
    if prompt.before:
        probabilities /= max(1e-9, 1.0 - share)
    else:
        probabilities[model.classes.index(TaskType.GENERAL)] += share
    return probabilities, ids


def _earlier(prompt: Prompt, features: Features, model: ClassifierModel, ids: list[int]) -> NDArray[np.float32]:
    logits = model.bias + _text_logits(prompt.before, model, ids)
    if features.context_embedding is not None:
        logits = logits + features.context_embedding @ model.embedding_weights
    logits[model.classes.index(FOLLOW_UP)] = -np.inf
    return _softmax(logits / model.temperature)


def _text_logits(text: str, model: ClassifierModel, ids: list[int]) -> NDArray[np.float32]:
    """Sum what the text's terms and concepts say, each block over the root of its size; add their rows to ``ids``."""
    found = words(text)
    logits = np.zeros(len(model.classes), dtype=np.float32)
    known = model.vocabulary.get
    for block in (terms(found), concepts(found, model.lexicon)):
        rows = [i for i in map(known, block) if i is not None]
        if rows:
            total = np.add.reduce(model.term_weights.take(rows, axis=0), axis=0, dtype=np.int32)
            logits += total * (model.term_scale * np.float32(1 / math.sqrt(len(block))))
            ids.extend(rows)
    return logits


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max())
    result: NDArray[np.float32] = (powers / powers.sum()).astype(np.float32)
    return result


def _evidence(ids: list[int], best: int, features: Features, model: ClassifierModel) -> tuple[str, ...]:
    """Name the vocabulary's words and concepts that spoke most for class ``best``, and what the text looks like."""
    found: list[str] = []
    if ids:
        gains = model.term_weights[:, best].take(ids)
        for i in np.argsort(gains, kind="stable")[: -EVIDENCE_POOL - 1 : -1].tolist():
            shown = model.names[ids[i]].strip("^$*~#")
            if gains[i] > 0 and _is_single(shown) and shown not in found:
                found.append(shown)
                if len(found) == EVIDENCE_TERMS:
                    break
    notes = [f"asks to {shown[1:]}" if shown[0] == "=" else f"'{shown}'" for shown in found]
    if features.code_share >= CODE_EVIDENCE:
        notes.append(f"code share {features.code_share:.1f}")
    return tuple(notes)


def _is_single(shown: str) -> bool:
    """Whether a term is one word or one concept, worth showing to a person."""
    return bool(shown) and " " not in shown and shown.count("=") == (shown[0] == "=")
