"""What the pydantic shapes of both files have in common: strictness, number types, and a field with its unit."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NAME = r"^[A-Za-z0-9._:/@+#-]{1,256}$"
"""What a deployment, model or route may be called: the same characters that hints may carry."""
DATE = r"^(\d{4}-\d{2}-\d{2})?$"
PROVIDER_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class Strict(BaseModel):
    """A mapping of the file: no unknown keys, no infinite numbers, and never its input in an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


def _no_flag(value: object) -> object:
    """Refuse true and false (yes, no, on, off) where a number is meant; pydantic would read them as 1 and 0."""
    if isinstance(value, bool):
        msg = "must be a number"
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns ValueError into its own error
    return value


Number = Annotated[float, BeforeValidator(_no_flag)]
Whole = Annotated[int, BeforeValidator(_no_flag)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[Whole, Field(ge=1)]
CountOrNone = Annotated[Whole, Field(ge=0)]
Name = Annotated[str, Field(pattern=NAME)]
ProviderName = Annotated[str, Field(pattern=PROVIDER_NAME)]


def opt(default: Any, unit: str, meaning: str, **rules: Any) -> Any:
    """Declare a key: its default, its unit (empty: none), one sentence for editors and docs, and further limits."""
    return Field(default, description=meaning, json_schema_extra={"unit": unit} if unit else None, **rules)


def req(unit: str, meaning: str, **rules: Any) -> Any:
    """Declare a key that must be there."""
    return Field(..., description=meaning, json_schema_extra={"unit": unit} if unit else None, **rules)


def empty(kind: Any, meaning: str) -> Any:
    """Declare a key whose default is an empty collection or a section of defaults."""
    return Field(default_factory=kind, description=meaning)
