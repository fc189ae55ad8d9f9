"""Base of every configuration object: frozen, no unknown keys, readable messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import NoneType
from typing import Annotated, Any, ClassVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError

MOST = 10**12
"""Most tokens of a request, and most of anything else that is counted: more is a slip of the keyboard."""
MOST_S = 1e10
"""Longest time that anything may take, s: 300 years, where a float still tells microseconds."""
Usd = Annotated[float, Field(ge=0, le=1e9)]
"""A price in dollars, of whatever."""


@dataclass(frozen=True, eq=False)
class AlsoTakes:
    """What a key takes beside its sections, for the JSON Schema: a number for a distribution, a word.

    Stands beside the validator that makes a section of it.
    """

    json_schema: dict[str, Any]

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [self.json_schema, handler(core_schema)]}


class Schema(BaseModel):
    """A part of the configuration. An unknown key is an error that lists the keys allowed."""

    ELSEWHERE: ClassVar[Mapping[str, str]] = {}
    """Keys that readers look for here, and where to find them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        allowed = [f.alias or name for name, f in cls.model_fields.items()]
        for key in data:
            if key not in allowed:
                near, known = get_close_matches(str(key), allowed, n=1), cls.ELSEWHERE.get(key)
                hint = f" ({known})" if known else f" (did you mean {near[0]!r}?)" if near else ""
                raise PydanticCustomError(
                    "unknown_key",
                    "unknown key '{key}'{hint}; allowed: {allowed}",
                    {"key": str(key), "hint": hint, "allowed": ", ".join(allowed)},
                )
        return {key: _as_text(value) if _numeric(cls._kind(key)) else value for key, value in data.items()}

    @classmethod
    def _kind(cls, key: str) -> Any:
        return next(
            field.annotation for name, field in cls.model_fields.items() if key in (name, field.alias)
        )


def _as_text(value: Any) -> Any:
    """``value`` with text in place of true and false, which pydantic would take for the numbers 1 and 0."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    return value


def _numeric(kind: Any) -> bool:
    """Whether a field of this type holds numbers and nothing else, alone or as the items of something."""
    origin, kinds = get_origin(kind), [part for part in get_args(kind) if part is not NoneType]
    if origin is Annotated:
        return _numeric(kinds[0])
    if origin is dict:
        return _numeric(kinds[1])
    return kind in (int, float) or (bool(kinds) and all(map(_numeric, kinds)))
