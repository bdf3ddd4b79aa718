"""What a calibration run found, as a file: each deployment's task priors, and the quality model of all."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from router_core.deployment import QualityPrior
from router_core.errors import ConfigError
from router_core.quality import QualityState
from router_core.quality_model import DEFAULT, Kernel, QualityModel, Standard
from router_core.registry import Registry
from router_core.trees import Forest

FORMAT: Final = 1


class CalibrationError(Exception):
    """The file is no calibration this version can read; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Task priors (deployment -> task -> prior), the quality model, and what the run was (for people)."""

    priors: Mapping[str, Mapping[str, QualityPrior]]
    model: QualityModel
    about: Mapping[str, Any] = field(default_factory=dict)

    def state(self, *, share: float = 0.5, prior: float = 20.0) -> QualityState:
        """Return the learner's starting point; ``share`` and ``prior`` as in policy.yaml's ``learning``."""
        return QualityState(model=self.model, priors=self.priors, share=share, prior=prior)


def priors_of(model: QualityModel, weight: float) -> dict[str, dict[str, QualityPrior]]:
    """Return the model's task levels as priors worth ``weight`` observations."""
    return {
        name: {task: QualityPrior(min(1.0, max(0.0, float(level[j]))), weight) for task, level in model.levels.items()}
        for j, name in enumerate(model.deployments)
    }


def with_priors(registry: Registry, priors: Mapping[str, Mapping[str, QualityPrior]]) -> Registry:
    """Return the registry with calibrated priors over the written ones; unknown deployments are passed over.

    A calibrated deployment's written task priors are replaced as a whole: the calibration's default speaks for tasks it
    did not see.
    """
    if not any(name in priors for name in registry.deployments):
        return registry
    deployments = {
        name: replace(each, quality=priors[name]) if name in priors else each
        for name, each in registry.deployments.items()
    }
    names = {
        name: replace(
            found,
            candidates=tuple(
                replace(each, quality=priors[each.id]) if each.id in priors else each for each in found.candidates
            ),
        )
        for name, found in registry._names.items()  # noqa: SLF001 - the registry's index holds copies of its deployments
    }
    told = repr(sorted((n, sorted((t, p.mean, p.weight) for t, p in by.items())) for n, by in priors.items()))
    version = f"{registry.version}+{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    return replace(registry, deployments=deployments, _names=names, version=version)


def save(calibration: Calibration, path: Path) -> None:
    """Write the file; whoever reads meanwhile sees the old one or the new one."""
    model = calibration.model
    body = {
        "format": FORMAT,
        "about": dict(calibration.about),
        "priors": {
            name: {task: {"mean": p.mean, "weight": p.weight} for task, p in by_task.items()}
            for name, by_task in calibration.priors.items()
        },
        "model": {
            "deployments": list(model.deployments),
            "hashed": model.hashed,
            "version": model.version,
            "usual": model.usual,
            "gamma": model.kernel.gamma,
            "weight": model.standard.weight,
            "levels": {task: _packed(level) for task, level in model.levels.items()},
            "arrays": {name: _packed(array) for name, array in _arrays(model).items()},
        },
    }
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(orjson.dumps(body))
    partial.replace(path)


def load_calibration(path: Path) -> Calibration:
    """Read a file. Raises OSError when it is missing and CalibrationError when it is not one of ours."""
    try:
        body = orjson.loads(path.read_bytes())
        if body["format"] != FORMAT:
            msg = f"{path}: format {body['format']!r}, this version reads {FORMAT}"
            raise CalibrationError(msg)
        raw = body["model"]
        priors = {
            str(name): {str(task): QualityPrior(float(p["mean"]), float(p["weight"])) for task, p in by_task.items()}
            for name, by_task in body["priors"].items()
        }
        return Calibration(priors, _model(raw), body.get("about", {}))
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as exc:
        msg = f"{path}: not a calibration file ({exc})"
        raise CalibrationError(msg) from exc


def _model(raw: Mapping[str, Any]) -> QualityModel:
    array = {name: _unpacked(packed) for name, packed in raw["arrays"].items()}
    model = QualityModel(
        tuple(str(name) for name in raw["deployments"]),
        Standard(array["mean_in"], array["scale"], array["basis"], float(raw["weight"])),
        Kernel(array["landmarks"], float(raw["gamma"]), array["weights"], array["offset"]),
        Forest(array["columns"].astype(np.intp), array["thresholds"], array["leaves"]),
        array["mean"],
        array["slope"],
        float(raw["usual"]),
        {str(task): _unpacked(packed) for task, packed in raw["levels"].items()},
        hashed=bool(raw["hashed"]),
        version=str(raw["version"]),
    )
    outputs = len(model.deployments) + 1
    wide = (model.mean, model.slope, model.kernel.offset, model.kernel.weights, model.forest.leaves)
    if any(each.shape[-1] != outputs for each in (*wide, *model.levels.values())) or DEFAULT not in model.levels:
        msg = "the arrays do not fit the deployments"
        raise ValueError(msg)
    return model


def _arrays(model: QualityModel) -> dict[str, NDArray[Any]]:
    return {
        "mean_in": model.standard.mean,
        "scale": model.standard.scale,
        "basis": model.standard.basis,
        "landmarks": model.kernel.landmarks,
        "weights": model.kernel.weights,
        "offset": model.kernel.offset,
        "columns": model.forest.columns.astype(np.int32),
        "thresholds": model.forest.thresholds,
        "leaves": model.forest.leaves,
        "mean": model.mean,
        "slope": model.slope,
    }


def _packed(array: NDArray[Any]) -> dict[str, Any]:
    return {"type": str(array.dtype), "shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode()}


def _unpacked(packed: Mapping[str, Any]) -> NDArray[Any]:
    if packed["type"] not in {"float32", "int32"}:
        msg = f"unexpected array type {packed['type']!r}"
        raise ValueError(msg)
    flat = np.frombuffer(base64.b64decode(packed["data"], validate=True), dtype=packed["type"])
    return flat.reshape(packed["shape"]).copy()
