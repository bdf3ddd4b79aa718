"""The held-out sets: the same prompts in thirteen languages, never trained on.

``parallel`` (forty prompts) was looked at while the lexicon and the corpus grew; ``parallel_blind`` (twenty prompts)
was written after that and settled nothing: its figure is the honest one.
"""

from __future__ import annotations

from training.corpus import LABELS, ROOT, Row, messages, unescape

SETS = ("parallel", "parallel_blind")


def load_parallel(sets: tuple[str, ...] = SETS) -> list[Row]:
    """Read ``corpus/<set>/<lang>.txt``; every language has the same labels in the same order.

    Raises ``ValueError`` when a file's labels differ from the English ones.
    """
    rows: list[Row] = []
    for name in sets:
        expected = [label for label, _ in _pairs(name, "en")]
        for path in sorted((ROOT / name).glob("*.txt")):
            pairs = _pairs(name, path.stem)
            if [label for label, _ in pairs] != expected or not set(expected) <= set(LABELS):
                msg = f"{path}: labels differ from those of en.txt"
                raise ValueError(msg)
            rows.extend(Row(messages(unescape(text)), label, path.stem, name) for label, text in pairs)
    return rows


def _pairs(name: str, lang: str) -> list[tuple[str, str]]:
    lines = (ROOT / name / f"{lang}.txt").read_text("utf-8").splitlines()
    return [(label, text) for label, _, text in (line.partition(" | ") for line in lines if line.strip())]
