"""From a run's answers to a calibration, and to a report a person can judge it by before anything goes live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np

from gateway.backtest.corpus import Corpus
from gateway.backtest.predictor import fit
from gateway.calibrate import Answered, Task
from gateway.calibration import Calibration, CalibrationError, priors_of
from gateway.embedding import load_embedder
from gateway.weights import load_classifier
from router_core.classifier import classify
from router_core.features import extract
from router_core.prompt import read_prompt
from router_core.quality_fit import fit_model
from router_core.replay import Curve, Picks, Wide, cost_weights, sweep

LEAST_PROMPTS: Final = 20
FOLDS: Final = 5
RESAMPLES: Final = 500
SURE: Final = 0.9
"""A deployment is called dominated when another is at least as good and cheaper in this share of resamples."""


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """A calibration with its evidence. ``curve`` is out of sample: each prompt was routed by a fit to the others."""

    calibration: Calibration
    corpus: Corpus
    curve: Curve
    dominated: dict[str, str]
    sources: dict[str, int]
    spent_usd: float


def conclude(
    tasks: Sequence[Task], answers: dict[tuple[str, str], Answered], deployments: Sequence[str], spent_usd: float
) -> Findings:
    """Fit to all prompts that every deployment was asked. Raises CalibrationError when there are fewer than 20.

    A deployment that did not answer gets the score 0: a client would have seen the same.
    """
    asked = [task for task in tasks if all((task.id, name) in answers for name in deployments)]
    if len(asked) < LEAST_PROMPTS:
        msg = f"{len(asked)} prompts were answered by all deployments; at least {LEAST_PROMPTS} are needed to fit"
        raise CalibrationError(msg)
    silent = [name for name in deployments if all(answers[task.id, name].error for task in asked)]
    if silent:
        first = answers[asked[0].id, silent[0]].error
        msg = f"{', '.join(silent)} answered nothing ({first}): leave them out with --deployments, or mend them"
        raise CalibrationError(msg)
    corpus = _corpus(asked, answers, deployments)
    model = fit_model(
        corpus.models,
        corpus.embeddings,
        corpus.dense,
        corpus.difficulty,
        corpus.scores,
        corpus.outputs,
        corpus.tasks,
        hashed=corpus.features[0].hashed,
        version=f"calibration of {len(asked)} prompts",
    )
    sources: dict[str, int] = {}
    for task in asked:
        for name in deployments:
            source = answers[task.id, name].source or "failed"
            sources[source] = sources.get(source, 0) + 1
    about = {"prompts": len(asked), "deployments": list(deployments), "spent_usd": spent_usd, "scored_by": sources}
    calibration = Calibration(priors_of(model, float(len(asked))), model, about)
    return Findings(calibration, corpus, _held_out(corpus), _dominated(corpus), sources, spent_usd)


def _corpus(asked: Sequence[Task], answers: dict[tuple[str, str], Answered], deployments: Sequence[str]) -> Corpus:
    embedder, classifier = load_embedder(), load_classifier()
    prompts = [read_prompt(task.body) for task in asked]
    features = tuple(extract(prompt, embedder) for prompt in prompts)
    profiles = [classify(prompt, each, classifier) for prompt, each in zip(prompts, features, strict=True)]

    def table(name: str) -> Wide:
        return np.array([[float(getattr(answers[t.id, d], name) or 0.0) for d in deployments] for t in asked])

    return Corpus(
        tuple(task.id for task in asked),
        tuple(deployments),
        np.array([""] * len(asked)),
        table("score"),
        table("cost_usd"),
        table("input_tokens"),
        table("output_tokens"),
        features,
        tuple(tuple(str(row) for row in profile.rows) for profile in profiles),
    )


def _held_out(corpus: Corpus) -> Curve:
    """Return the router's cost-quality curve, each fifth routed by a fit to the other four."""
    fold = np.random.default_rng(0).permutation(len(corpus.ids)) % FOLDS
    weights = cost_weights()
    picks: Picks = np.zeros((len(weights), len(corpus.ids)), dtype=np.intp)
    for held in range(FOLDS):
        predictor = fit(corpus.take(fold != held))
        quality, cost = predictor.predict(corpus.take(fold == held))
        picks[:, fold == held] = sweep(quality, cost, weights)
    return Curve.of(picks, corpus.scores, corpus.costs)


