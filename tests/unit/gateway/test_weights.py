from __future__ import annotations

import numpy as np
import pytest

from gateway.weights import default_path, load_classifier
from router_core.classifier import FOLLOW_UP
from router_core.task import STRUCTURAL_TASKS, TaskType


def test_the_shipped_weights_load_and_are_small():
    model = load_classifier()
    content = {str(t) for t in TaskType if t not in STRUCTURAL_TASKS}
    assert set(model.classes) == content | {FOLLOW_UP}
    assert default_path().stat().st_size < 3_000_000


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, x=np.zeros(1))
    with pytest.raises(ValueError, match="not a classifier weight file: meta"):
        load_classifier(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_classifier(tmp_path / "none.npz")


def test_pickled_data_is_never_unpickled(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, meta=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        load_classifier(path)
