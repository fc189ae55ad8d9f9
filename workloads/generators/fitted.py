"""Sessions like those of a recorded trace: their shapes, drawn anew, with content of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from workloads.content import ROOT, ContentTree
from workloads.formats.files import find_file
from workloads.generators.generated import Generated
from workloads.seeds import stream
from workloads.shapes import Call, Shapes, read
from workloads.trace import NONE, Trace


class FittedWorkload(Generated):
    """Sessions whose shapes are in the file ``path``, which ``python -m workloads fit`` writes.

    A shape is how much of each prompt stays for the next one and how much is new, the length of replies
    and the gaps. All shapes are used once in a random order, then again in another one, so that a run of
    any length has the lengths, turns and gaps of the trace, and their dependence on each other within a
    session. What is new is content of its own; texts that several sessions began with are shared here too.

    ``gaps: after_reply`` lets a request come its think time after the reply before, whatever that takes
    here. ``start_to_start`` adds the service time of then, for replays in which nothing takes time.
    """

    kind: Literal["fitted"]
    path: Path
    """The file of shapes that `python -m workloads fit` wrote."""
    gaps: Literal["after_reply", "start_to_start"] = "after_reply"
    """Whether a request comes a think time `after_reply`, or a time after the `start_to_start` of the call
    before."""

    def build(self, seed: int, folder: Path) -> Trace:
        """Draw the trace from the file, which is relative to ``folder`` or the current one."""
        return self.draw(read(find_file(self.path, folder)), seed)

    def draw(self, shapes: Shapes, seed: int) -> Trace:
        """Draw the trace from these shapes."""
        trace = Trace()
        heads: list[int] = []
        for above, tokens in shapes.heads:
            at = ROOT if above == NONE else heads[above]
            heads.append(trace.content.append(at, tokens - trace.content.end[at]))
        order = stream(seed, "shapes")
        waiting: list[int] = []
        for session, start_s in enumerate(self.starts_s(seed)):
            if not waiting:
                waiting = order.permutation(len(shapes.sessions)).tolist()
            shape = shapes.sessions[waiting.pop()]
            at = ROOT if shape.head == NONE else heads[shape.head]
            before = NONE
            for turn, call in enumerate(shape.calls, start=1):
                at = self._prompt(trace, at, before, call)
                gap_s = call.think_s + (call.took_s if self.gaps == "start_to_start" else 0.0)
                before = trace.add(
                    prompt=at,
                    output_tokens=call.output_tokens,
                    arrival_s=start_s if before == NONE else None,
                    follows=before,
                    think_s=gap_s,
                    session=session,
                    turn=turn,
                )
        self.arrival.apply(trace)
        return trace

    def _prompt(self, trace: Trace, at: int, before: int, call: Call) -> int:
        """The segment at which the prompt of ``call`` ends; the prompt before it ends at ``at``."""
        content, grown = trace.content, call.grown
        if call.kept < 1:
            at = _shortened(content, at, round(call.kept * content.end[at]))
        elif call.resent:
            at, grown = trace.reply[before], grown - trace.output_tokens[before]
        if at == ROOT:
            grown = max(1, grown)
        return content.append(at, grown) if grown else at


def _shortened(content: ContentTree, at: int, tokens: int) -> int:
    """The segment at which the first ``tokens`` tokens of the path to ``at`` end."""
    while content.end[at] > tokens:
        above = content.parent[at]
        if content.end[above] < tokens:
            return content.cut(at, tokens - content.end[above])
        at = above
    return at
