"""Points in time as logs write them: ISO 8601, or seconds to nanoseconds since 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from workloads.errors import InputError
from workloads.formats.jsonl import FINITE, Row
from workloads.shown import shown

_FRACTION = re.compile(r"\.(\d{6})\d+")


def seconds(value: Any, key: str, where: str) -> float | None:
    """Seconds since 1970, None for an absent time; without a zone UTC is taken."""
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, str):
        try:
            return _of_text(value)
        except (ValueError, OverflowError):
            pass
    elif not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value <= FINITE:
        for least, per_s in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
            if value >= least:
                return value / per_s
        return float(value)
    raise InputError(
        f"{where}: {key} = {shown(value)}; allowed: a time such as 2026-11-28T09:30:00Z, or seconds, "
        "milliseconds, microseconds or nanoseconds since 1970"
    )


def first_time(row: Row, keys: tuple[str, ...], where: str) -> float | None:
    """The time under the first of ``keys`` that the row has."""
    for key in keys:
        if row.get(key) is not None:
            return seconds(row[key], key, where)
    return None


def _of_text(value: str) -> float:
    text = value.strip()
    try:
        number = float(text)
    except ValueError:
        time = datetime.fromisoformat(_FRACTION.sub(r".\1", text).replace(" UTC", "+00:00"))
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    seconds_since = seconds(number, "time", "")
    assert seconds_since is not None
    return seconds_since
