"""Axes of a sweep or search: which settings a point of the grid changes, and how it is called.

An axis has one key (``--set key=a,b,c``) or several that move together (a file of axes):

    gpu:                                                   # the axis, its points, what each one sets
      h200: {systems.own.hardware: h200, systems.own.price.gpu_hour_usd: 3.5}
      l40s: {systems.own.hardware: l40s, systems.own.price.gpu_hour_usd: 0.9}
    workload.arrival.rate_per_s: [2, 4, 8]                 # an axis of one key
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from sim.yamlfile import Document
from workloads.documents import Tree
from workloads.errors import InputError

Label = str | int | float | bool | None
MOST_POINTS = 100_000
"""More are a slip of the keyboard."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A place on an axis: its label, and the assignments ``dotted.key=value`` that it stands for."""

    label: Label
    assignments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """A name and at least one setting."""

    name: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A setting of each axis."""

    labels: dict[str, Label]
    assignments: tuple[str, ...]

    def __str__(self) -> str:
        """The labels as text: ``replicas = 2, router = prefix``."""
        named = zip(short_names(list(self.labels)), self.labels.values(), strict=True)
        return ", ".join(f"{name} = {shown(label)}" for name, label in named) or "as configured"


def shown(label: Label) -> str:
    """A label as the user would write it."""
    return label if isinstance(label, str) else json.dumps(label)


def short_names(names: list[str]) -> list[str]:
    """The last parts of dotted names, as many as tell them apart.

    >>> short_names(["systems.a.replicas", "workload.arrival.rate_per_s", "systems.b.replicas"])
    ['a.replicas', 'rate_per_s', 'b.replicas']
    """
    split = [name.split(".") for name in names]

    def short(own: list[str]) -> str:
        for length in range(1, len(own)):
            if sum(other[-length:] == own[-length:] for other in split) == 1:
                return ".".join(own[-length:])
        return ".".join(own)

    return [short(own) for own in split]


def parse(settings: Iterable[str], file: Path | None) -> tuple[list[str], list[Axis]]:
    """Split ``--set`` assignments into fixed ones and axes, and add the axes of ``file``.

    A comma that is not within brackets, braces or quotes makes an axis of an assignment, and so does a
    range of whole numbers, ``1..8``.
    """
    fixed: list[str] = []
    axes: list[Axis] = []
    for assignment in settings:
        key, _, text = assignment.partition("=")
        parts = [value for part in split_at_commas(text) for value in _range(part, assignment)]
        if len(parts) == 1:
            fixed.append(assignment)
            continue
        where = f"--set {assignment}"
        if not all(part.strip() for part in parts):
            raise InputError(f"{where}: a value is missing beside a comma; allowed: key=a,b,c")
        axes.append(Axis(key, tuple(Setting(_label(part), (f"{key}={part}",)) for part in parts)))
    axes += _from_file(file) if file else []
    _require_apart(axes)
    return fixed, axes


def _range(text: str, assignment: str) -> list[str]:
    """The numbers of ``LOW..HIGH``, or ``text`` itself."""
    low, dots, high = text.partition("..")
    if not (dots and low.isdecimal() and high.isdecimal()):
        return [text]
    if not int(low) <= int(high) < int(low) + MOST_POINTS:
        raise InputError(f"--set {assignment}: allowed: LOW..HIGH, up to {MOST_POINTS:,} numbers")
    return [str(number) for number in range(int(low), int(high) + 1)]


def split_at_commas(text: str) -> list[str]:
    """``text`` at its commas, but for those within brackets, braces or quotes.

    >>> split_at_commas("random,{kind: prefix, cache_threshold: 0.5}")
    ['random', '{kind: prefix, cache_threshold: 0.5}']
    >>> split_at_commas("[1, 2]")
    ['[1, 2]']
    """
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += letter
    return parts


def grid(axes: list[Axis]) -> Iterator[Point]:
    """Every combination, the last axis fastest; one point without an assignment if there is no axis."""
    count = math.prod(len(axis.settings) for axis in axes)
    if count > MOST_POINTS:
        raise InputError(f"{count:,} combinations of the axes; allowed: up to {MOST_POINTS:,}")
    for settings in product(*(axis.settings for axis in axes)):
        yield point(axes, settings)


def point(axes: list[Axis], settings: Iterable[Setting]) -> Point:
    """The point at which each of ``axes`` has its one of ``settings``."""
    chosen = dict(zip((axis.name for axis in axes), settings, strict=True))
    labels = {name: setting.label for name, setting in chosen.items()}
    return Point(labels, tuple(text for setting in chosen.values() for text in setting.assignments))


def _label(text: str) -> Label:
    """The value where it is a single one, else the text."""
    try:
        value = Tree(text, "", numbered=False).data
    except InputError:
        return text.strip()  # the configuration's own reading will say what is wrong
    fine = isinstance(value, int | bool | str) or (isinstance(value, float) and math.isfinite(value))
    return value if fine else text.strip()


def _from_file(path: Path) -> list[Axis]:
    axes = []
    for name, content in Document(path).data.items():
        where = f"{path}: {name}"
        if isinstance(content, list) and content:
            settings = [Setting(_label(_text(value)), (f"{name}={_text(value)}",)) for value in content]
        elif isinstance(content, dict) and content and all(isinstance(x, dict) for x in content.values()):
            settings = [
                Setting(_label(str(label)), tuple(f"{key}={_text(value)}" for key, value in keys.items()))
                for label, keys in content.items()
            ]
        else:
            raise InputError(
                f"{where}: allowed: a list of values of the key {name}, or points by label, each with the "
                "keys that it sets, such as {big: {systems.own.hardware: h200}}"
            )
        axes.append(Axis(str(name), tuple(settings)))
    return axes


def _text(value: Any) -> str:
    """``value`` as YAML on one line."""
    try:
        return value if isinstance(value, str) and _label(value) == value else json.dumps(value)
    except TypeError:  # a date, which YAML knows
        return str(value)


def _require_apart(axes: list[Axis]) -> None:
    """InputError for an axis given twice, a label that two of its settings share, or a key on two axes."""
    of_key: dict[str, str] = {}
    for axis in axes:
        if axis.name in ("seed", "seeds"):
            raise InputError(f"{axis.name} is no axis: every point has the same seeds; allowed: --seeds N")
        labels = [shown(setting.label) for setting in axis.settings]
        for label in labels:
            if labels.count(label) > 1:
                raise InputError(f"axis {axis.name}: {label} is given twice; allowed: once")
        for key in {text.partition("=")[0] for setting in axis.settings for text in setting.assignments}:
            if key in of_key:
                raise InputError(f"{key} is set by two axes; allowed: one")
            of_key[key] = axis.name
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"axis {name} is given twice; allowed: once")
