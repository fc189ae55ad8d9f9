"""Which requests leave the batch when the next decode step does not fit: SGLang's retraction.

As read from SGLang 0.5.23 (``ScheduleBatch.retract_decode`` in ``managers/schedule_batch.py``).
"""

from __future__ import annotations

from typing import NamedTuple

from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.request import SglangRequest

RETRACT_DECODE_STEPS = 20
"""Decode steps that a retraction makes room for, and counts as to come."""


class Retraction(NamedTuple):
    """What became of a batch."""

    kept: list[SglangRequest]
    """In their new order."""
    retracted: list[SglangRequest]
    aborted: SglangRequest | None


def retract(
    batch: list[SglangRequest],
    priority: list[int] | None,
    memory: SglangMemory,
    *,
    to_the_last: bool = False,
) -> Retraction:
    """Take requests out of ``batch`` until the others can decode; at least one, never the last.

    Fewest generated tokens first, of these the longest prompt; with ``priority`` (per request of the trace)
    the lowest one before all. What a request has not in the tree is lost; then the tree makes room for some
    steps of the others. If even the last one cannot go on it is aborted or, ``to_the_last``, retracted too.
    """

    def worth(request: SglangRequest) -> tuple[int, int, int]:
        rank = 0 if priority is None else priority[request.index]
        return rank, request.generated, -request.prompt_tokens

    kept = sorted(batch, key=worth, reverse=True)
    retracted: list[SglangRequest] = []
    while len(kept) > 1 and not (retracted and _fit(kept, memory)):
        request = kept.pop()
        memory.release(request.kv)
        memory.make_room(-(-RETRACT_DECODE_STEPS * len(kept) // memory.page_size))
        retracted.append(request)
    aborted = None
    if len(kept) == 1 and not _fit(kept, memory):
        last = kept.pop()
        memory.release(last.kv)
        if to_the_last:
            retracted.append(last)
        else:
            aborted = last
    return Retraction(kept, retracted, aborted)


def _fit(requests: list[SglangRequest], memory: SglangMemory) -> bool:
    """Whether each of ``requests`` that needs a page for its next token gets one."""
    needed = sum(request.computed % memory.page_size == 0 for request in requests)
    memory.make_room(needed)
    return memory.free_pages >= needed
