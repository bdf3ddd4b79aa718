"""Usage and cost as providers report them; the reading itself stands in ``gateway.usage``, which the edge shares."""

from __future__ import annotations

from gateway.usage import cost_of, usage_of

__all__ = ["cost_of", "usage_of"]
