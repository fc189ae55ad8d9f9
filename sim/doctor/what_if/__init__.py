"""What to change, priced by replay with that one thing repaired. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from sim.doctor.examine import Examined
from sim.doctor.outcome import WhatIf
from sim.doctor.what_if import (
    batches,
    compaction,
    keep_warm,
    lifetimes,
    marks,
    order,
    own_gpus,
    providers,
)
from sim.doctor.what_if.base import Case, WhatIfs, told

WHAT_IFS: dict[str, WhatIfs] = {
    "lifetimes": lifetimes.changes,
    "keep-warm pings": keep_warm.changes,
    "compactions": compaction.changes,
    "marks": marks.changes,
    "order of parts": order.changes,
    "batches": batches.changes,
    "other providers": providers.changes,
    "own GPUs": own_gpus.changes,
}


def price(
    found: Examined, progress: Callable[[str, int, int | None], None] = lambda part, done, total: None
) -> list[WhatIf]:
    """Every change that the log allows, the one that saves most first."""
    case = Case(found)
    priced = []
    for number, (name, changes) in enumerate(WHAT_IFS.items()):
        progress(f"what if: {name}", number, len(WHAT_IFS))
        priced += [told(case, change) for change in changes(case)]
    return sorted(priced, key=lambda one: -one["usd"])
