"""Where the message before each message ends, which is not always a segment before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workloads.trace import Trace


def messages_before(trace: Trace) -> Sequence[int]:
    """For each segment the one at which the message before its own ends (the root: there is none).

    That is the segment before it where the trace tells no messages apart. O(segments), once.
    """
    if trace.grows:
        return _Growing(trace)
    if not trace.continuations:
        return trace.content.parent
    before = list(trace.content.parent)
    for segment in trace.continuations:
        at = segment
        while at in trace.continuations:
            at = trace.content.parent[at]
        before[segment] = trace.content.parent[at]
    return before


class _Growing(Sequence[int]):
    """`messages_before` of a trace that grows, found when it is asked for."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __len__(self) -> int:
        return len(self._trace.content)

    def __getitem__(self, segment: Any) -> Any:
        parent, continuations = self._trace.content.parent, self._trace.continuations
        while segment in continuations:
            segment = parent[segment]
        return parent[segment]
