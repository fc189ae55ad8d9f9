"""What the fields of our outputs mean: a unit and one sentence beside each field's type.

A typed dictionary whose fields carry an `About` is both the type that mypy checks and the text of
docs/outputs.md:

    class Cost(TypedDict):
        cost_usd_total: Annotated[float | None, About("USD", "The whole bill.")]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class About:
    """The unit of a field (empty for text and yes or no) and what it means, in one sentence."""

    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class Described:
    """A field of a typed dictionary."""

    key: str
    kind: Any
    """Its type, without the description."""
    always: bool
    """Whether it is always there; a figure that cannot be computed is there as null."""
    about: About


def described(record: Any) -> list[Described]:
    """The fields of the typed dictionary ``record``, those of its bases first."""
    out = []
    for key, kind in get_type_hints(record, include_extras=True).items():
        always = get_origin(kind) is not NotRequired
        if not always:
            (kind,) = get_args(kind)
        if get_origin(kind) is not Annotated:
            raise TypeError(f"{record.__name__}.{key} has no description")
        plain, about = get_args(kind)
        out.append(Described(key, plain, always, about))
    return out


def is_record(kind: Any) -> bool:
    """Whether ``kind`` is a typed dictionary."""
    return isinstance(kind, type) and hasattr(kind, "__total__")
