"""JSON responses of browsed routes."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Response


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response that no cache keeps."""
    data = orjson.dumps(body, default=str)
    return Response(data, status, {"cache-control": "no-store", **(headers or {})}, "application/json")
