"""The held-out set: the same forty prompts in every language, written apart from the corpus and never trained on."""

from __future__ import annotations

from training.corpus import LABELS, ROOT, Row, messages, unescape


def load_parallel() -> list[Row]:
    """Read ``corpus/parallel/<lang>.txt``; every language has the same labels in the same order.

    Raises ``ValueError`` when a file's labels differ from the English ones.
    """
    rows: list[Row] = []
    expected: list[str] = []
    for path in [ROOT / "parallel" / "en.txt", *sorted((ROOT / "parallel").glob("*.txt"))]:
        if expected and path.stem == "en":
            continue
        lines = [line.partition(" | ") for line in path.read_text("utf-8").splitlines() if line.strip()]
        labels = [label for label, _, _ in lines]
        expected = expected or labels
        if labels != expected or not set(labels) <= set(LABELS):
            msg = f"{path}: labels differ from those of en.txt"
            raise ValueError(msg)
        rows.extend(Row(messages(unescape(text)), label, path.stem, "parallel") for label, _, text in lines)
    return rows
