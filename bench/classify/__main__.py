"""Accuracy of the shipped classifier: ``python -m bench.classify [FILE.jsonl]``.

FILE's rows are ``{label, alt_labels, lang, family, request}``, where ``request`` is a chat completion body. Without
FILE the repository's own held-out parallel prompts are measured. Prints accuracy, accuracy counting the accepted
alternatives, macro-F1 (a prediction among a row's accepted labels counts as the row's label), each per class, family
and language, and apart from all rows the text rows: those that no structural rule decides.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.embedding import load_embedder
from gateway.weights import load_classifier
from router_core.classifier import ClassifierModel, classify
from router_core.features import Embedder, extract, read_prompt
from router_core.task import STRUCTURAL_TASKS, TaskProfile

STRUCTURAL = frozenset(str(t) for t in STRUCTURAL_TASKS)


@dataclass(frozen=True, slots=True)
class Judged:
    """One row and what the classifier said."""

    label: str
    accepted: frozenset[str]
    lang: str
    family: str
    profile: TaskProfile
    text: str

    @property
    def said(self) -> str:
        """The predicted task."""
        return str(self.profile.task)

    @property
    def right(self) -> bool:
        """Whether the prediction is the label or an accepted alternative."""
        return self.said in self.accepted


def judge(rows: Sequence[dict[str, object]], model: ClassifierModel, embedder: Embedder | None) -> list[Judged]:
    """Classify every row."""
    judged = []
    for row in rows:
        request = row["request"]
        assert isinstance(request, dict)
        prompt = read_prompt(request)
        profile = classify(prompt, extract(prompt, embedder), model)
        label, alternatives = str(row["label"]), row.get("alt_labels") or []
        assert isinstance(alternatives, list)
        accepted = frozenset([label, *map(str, alternatives)])
        judged.append(
            Judged(label, accepted, str(row.get("lang", "")), str(row.get("family", "")), profile, prompt.user)
        )
    return judged


def accuracy(rows: Sequence[Judged]) -> float:
    """Share of rows whose prediction is accepted."""
    return sum(r.right for r in rows) / max(1, len(rows))


def macro_f1(rows: Sequence[Judged]) -> float:
    """Mean F1 over the labels present; an accepted alternative counts as the label."""
    scores = []
    for label in sorted({r.label for r in rows}):
        hits = sum(r.label == label and r.right for r in rows)
        said = sum((r.label if r.right else r.said) == label for r in rows)
        real = sum(r.label == label for r in rows)
        scores.append(2 * hits / (said + real))
    return sum(scores) / max(1, len(scores))


def report(rows: Sequence[Judged], *, errors: bool) -> None:
    """Print every figure."""
    text = [r for r in rows if r.label not in STRUCTURAL]
    for name, part in (("all rows", rows), ("text rows", text)):
        strict = sum(r.said == r.label for r in part) / max(1, len(part))
        print(
            f"{name:<10} n={len(part):<5} accuracy {strict:.3f}  with alternatives {accuracy(part):.3f}  "
            f"macro-F1 {macro_f1(part):.3f}"
        )
    _table("class", text, lambda r: r.label)
    _table("language", text, lambda r: r.lang)
    _table("family", text, lambda r: r.family)
    if errors:
        for r in text:
            if not r.right:
                head = " ".join(r.text.split())
                said = f"{r.said} ({r.profile.confidence:.2f})"
                print(f"{r.family:<12}{r.label:<16} -> {said:<24} {head[:110]} ... {' '.join(r.profile.evidence)}")


def _table(title: str, rows: Sequence[Judged], key: Callable[[Judged], str]) -> None:
    groups: dict[str, list[Judged]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    print(f"{title:<18}{'n':>5}{'recall':>8}{'prec.':>8}")
    for name, part in sorted(groups.items()):
        said = [r for r in rows if (r.label if r.right else r.said) == name] if title == "class" else []
        precision = f"{sum(r.right for r in said) / len(said):8.3f}" if said else ""
        print(f"{name:<18}{len(part):>5}{accuracy(part):>8.3f}{precision}")


def read_jsonl(path: Path) -> list[dict[str, object]]:
    """Read one JSON object a line."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def main() -> None:
    """Measure the file named on the command line, or the held-out parallel prompts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="labelled prompts, one JSON object a line")
    parser.add_argument("--errors", action="store_true", help="list the wrong answers")
    parser.add_argument("--weights", type=Path, help="another weight file")
    args = parser.parse_args()
    rows = read_jsonl(args.file) if args.file else parallel_rows()
    report(judge(rows, load_classifier(args.weights), load_embedder()), errors=args.errors)


def parallel_rows() -> list[dict[str, object]]:
    """Return the repository's held-out parallel prompts as rows."""
    from training.parallel import load_parallel

    return [
        {"label": r.label, "alt_labels": [], "lang": r.lang, "family": r.source, "request": r.body}
        for r in load_parallel()
    ]


if __name__ == "__main__":
    main()
