"""The shapes of recorded sessions: how prompts grow, shrink and follow each other, without content."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from workloads.content import ROOT
from workloads.errors import InputError
from workloads.shown import why
from workloads.trace import NONE, Trace

VERSION = 1
CONTINUED_ONCE = 2
"""Behind a text that prompts share, more prompts than this go on, each in its own way."""


@dataclass(slots=True)
class Call:
    """One request of a session."""

    kept: float
    """Share of the prompt before that stays as the beginning of this one; 1: all of it."""
    grown: int
    """Tokens behind what stays, the reply before included where it is resent."""
    resent: bool
    """Whether the reply before is resent, at the place where it was generated."""
    output_tokens: int
    think_s: float
    """From the reply before to this request, or from the request before where its end is not known."""
    took_s: float
    """From the request before to its reply; 0 where that is not known."""


@dataclass(slots=True)
class Shape:
    """One session."""

    head: int
    """The shared text that its first prompt begins with (an index into `Shapes.heads`), or NONE."""
    calls: list[Call]


@dataclass(slots=True)
class Shapes:
    """All sessions of a trace, in the order of their starts."""

    sessions: list[Shape] = field(default_factory=list)
    heads: list[tuple[int, int]] = field(default_factory=list)
    """Texts that several sessions begin with, as (the head before it or NONE, tokens up to its end)."""
    starts_s: list[float] = field(default_factory=list)
    span_s: float = 0.0
    """From the start of the trace to its last request."""
    by_content: bool = False
    """Whether the trace has no sessions, and requests were put together by what their prompts contain."""


def shapes_of(trace: Trace) -> Shapes:
    """The shapes of all sessions. O(segments of all prompts)."""
    if trace.lengths_only:
        raise InputError(f"{trace.origin}: lengths only: nothing is known of what prompts share")
    order = trace.instant_order()
    by_content = len(set(trace.session)) == len(trace)
    sessions = linked(trace, [i for _, i in order]) if by_content else trace.session
    members: dict[int, list[tuple[float, int]]] = {}
    for at_s, i in order:
        members.setdefault(sessions[i], []).append((at_s, i))
    heads = _Heads(trace, sessions)
    found = Shapes(span_s=order[-1][0], by_content=by_content)
    for calls in members.values():
        first_s, first = calls[0]
        head, head_tokens = heads.of(first)
        shape = Shape(head, [])
        tokens = trace.content.end[trace.prompt[first]] - head_tokens
        shape.calls.append(Call(1.0, tokens, False, trace.output_tokens[first], 0.0, 0.0))
        for (before_s, before), (at_s, i) in pairwise(calls):
            shape.calls.append(_call(trace, before, i, at_s - before_s))
        found.sessions.append(shape)
        found.starts_s.append(first_s)
    found.heads = heads.known
    return found


def _call(trace: Trace, before: int, i: int, gap_s: float) -> Call:
    """Request ``i``, which comes ``gap_s`` after ``before`` of the same session."""
    content = trace.content
    earlier, tokens = content.end[trace.prompt[before]], content.end[trace.prompt[i]]
    shared = common_tokens(trace, before, i)
    took_s = (trace.api_s[before] or 0.0) if trace.api_s is not None else 0.0
    took_s = min(took_s, gap_s)
    output = trace.output_tokens[i]
    if shared >= content.end[trace.anchors[before]] and tokens >= earlier:
        grown = tokens - earlier
        known = trace.named_blocks is None  # else no block is named after the reply
        resent = grown >= trace.output_tokens[before] and (
            not known or shared >= earlier + trace.output_tokens[before]
        )
        return Call(1.0, grown, resent, output, gap_s - took_s, took_s)
    kept = min(shared, earlier, tokens - 1)
    return Call(kept / earlier, tokens - kept, False, output, gap_s - took_s, took_s)


def common_tokens(trace: Trace, before: int, i: int) -> int:
    """Tokens that prompt ``i`` shares with the prompt ``before`` and its reply."""
    content = trace.content
    return content.end[content.shared(trace.reply[before], trace.prompt[i])]


def linked(trace: Trace, order: Sequence[int]) -> list[int]:
    """For each request the session that it belongs to by content, where the trace names none.

    It goes on with the latest request that has the longest beginning in common with it, unless what they
    have in common is a text that many prompts begin with.
    """
    parent = trace.content.parent
    below: dict[int, set[int]] = {}
    for prompt in trace.prompt:
        at = prompt
        while at != ROOT and parent[at] != ROOT and at not in below.setdefault(parent[at], set()):
            below[parent[at]].add(at)
            at = parent[at]
    latest: dict[int, int] = {}
    sessions = [NONE] * len(trace)
    for i in order:
        at = trace.prompt[i]
        while at != ROOT and at not in latest:
            at = parent[at]
        alone = at != ROOT and len(below.get(at, ())) <= CONTINUED_ONCE
        sessions[i] = sessions[latest[at]] if alone else i
        at = trace.prompt[i]
        while at != ROOT:
            latest[at] = i
            at = parent[at]
    return sessions


class _Heads:
    """The texts that prompts of several sessions have in common."""

    def __init__(self, trace: Trace, sessions: Sequence[int]) -> None:
        self._trace = trace
        self._user: dict[int, int] = {}
        """The one session that uses a segment, or NONE for several."""
        self._number: dict[int, int] = {}
        self.known: list[tuple[int, int]] = []
        parent = trace.content.parent
        for prompt, session in zip(trace.prompt, sessions, strict=True):
            at = prompt
            while at != ROOT and (user := self._user.get(at)) not in (session, NONE):
                self._user[at] = session if user is None else NONE
                at = parent[at]

    def of(self, request: int) -> tuple[int, int]:
        """The head of a prompt, and its tokens; NONE and 0 if it begins with nothing that others have."""
        at, parent = self._trace.prompt[request], self._trace.content.parent
        while at != ROOT and self._user[at] != NONE:
            at = parent[at]
        return self._head(at), self._trace.content.end[at]

    def _head(self, segment: int) -> int:
        if segment == ROOT:
            return NONE
        if segment not in self._number:
            above = self._trace.content.parent[segment]
            while above != ROOT and above not in self._number:
                above = self._trace.content.parent[above]
            self.known.append((self._number.get(above, NONE), self._trace.content.end[segment]))
            self._number[segment] = len(self.known) - 1
        return self._number[segment]


COLUMNS = {
    "session": "int64",
    "head": "int64",
    "kept": "float64",
    "grown": "int64",
    "resent": "bool",
    "output_tokens": "int64",
    "think_s": "float64",
    "took_s": "float64",
}
"""Those of a file of shapes, which has a row for each request: its session, and the fields of `Call`."""
OF_CALL = [name for name in COLUMNS if name not in ("session", "head")]


def write(shapes: Shapes, path: Path) -> None:
    """Write the sessions as a table with a row for each request."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = [
        {"session": number, "head": shape.head, **{name: getattr(call, name) for name in OF_CALL}}
        for number, shape in enumerate(shapes.sessions)
        for call in shape.calls
    ]
    about = json.dumps({"version": VERSION, "heads": shapes.heads})
    table = pa.Table.from_pylist(rows, _schema()).replace_schema_metadata({"prefixsim_shapes": about})
    parquet.write_table(table, path, compression="zstd")


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])


