"""Reading JSON Lines, arrays and single objects, with messages that name file, line, field and value."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from workloads.errors import InputError
from workloads.formats.files import opened
from workloads.schema import MOST
from workloads.shown import shown, why

FINITE = sys.float_info.max
MOST_DIGITS = 20
"""Of a number that is written as text; times in nanoseconds have 19."""
ENDINGS = (".json", ".jsonl", ".ndjson")
Row = dict[str, Any]


def items(path: Path) -> Iterator[tuple[str, int, Row | InputError]]:
    """Every object of the file as ("file:line", line, object); blank lines are passed over.

    A file is read as JSON Lines if its first line is complete, else as one document: an object, or an
    array whose items are then counted in place of lines. What is no object comes as the InputError that
    says so, for the reader to raise or to skip.
    """
    with opened(path) as file:
        for line, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            where = f"{path}:{line}"
            row = _decoded(raw, where)
            if line == 1 and not isinstance(row, dict):
                whole_file = _document(path, raw, row, file)
                if whole_file is not None:
                    yield from whole_file
                    return
            yield where, line, row if isinstance(row, dict | InputError) else _no_object(row, where)


def _decoded(raw: bytes, where: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        begins = raw[:60].decode(errors="replace").strip()
        return InputError(f"{where}: not JSON ({why(error)}): {begins!r}; allowed: one JSON object a line")


def _no_object(row: Any, where: str) -> InputError:
    return InputError(f"{where}: {shown(row)} is not a JSON object")


def _document(
    path: Path, first: bytes, row: Any, file: IO[bytes]
) -> list[tuple[str, int, Row | InputError]] | None:
    """A file that is one array or one indented object; None if it is no such thing."""
    if isinstance(row, InputError):
        if first.strip()[-1:] not in (b"{", b"[", b","):
            return None
        try:
            row = json.loads(first + file.read())
        except (ValueError, RecursionError):
            return None
    if isinstance(row, dict):
        return [(f"{path}:1", 1, row)]
    if not isinstance(row, list):
        return None
    found: list[tuple[str, int, Row | InputError]] = []
    for place, item in enumerate(row, start=1):
        where = f"{path}: item {place}"
        found.append((where, place, item if isinstance(item, dict) else _no_object(item, where)))
    return found


def number(row: Row, key: str, where: str) -> float:
    """The finite number of at least 0 under ``key``."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= FINITE:
        raise InputError(f"{where}: {key} = {shown(value)}; allowed: a number of at least 0")
    return value


def whole(row: Row, key: str, where: str, least: int = 1) -> int:
    """The whole number of at least ``least`` under ``key``."""
    value = row.get(key)
    if type(value) is not int or not least <= value <= MOST:
        raise InputError(
            f"{where}: {key} = {shown(value)}; allowed: a whole number of at least {least}, up to "
            f"{MOST:.0e}"
        )
    return value


def integers(row: Row, key: str, where: str) -> list[int]:
    """The list of integers under ``key``."""
    value = row.get(key)
    if not isinstance(value, list) or not set(map(type, value)) <= {int}:
        raise InputError(f"{where}: {key} = {shown(value)}; allowed: a list of integers")
    return value


def text(row: Row, key: str, where: str) -> str:
    """The printable text under ``key``."""
    value = row.get(key)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InputError(f"{where}: {key} = {shown(value)}; allowed: printable text")
    return value


def objects(row: Row, key: str, where: str) -> list[Row]:
    """The list of objects under ``key``."""
    value = row.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InputError(f"{where}: {key} = {shown(value)}; allowed: a list of objects")
    return value


def digits(value: Any) -> Any:
    """The whole number that a text of digits writes, as tables and OTLP write numbers; else ``value``."""
    short = isinstance(value, str) and len(value) <= MOST_DIGITS
    return int(value) if short and value.isascii() and value.isdigit() else value


def decoded(value: Any) -> Any:
    """What a field holds that may be JSON written as text, as tables and tool calls hold it."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