def _dominated(corpus: Corpus) -> dict[str, str]:
    """Return dominated deployment -> the one that beats it most surely."""
    rng = np.random.default_rng(0)
    size, count = corpus.scores.shape
    better = np.zeros((count, count))
    for _ in range(RESAMPLES):
        rows = rng.integers(size, size=size)
        quality, cost = corpus.scores[rows].mean(axis=0), corpus.costs[rows].mean(axis=0)
        better += (quality[:, None] >= quality[None]) & (cost[:, None] < cost[None])
    share = better / RESAMPLES
    best = share.argmax(axis=0)
    return {corpus.models[j]: corpus.models[int(best[j])] for j in range(count) if share[best[j], j] >= SURE}


def markdown(found: Findings, picture: str) -> str:
    """Return the report; ``picture`` is the file name of the curve."""
    corpus, hull = found.corpus, found.curve.hull()
    quality, cost = corpus.scores.mean(axis=0), corpus.costs.mean(axis=0)
    best = int(quality.argmax())
    lines = [
        "# Calibration",
        "",
        f"{len(corpus.ids)} prompts on {len(corpus.models)} deployments, {found.spent_usd:.4f} USD.",
        f"Scored by {', '.join(f'{name}: {n}' for name, n in sorted(found.sources.items()))}.",
        "",
        "| deployment | quality | USD per request | |",
        "|---|---|---|---|",
    ]
    for j in np.argsort(-quality):
        name = corpus.models[j]
        note = f"dominated by {found.dominated[name]}" if name in found.dominated else ""
        lines.append(f"| {name} | {quality[j]:.3f} | {cost[j]:.6f} | {note} |")
    lines += [
        "",
        f"![cost and quality]({picture})",
        "",
        "Routed per prompt, measured on prompts held out of the fit:",
        "",
    ]
    for share in (1.0, 0.98, 0.95):
        needed = found.curve.cost_at(share * float(quality[best]))
        told = (
            "not reached" if np.isnan(needed) else f"{needed:.6f} USD, {needed / max(cost[best], 1e-12):.2f}x its cost"
        )
        lines.append(f"- {share:.0%} of {corpus.models[best]}'s quality: {told}")
    lines += [f"- best reached: {hull.quality[-1]:.3f} at {hull.cost[-1]:.6f} USD", ""]
    if "form" in found.sources:
        lines += [
            "Answers scored by form alone say that something came back, not that it was right.",
            "",
        ]
    return "\n".join(lines)


def svg(found: Findings, width: int = 720, height: int = 420) -> str:
    """Return a picture: single deployments as points, the router's held-out curve as a line, cost on a log axis."""
    corpus, hull = found.corpus, found.curve.hull()
    quality, cost = corpus.scores.mean(axis=0), np.maximum(corpus.costs.mean(axis=0), 1e-9)
    hull_cost = np.maximum(hull.cost, 1e-9)
    low, high = min(cost.min(), hull_cost.min()) / 1.3, max(cost.max(), hull_cost.max()) * 1.3
    bottom, top = min(quality.min(), hull.quality.min()) - 0.03, max(quality.max(), hull.quality.max()) + 0.03

    def place(c: float, q: float) -> tuple[float, float]:
        x = 60 + (width - 90) * (np.log(c) - np.log(low)) / (np.log(high) - np.log(low))
        return float(x), float(height - 50 - (height - 80) * (q - bottom) / (top - bottom))

    parts: list[Any] = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        '<g font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<path d="M60 30V{height - 50}H{width - 30}" fill="none" stroke="#888"/>',
        f'<text x="{width / 2}" y="{height - 12}" text-anchor="middle">USD per request (log)</text>',
        f'<text x="14" y="{height / 2}" text-anchor="middle" transform="rotate(-90 14 {height / 2})">quality</text>',
    ]
    parts += [
        f'<text x="54" y="{place(low, q)[1] + 4:.0f}" text-anchor="end">{q:.2f}</text>'
        for q in np.linspace(bottom, top, 5)
    ]
    parts += [
        f'<text x="{place(c, bottom)[0]:.0f}" y="{height - 34}" text-anchor="middle">{c:.2g}</text>'
        for c in np.geomspace(low, high, 5)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(c, q) for c, q in zip(hull_cost, hull.quality, strict=True)))
    parts.append(f'<polyline points="{line}" fill="none" stroke="#0a6" stroke-width="2"/>')
    for name, c, q in zip(corpus.models, cost, quality, strict=True):
        x, y = place(float(c), float(q))
        colour = "#bbb" if name in found.dominated else "#36c"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 4:.1f}">{escape(name)}</text>')
    return "\n".join([*parts, "</g></svg>", ""])
