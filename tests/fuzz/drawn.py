"""Values for a field of a configuration, drawn from its type."""

from __future__ import annotations

import types
from datetime import date
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel

from tests.fuzz.odd import number, odd

BY_NAME: dict[str, tuple[Any, ...]] = {
    "model": ("llama-3-8b", "llama-3.1-8b", "qwen3-8b", "qwen2.5-7b", "gpt-oss-20b", "gemma-3-4b",
              "claude-opus-5", "gpt-5", "mixtral-8x7b", "qwen3-next-80b-a3b", "deepseek-v3", "tiny-40m"),
    "hardware": ("h200", "h100-sxm", "l40s", "b200", "a100-80gb-sxm", "rtx-4090", "mi300x"),
    "provider": ("anthropic", "openai", "gemini", "deepseek", "azure", "xai", "kimi", "qwen", "groq",
                 "mistral", "bedrock"),
    "router": ("session", "least_loaded", "prefix", "kv_aware", "round_robin", "random"),
    "path": ("trace.jsonl",),
    "profile": ("profile.yaml",),
    "name": ("a", "b", "gpu", "host"),
    "version": ("0.19", "0.24.0", "0.33.0", "1.0"),
    "system": ("one", "two"),
    "baseline": ("one", "two"),
    "source": ("a page",),
}  # fmt: skip
"""What a text that names something may be."""
Bounds = dict[str, float]


def value_of(draw: Random, kind: Any, name: str = "", depth: int = 0, bounds: Bounds | None = None) -> Any:
    """A value for a field ``name`` of the type ``kind``; now and then one that is not allowed."""
    if draw.random() < 0.015:
        return odd(draw)
    bounds = bounds or {}
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return value_of(draw, parts[0], name, depth, bounds | _bounds(parts[1:]))
    if origin is Literal:
        return draw.choice(parts)
    if origin in (Union, types.UnionType):
        return value_of(draw, draw.choice(parts), name, depth, bounds)
    if origin in (list, tuple, set, frozenset) or kind in (list, tuple):
        inner = parts[0] if parts else str
        return [value_of(draw, inner, name, depth + 1) for _ in range(draw.choice([1, 1, 2, 3]))]
    if origin is dict or kind is dict:
        inner = parts[1] if parts else str
        return {
            draw.choice(("one", "two", "three")): value_of(draw, inner, name, depth + 1)
            for _ in range(draw.choice([1, 1, 2]))
        }
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return model_of(draw, kind, depth + 1)
    return _plain(draw, kind, name, bounds)


def model_of(draw: Random, kind: type[BaseModel], depth: int = 0) -> dict[str, Any]:
    """A mapping for ``kind``: what is required, and some of what is not, less the deeper it lies."""
    data = {}
    for name, field in kind.model_fields.items():
        if field.is_required() or draw.random() < 0.25 / (1 + depth) or _tells(field.annotation, name):
            data[field.alias or name] = field_of(draw, kind, name, depth)
    return data


def field_of(draw: Random, kind: type[BaseModel], name: str, depth: int = 0) -> Any:
    """A value for the field ``name`` of ``kind``."""
    field = kind.model_fields[name]
    return value_of(draw, field.annotation, name, depth, _bounds(tuple(field.metadata)))


def _tells(kind: Any, name: str) -> bool:
    """Whether a field says of which kind its mapping is."""
    return name in ("kind", "process", "distribution", "format") and get_origin(kind) is Literal


def _bounds(metadata: tuple[Any, ...]) -> Bounds:
    found: Bounds = {}
    for item in metadata:
        for limit in getattr(item, "metadata", None) or (item,):
            if isinstance(limit, annotated_types.Ge):
                found["low"] = float(limit.ge)  # type: ignore[arg-type]
            elif isinstance(limit, annotated_types.Gt):
                found["low"] = float(limit.gt) + 1e-6  # type: ignore[arg-type]
            elif isinstance(limit, annotated_types.Le):
                found["high"] = float(limit.le)  # type: ignore[arg-type]
            elif isinstance(limit, annotated_types.Lt):
                found["high"] = float(limit.lt) - 1e-6  # type: ignore[arg-type]
    return found


def _plain(draw: Random, kind: Any, name: str, bounds: Bounds) -> Any:
    if kind is type(None):
        return None
    if kind is bool:
        return draw.random() < 0.5
    if kind in (int, float):
        low, high = bounds.get("low", 0.0), bounds.get("high", 1e12)
        found = number(draw, name, low, high, whole=kind is int)
        return max(1, found) if kind is int and 0 < low < 1 else found
    if kind is date:
        return draw.choice(["2026-11-28", "2024-02-29", "1999-01-01"])
    if kind in (str, Path) or kind is Any:
        return draw.choice(BY_NAME.get(name, ("a", "b", "one", "two", "5m", "0.5")))
    return odd(draw)
