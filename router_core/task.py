"""The task a request asks for, and how sure we are of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from router_core.value import value_class


class TaskType(StrEnum):
    """Twelve kinds of work, and ``general`` for "none of these, or I do not know"."""

    REASONING = "reasoning"
    CODE_GENERATION = "code_generation"
    CODE_REVIEW = "code_review"
    PLANNING = "planning"
    ANALYSIS = "analysis"
    DOCUMENTATION = "documentation"
    TESTING = "testing"
    REFACTORING = "refactoring"
    SECURITY_AUDIT = "security_audit"
    TOOL_USE = "tool_use"
    MULTIMODAL = "multimodal"
    LONG_CONTEXT = "long_context"
    GENERAL = "general"


STRUCTURAL_TASKS: Final = frozenset({TaskType.TOOL_USE, TaskType.MULTIMODAL, TaskType.LONG_CONTEXT})
"""Tasks read from a request's structure; such a profile keeps the content's task as ``secondary``."""


@value_class()
class TaskProfile:
    """What a prompt was classified as.

    ``confidence`` is the estimated probability in [0, 1] that ``task`` is right; ``evidence`` is read by people.
    ``secondary`` is the content's task when ``task`` was read from structure: quality, preference and learning
    use the mean of both rows, statistics use ``task``.
    """

    task: TaskType
    confidence: float = 1.0
    runner_up: TaskType | None = None
    secondary: TaskType | None = None
    evidence: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a confidence that is no probability."""
        if not 0.0 <= self.confidence <= 1.0:
            msg = f"confidence must be within [0, 1], not {self.confidence!r}"
            raise ValueError(msg)

    @property
    def rows(self) -> tuple[TaskType, ...]:
        """The task rows that quality, preference and learning average over."""
        if self.secondary is None or self.secondary is self.task:
            return (self.task,)
        return (self.task, self.secondary)
