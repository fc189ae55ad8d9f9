"""Reading JSON Lines, plain or gzipped, with messages that name file, line, field and value."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workloads.errors import InputError
from workloads.schema import MOST

FINITE = sys.float_info.max


def rows(path: Path) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Every object of the file as ("file:line", line, object); blank lines are passed over.

    Raises InputError for a line that is no JSON object, and for a truncated or broken gzip file.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    line = 0
    try:
        with opener(path, "rb") as file:
            for line, raw in enumerate(file, start=1):
                if not raw.strip():
                    continue
                where = f"{path}:{line}"
                try:
                    row = json.loads(raw)
                except (ValueError, RecursionError) as error:
                    shown = raw[:60].decode(errors="replace").strip()
                    raise InputError(
                        f"{where}: not JSON ({error}): {shown!r}; allowed: one JSON object a line"
                    ) from None
                if not isinstance(row, dict):
                    raise InputError(f"{where}: {str(row)[:60]!r} is not a JSON object")
                yield where, line, row
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read after line {line}: {error}") from None


def number(row: dict[str, Any], key: str, where: str) -> float:
    """The finite number of at least 0 under ``key``."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= FINITE:
        raise InputError(f"{where}: {key} = {_shown(value)}; allowed: a number of at least 0")
    return value


def whole(row: dict[str, Any], key: str, where: str, least: int = 1) -> int:
    """The whole number of at least ``least`` under ``key``."""
    value = row.get(key)
    if type(value) is not int or not least <= value <= MOST:
        raise InputError(
            f"{where}: {key} = {_shown(value)}; allowed: a whole number of at least {least}, up to "
            f"{MOST:.0e}"
        )
    return value


def integers(row: dict[str, Any], key: str, where: str) -> list[int]:
    """The list of integers under ``key``."""
    value = row.get(key)
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        raise InputError(f"{where}: {key} = {str(value)[:60]}; allowed: a list of integers")
    return value


def _shown(value: object) -> str:
    """The value as a message shows it: huge ones cut short."""
    return repr(value)[:60]
