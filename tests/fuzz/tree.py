"""Changes to lists and mappings: what a configuration, a profile or a row of a log may have become."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.fuzz.odd import odd

Place = tuple[Any, ...]


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """The key path of every value below ``value``."""
    if at:
        yield at
    held = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in held:
        yield from places(inner, (*at, key))


def get(value: Any, at: Place) -> Any:
    """What stands at ``at``."""
    for key in at:
        value = value[key]
    return value


def changed(draw: Random, value: Any, times: int = 1) -> Any:
    """A copy of ``value`` with so many changes at places drawn for them."""
    value = copy.deepcopy(value)
    for _ in range(times):
        found = list(places(value))
        if not found:
            return odd(draw)
        *above, last = draw.choice(found)
        holder = get(value, tuple(above))
        _change(draw, value, holder, last, found)
    return value


def _change(draw: Random, whole: Any, holder: Any, key: Any, found: list[Place]) -> None:
    sort = draw.randrange(9)
    here = holder[key]
    if sort <= 2:
        holder[key] = odd(draw)
    elif sort == 3:
        del holder[key]
    elif sort == 4:
        holder[key] = copy.deepcopy(get(whole, draw.choice(found)))
    elif sort == 5 and isinstance(here, int | float) and not isinstance(here, bool):
        holder[key] = here * draw.choice([-1, 0, 0.5, 2, 10, 1.5])
    elif sort == 6 and isinstance(holder, dict):
        holder[draw.choice([f"{key}x", str(key)[:-1], "kind", "", "x" * 300])] = holder.pop(key)
    elif sort == 7 and isinstance(here, list):
        holder[key] = here * 2 if draw.random() < 0.5 else here[::-1]
    elif sort == 8 and isinstance(here, str):
        cut = draw.randrange(len(here) + 1)
        holder[key] = here[:cut] + str(odd(draw))[:50] + here[cut:]
    else:
        holder[key] = [copy.deepcopy(here)] if draw.random() < 0.5 else {str(key): copy.deepcopy(here)}
