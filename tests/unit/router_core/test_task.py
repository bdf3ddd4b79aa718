from __future__ import annotations

import pytest

from router_core.task import STRUCTURAL_TASKS, TaskProfile, TaskType


def test_there_are_twelve_kinds_of_work_and_general():
    assert len(TaskType) == 13
    assert TaskType("general") is TaskType.GENERAL


def test_structural_tasks_are_those_read_from_the_shape_of_a_request():
    assert {TaskType.TOOL_USE, TaskType.MULTIMODAL, TaskType.LONG_CONTEXT} == STRUCTURAL_TASKS


@pytest.mark.parametrize("confidence", [-0.01, 1.01, float("nan")])
def test_a_confidence_is_a_probability(confidence: float):
    with pytest.raises(ValueError, match="confidence"):
        TaskProfile(TaskType.ANALYSIS, confidence)


def test_quality_is_the_mean_over_the_task_and_the_content_s_task():
    plain = TaskProfile(TaskType.ANALYSIS)
    with_tools = TaskProfile(TaskType.TOOL_USE, secondary=TaskType.TESTING)
    repeated = TaskProfile(TaskType.TESTING, secondary=TaskType.TESTING)
    assert plain.rows == (TaskType.ANALYSIS,)
    assert with_tools.rows == (TaskType.TOOL_USE, TaskType.TESTING)
    assert repeated.rows == (TaskType.TESTING,)
