"""What does not exist yet says so, so that nobody takes it for a typo."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request

from gateway.http.auth import client
from gateway.http.errors import ApiError

router = APIRouter(tags=["not supported"])
NOT_YET: Final = ("/v1/embeddings", "/v1/responses", "/v1/messages", "/v1/completions")


async def not_supported(request: Request) -> None:
    """Answer what does not exist yet so that nobody takes it for a typo."""
    client(request)
    path = request.scope["path"]
    raise ApiError(404, f"{path} is not supported yet; use /v1/chat/completions", "not_supported", should_retry=False)


for _path in NOT_YET:
    router.add_api_route(_path, not_supported, methods=["POST"], name=f"not_supported{_path}")
