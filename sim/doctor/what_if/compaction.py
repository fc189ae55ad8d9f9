"""A client that replaces its history by a summary at another size: what that costs, and saves later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from sim.doctor.calls import Call, Lane, Tokens
from sim.doctor.causes import CUTS
from sim.doctor.what_if.base import Case, Change, ping, session_of
from workloads.content import ROOT

SHARES = (0.35, 0.425, 0.5, 0.625, 0.75, 0.95)
"""Sizes at which histories are replaced, as parts of the largest prompt that the client may send."""
WINDOWS = (200_000, 1_000_000)
"""What models take; the log's own prompts tell which."""
LEFT_TOKENS = 51_000
"""How long a prompt is after a compaction where the log has none: head, summary, files that are read again.
That is the median of 84 recorded ones, from prompts of 83,000 to 168,000 tokens alike.
"""
LEAST = 1.25
"""A compaction must at least shorten a prompt by this factor."""


def changes(case: Case) -> Iterator[Change]:
    """Compaction at other sizes than recorded, the best of several, earlier and later ones apart."""
    calls = [judged for judged in case.found.calls if judged.before is not None]
    recorded = [j.before.marked for j in calls if j.before is not None and _compacts(j.call)]
    left = round(median([j.call.marked for j in calls if _compacts(j.call)] or [LEFT_TOKENS]))
    largest = max((judged.call.marked for judged in calls), default=0)
    window = next((size for size in WINDOWS if size >= largest), largest)
    usual = median(recorded) if recorded else window
    base = {id(lane): case.usd(_at(lane, None, left)) for lane in case.found.lanes}

    def saved(size: float) -> dict[str, float]:
        found = dict.fromkeys(case.sessions, 0.0)
        for lane in case.found.lanes:
            found[session_of(lane)] += base[id(lane)] - case.usd(_at(lane, size, left))
        return found

    sizes = [part * window for part in SHARES if part * window >= LEAST * left]
    note = (
        "answers change: what a model forgets, reads again or does worse is not in it. Input only, the "
        f"requests that write the summaries included; a compaction leaves {left:,} tokens"
    )
    for name, chosen in (
        ("more and earlier", [size for size in sizes if size < min(usual, largest)]),
        ("fewer and later", [size for size in sizes if size > usual] if recorded else []),
    ):
        if chosen:
            settings = {f"{round(size, -3):,.0f}": saved(size) for size in chosen}
            yield Change(f"{name} compactions: at {{}} tokens", settings, note, "other answers")


def _compacts(call: Call) -> bool:
    return CUTS.get(call.how) == "compaction"


def _at(lane: Lane, size: float | None, left: int) -> Lane:
    """The lane with its history replaced whenever it exceeds ``size`` tokens; None: where it was."""
    calls = _recorded(lane) if size is None else _replaced(lane, size, left)
    return replace(lane, calls=list(calls))


def _recorded(lane: Lane) -> Iterator[Call]:
    """The calls as they were, with the requests that wrote their summaries, which logs leave out."""
    before: Call | None = None
    for call in lane.calls:
        if before is not None and _compacts(call):
            yield ping(before, call.at_s)
        yield call
        before = call


@dataclass(slots=True)
class _State:
    """How a lane's prompts differ from the recorded ones."""

    undone: int = 0
    """Tokens by which they are longer, because recorded compactions did not happen."""
    removed: int = 0
    """Tokens by which they are shorter, because of compactions of our own."""


def _replaced(lane: Lane, size: float, left: int) -> Iterator[Call]:
    """The calls if the history were replaced at ``size`` tokens, leaving ``left``, and nowhere else.

    A prompt is as long as recorded, plus what recorded compactions took away, less what those of ours do.
    Wherever else the recorded history starts anew, it does here too.
    """
    state, new = _State(), partial(lane.prompts.new, units=1)
    head = lane.calls[0].read_at
    before: Call | None = None
    recorded: Call | None = None
    for call in lane.calls:
        if before is None or recorded is None:
            before, recorded = call, call
            yield call
            continue
        if _compacts(call):
            state.undone += max(0, recorded.marked - call.marked)
        elif call.how in ("shorter", "first") or call.marked < recorded.marked:
            state = _State()
        here = _sized(call, call.marked + state.undone - state.removed)
        if here.marked > size:
            yield ping(before, call.at_s)
            state.removed += here.marked - left
            here = replace(_sized(call, left), prompt=new(head), read_at=ROOT)
        elif state.undone or state.removed:
            here = replace(here, prompt=new(before.prompt), read_at=ROOT)
        yield here
        before, recorded = here, call


def _sized(call: Call, marked: int) -> Call:
    """A call with a prompt of ``marked`` tokens; what it was billed then says nothing more."""
    if marked == call.marked:
        return call
    tail = max(0, call.billed.total - call.marked)
    written = tuple(0 for _ in call.billed.written)
    marked = max(1, marked)
    return replace(call, marked=marked, billed=Tokens(marked + tail, written, 0))
