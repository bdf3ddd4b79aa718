"""The configuration as a gateway uses it: files, what is known of models and wires, a calibration beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from gateway.calibration import Calibration, CalibrationError, load_calibration, with_priors
from gateway.config.loader import LoadedConfig, load
from gateway.config.problems import ConfigInvalid, Located
from gateway.config.settings import Settings
from gateway.forward.catalog import facts
from gateway.forward.known_wires import ADDRESSES, KnownWires

CALIBRATION: Final = "calibration.json"
"""A file of this name beside models.yaml is used; ``moe-gateway calibrate`` writes one."""


def load_config(settings: Settings, overlay: Mapping[str, Any] | None = None) -> LoadedConfig:
    """Read the configuration, calibrated where a calibration stands beside it; raises ConfigInvalid."""
    config = load(settings.config_dir, os.environ, facts, overlay=overlay, wires=KnownWires(), addresses=ADDRESSES)
    calibration = read_calibration(settings)
    if calibration is None:
        return config
    return replace(config, registry=with_priors(config.registry, calibration.priors))


def read_calibration(settings: Settings) -> Calibration | None:
    """Return the configuration folder's calibration, None without one; raises ConfigInvalid for one that is broken."""
    path = settings.config_dir / CALIBRATION
    try:
        return load_calibration(path)
    except FileNotFoundError:
        return None
    except (CalibrationError, OSError) as exc:
        raise ConfigInvalid([Located(str(path), 0, "", str(exc))]) from exc


def has_callable(config: LoadedConfig) -> bool:
    """Say whether any deployment can be called as things are; else the demo providers stand in."""
    return any(each.live for each in config.registry.deployments.values())