def read(path: Path) -> Shapes:
    """The sessions of a file that `write` wrote."""
    import pyarrow as pa
    from pyarrow import parquet

    allowed = "allowed: a file of session shapes, written by python -m workloads fit"
    try:
        table = parquet.read_table(path)
        about = json.loads((table.schema.metadata or {}).get(b"prefixsim_shapes", b"{}"))
    except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({why(error)}); {allowed}") from None
    known = isinstance(about, dict) and about.get("version") == VERSION
    if not known or not len(table) or not table.schema.equals(_schema()):
        raise InputError(f"{path}: no session shapes of version {VERSION}; {allowed}")
    found = Shapes()
    try:
        for above, tokens in about["heads"]:
            assert NONE <= above < len(found.heads) and type(tokens) is int
            assert tokens > (0 if above == NONE else found.heads[above][1])
            found.heads.append((above, tokens))
        for row in table.to_pylist():
            if row["session"] == len(found.sessions):
                found.sessions.append(Shape(row["head"], []))
            call = Call(*(row[name] for name in OF_CALL))
            assert 0 <= call.kept <= 1 and call.grown >= 0 and call.output_tokens >= 1
            assert call.think_s >= 0 and call.took_s >= 0 and NONE <= row["head"] < len(found.heads)
            assert call.resent is not None and row["session"] >= 0
            found.sessions[row["session"]].calls.append(call)
    except (AssertionError, KeyError, TypeError, ValueError, IndexError):
        raise InputError(f"{path}: shapes that contradict themselves; {allowed}") from None
    return found
