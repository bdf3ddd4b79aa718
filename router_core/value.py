"""The decorator of values that are made anew for each request.

A frozen dataclass sets each of its fields through ``object.__setattr__``, four times what a plain assignment costs, and
a request makes more than a hundred fields. ``value_class`` leaves "never change it" to the type checker, which refuses
an assignment as it does for a frozen dataclass. What is made once (configuration, policies, keys) stays a frozen one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_class(*, eq: bool = True) -> Callable[[type[_T]], type[_T]]:
    """Make a class a slotted dataclass whose fields are never assigned again, which mypy checks.

    With ``eq`` it is compared and hashed by its fields, as a frozen dataclass is; without, by identity.
    """
    return dataclass(slots=True, eq=eq, unsafe_hash=eq)
