"""From a prompt to its task: structure first, then a small trained model over words, an embedding and measures.

The model is multinomial logistic regression over three blocks: terms of the last user turn (each counts
``1 / sqrt(n)``), terms of the system text with ``system_weight``, the embedding, and the dense measures. One of its
classes is internal: "follow_up", a turn that only makes sense with what came before; its probability is handed to
the classes of the earlier turns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from router_core.features import EMBEDDING_SIZE, FOLLOW_UP_CHARS, Features, Prompt
from router_core.lexical import Lexicon, concepts, terms, words
from router_core.task import TaskProfile, TaskType
from router_core.term_index import TermIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLLOW_UP: Final = "follow_up"
EVIDENCE_TERMS: Final = 4
EVIDENCE_POOL: Final = 10
CODE_EVIDENCE: Final = 0.3
REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierModel:
    """The trained weights.

    Rows of ``term_weights`` (int8, times ``term_scale``) belong to ``names``; ``index`` finds a name's row.
    ``classes`` are content task names and ``follow_up``; ``temperature`` calibrates the probabilities;
    below ``abstain_below`` (in [0, 1]) the answer is ``general``.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
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
    index: TermIndex = field(init=False, repr=False)
    notes: tuple[str, ...] = field(init=False, repr=False)
    """How each name is shown as evidence; empty: not at all."""
    tasks: tuple[TaskType | None, ...] = field(init=False, repr=False)
    """The task of each class; None for ``follow_up``."""
    general: int = field(init=False, repr=False)
    follow_up: int = field(init=False, repr=False)
    """The places of ``general`` and of ``follow_up`` among the classes."""
    systems: dict[str, Said] = field(init=False, repr=False)
    """What the system texts met so far say: an application sends the same one with each request. Emptied when full."""

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, or numbers out of range."""
        n = len(self.classes)
        fits = (
            self.term_weights.shape == (len(self.names), n)
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
        object.__setattr__(self, "index", TermIndex.of(self.names))
        object.__setattr__(self, "notes", tuple(map(_note, self.names)))
        object.__setattr__(self, "tasks", tuple(None if c == FOLLOW_UP else TaskType(c) for c in self.classes))
        object.__setattr__(self, "general", self.classes.index(TaskType.GENERAL))
        object.__setattr__(self, "follow_up", self.classes.index(FOLLOW_UP))
        object.__setattr__(self, "systems", {})


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
    chances, _ = _content(prompt, features, model)
    return {task: p for task, p in zip(model.tasks, chances, strict=True) if task is not None}


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
    chances, spoken = _content(prompt, features, model)
    best, second = sorted(range(len(chances)), key=chances.__getitem__, reverse=True)[:2]
    confidence = min(1.0, chances[best])
    task, runner_up = model.tasks[best] or TaskType.GENERAL, model.tasks[second]
    evidence = _evidence(spoken, best, features, model)
    if confidence < model.abstain_below and task is not TaskType.GENERAL:
        evidence = (f"unsure: {task} at {confidence:.2f}", *evidence)
        general = min(1.0, chances[model.general])
        return TaskProfile(TaskType.GENERAL, general, task, None, evidence), evidence
    return TaskProfile(task, confidence, runner_up, None, evidence), evidence


def _content(prompt: Prompt, features: Features, model: ClassifierModel) -> tuple[list[float], list[Said]]:
    """Return each class's probability (0 for ``follow_up``) and what the terms of every text read say."""
    spoken = [_read(prompt.user, model)]
    logits = model.bias + features.dense.dot(model.dense_weights) + spoken[0].logits
    if prompt.system:
        spoken.append(_read_system(prompt.system, model))
        logits += model.system_weight * spoken[1].logits
    if features.embedding is not None and not features.hashed:
        logits += features.embedding.dot(model.embedding_weights)
    chances = _softmax(logits, model.temperature)
    share, chances[model.follow_up] = chances[model.follow_up], 0.0
    if not prompt.before:  # nothing there that could be followed: the doubt is nobody's
        chances[model.general] += share
    elif prompt.user_chars <= FOLLOW_UP_CHARS:
        spoken.append(_read(prompt.before, model))
        earlier = _earlier(spoken[-1], features, model)
        chances = [p + share * q for p, q in zip(chances, earlier, strict=True)]
    else:  # a long turn speaks for itself
        chances = [p / max(1e-9, 1.0 - share) for p in chances]
    return chances, spoken


def _earlier(said: Said, features: Features, model: ClassifierModel) -> list[float]:
    logits = model.bias + said.logits
    if features.context_embedding is not None:
        logits += features.context_embedding @ model.embedding_weights
    logits[model.follow_up] = -np.inf
    return _softmax(logits, model.temperature)


class Said(NamedTuple):
    """What the terms of one text say: their rows of the table, the weights there, and the sum for each class."""

    rows: NDArray[np.intp]
    weights: NDArray[np.int8]
    logits: NDArray[np.float32]


def _read(text: str, model: ClassifierModel) -> Said:
    """Sum what the text's terms and concepts say, each block over the root of its size."""
    found = words(text)
    said, meant = terms(found), concepts(found, model.lexicon)
    rows, spoken = model.index.find(said, meant)
    weights = model.term_weights.take(rows, axis=0)
    shares = np.empty(len(rows), dtype=np.float32)
    shares[:spoken] = 1 / math.sqrt(len(said) or 1)
    shares[spoken:] = 1 / math.sqrt(len(meant) or 1)
    return Said(rows, weights, shares.dot(weights.astype(np.float32)) * model.term_scale)


def _read_system(text: str, model: ClassifierModel) -> Said:
    known = model.systems.get(text)
    if known is None:
        if len(model.systems) >= REMEMBERED:
            model.systems.clear()
        known = model.systems[text] = _read(text, model)
    return known


def _softmax(logits: NDArray[np.float32], temperature: float) -> list[float]:
    """Return the probabilities; eleven numbers are faster in plain Python than in numpy."""
    heights: list[float] = logits.tolist()
    top = max(heights)
    powers = [math.exp((x - top) / temperature) for x in heights]
    total = sum(powers)
    return [x / total for x in powers]


def _evidence(spoken: list[Said], best: int, features: Features, model: ClassifierModel) -> tuple[str, ...]:
    """Name the vocabulary's words and concepts that spoke most for class ``best``, and what the text looks like."""
    size = len(model.notes)
    # Sorts by gain, then the more frequent term first, whatever order sets had.
    gains = [said.weights[:, best] * np.int64(size) - said.rows for said in spoken]
    keys = gains[0] if len(gains) == 1 else np.concatenate(gains)
    keys.sort()
    notes: list[str] = []
    for key in keys[: -EVIDENCE_POOL - 1 : -1].tolist():
        note = model.notes[-key % size] if key > 0 else ""
        if note and note not in notes:
            notes.append(note)
            if len(notes) == EVIDENCE_TERMS:
                break
    if features.code_share >= CODE_EVIDENCE:
        notes.append(f"code share {features.code_share:.1f}")
    return tuple(notes)


def _note(name: str) -> str:
    """Return how a term is shown to a person: only single words and concepts are worth it, all else is empty."""
    shown = "" if " " in name else name.strip("^$*~#")
    if not shown or shown.count("=") != (shown[0] == "="):
        return ""
    return f"asks to {shown[1:]}" if shown[0] == "=" else f"'{shown}'"
