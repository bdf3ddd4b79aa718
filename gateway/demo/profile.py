"""The demo models: what each is like. Their numbers are made up, so that they differ visibly and are cheap to try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from gateway.demo.answer import Prefill

Grade: TypeAlias = Literal["weak", "good", "strong"]


@dataclass(frozen=True, slots=True)
class Profile:
    """How a demo model behaves.

    ``first_token_ms`` is the wait before the first content, ``token_ms`` the one between tokens, both in milliseconds.
    A ``weak`` model answers shortly and is sometimes wrong, and says so; a ``strong`` one answers at length.
    """

    name: str
    grade: Grade = "good"
    first_token_ms: float = 0.0
    token_ms: float = 0.0
    reasons: bool = False
    prefill: Prefill | None = None

    def __post_init__(self) -> None:
        """Refuse negative waits."""
        if self.first_token_ms < 0 or self.token_ms < 0:
            msg = "waits are in milliseconds and not negative"
            raise ValueError(msg)


PROFILES: Final[dict[str, Profile]] = {
    profile.name: profile
    for profile in (
        Profile("harbor-large", "strong", first_token_ms=180, token_ms=12),
        Profile("harbor-mini", "weak", first_token_ms=40, token_ms=3),
        Profile("meadow-deep", "strong", first_token_ms=300, token_ms=16, reasons=True),
        Profile("meadow-swift", "good", first_token_ms=70, token_ms=5),
        Profile("summit-pro", "strong", first_token_ms=220, token_ms=10, reasons=True),
        Profile("summit-flash", "good", first_token_ms=30, token_ms=2),
    )
}
