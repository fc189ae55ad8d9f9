"""What clients say about the cache: marks with lifetimes, and which conversation a request belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sim.server.api.errors import ApiError
from sim.server.api.template import CacheMark

LIFETIME = re.compile(r"([1-9][0-9]{0,3})(s|m|h)")
UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


def cache_mark(value: Any, field: str) -> CacheMark | None:
    """``cache_control`` or ``prompt_cache_breakpoint`` of a block; ApiError 400 if it is none.

    >>> cache_mark({"type": "ephemeral", "ttl": "1h"}, "system")
    CacheMark(ttl_s=3600.0)
    """
    if value is None:
        return None
    ttl = value.get("ttl") if isinstance(value, dict) else ""
    if ttl is None:
        return CacheMark()
    found = LIFETIME.fullmatch(ttl) if isinstance(ttl, str) else None
    if found is None:
        raise ApiError(400, f"{field}: the cache mark has no lifetime like 5m or 1h", param=field)
    return CacheMark(int(found[1]) * UNIT_S[found[2]])


def session_of(headers: Mapping[str, str], *said: str | None) -> str:
    """The conversation, by the first name that the client gives it."""
    for name in (headers.get("x-session-id"), *said):
        if name:
            return name
    return ""
