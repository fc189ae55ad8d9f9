"""Token traces: every prompt and reply as token ids, so any cache and any block size can be studied.

The format of the recorded engine runs in tests/fixtures/conformance: JSON Lines, plain or gzipped,
with ``id``, ``tokens``, ``output_tokens`` (lists of integers), ``arrival`` (a number) and optionally
``session``, ``turn``, ``priority`` (integers) and ``cache_salt`` (text).
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveFloat

from workloads.arrivals import ClosedLoop, Recorded, TraceArrivals
from workloads.errors import InputError
from workloads.formats.jsonl import Row, integers, number, whole
from workloads.formats.reader import Reader
from workloads.formats.timing import link_replies, span_note
from workloads.schema import Schema
from workloads.shown import shown
from workloads.trace import NONE, Trace

Units = list[tuple[Hashable, int]]


class TokensTrace(Schema):
    """A token trace; ``arrival_unit_s`` is what one unit of ``arrival`` means (recorded: a step).

    Equal tokens are equal content, replies included; requests with different ``cache_salt`` share
    nothing. Each salt is a tenant. Requests are sorted by (arrival, line). In closed loop requests
    come in this order, except that each waits for an earlier reply which its prompt contains, or else (a
    client that edits the history, or drops the reasoning) for the turn before it of its ``session``; unless
    the client has them all beforehand (``arrival.equal_arrival``).
    """

    kind: Literal["trace"]
    format: Literal["tokens"]
    path: Path
    """The file, or a folder of such files; relative to the configuration's folder or the current one."""
    arrival_unit_s: PositiveFloat = 1.0
    """Seconds that one unit of the file's `arrival` is."""
    arrival: TraceArrivals = Recorded()
    """When sessions start: `recorded` (with a `speed`), or a closed loop `{concurrency: N}`."""
    skip_bad_lines: NonNegativeInt = 0
    """How many lines that cannot be read are passed over, and counted in the notes, before the file is
    refused."""

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """Token ids of prompt and reply."""
        return row.keys() >= {"tokens", "output_tokens", "arrival"}

    def build(self, seed: int, folder: Path) -> Trace:
        """Read the file, relative to ``folder`` (that of the configuration) or the current one."""
        reader = Reader(self.path, folder, self.skip_bad_lines)
        requests = list(reader.each(_request))
        if not requests:
            raise InputError(f"{reader.path}: no requests; allowed: one JSON object a line")
        requests.sort(key=lambda request: (request["arrival"], request["line"]))
        trace = Trace(origin=reader.path.name, lines=None if reader.several else [], request_ids=[])
        assert trace.request_ids is not None
        content = trace.content
        for request in requests:  # every prompt and reply before any is used: segments still split
            content.insert(request["prompt"])
            content.insert(request["prompt"] + request["output"])
        salts: dict[str | None, int] = {}
        first_turn = min(request["turn"] for request in requests)  # some count turns from 0
        for request in requests:
            trace.add(
                prompt=content.insert(request["prompt"]),
                reply=content.insert(request["prompt"] + request["output"]),
                output_tokens=len(request["output"]),
                arrival_s=request["arrival"] * self.arrival_unit_s,
                session=request["session"],
                turn=request["turn"] + 1 - min(first_turn, 1),
                priority=request["priority"],
                tenant=salts.setdefault(request["salt"], len(salts)),
            )
            trace.request_ids.append(request["id"])
            if trace.lines is not None:
                trace.lines.append(request["line"])
        beforehand = isinstance(self.arrival, ClosedLoop) and self.arrival.equal_arrival is not None
        if not beforehand:
            link_replies(trace)
            if isinstance(self.arrival, ClosedLoop):
                _link_turns(trace)
        trace.notes = [
            span_note(trace, f"one unit of arrival read as {self.arrival_unit_s:g} s"),
            *reader.notes(),
        ]
        self.arrival.apply(trace)
        return trace


def _link_turns(trace: Trace) -> None:
    """Let a turn that contains no earlier reply go on from the one before it of its session."""
    latest: dict[int, tuple[int, int]] = {}
    """Of each session the last request of the turn before, and the last one."""
    for request, session in enumerate(trace.session):
        before, last = latest.get(session, (NONE, NONE))
        if last != NONE and trace.turn[request] > trace.turn[last]:
            before = last
        latest[session] = before, request
        if trace.continues[request] == NONE:
            trace.continues[request] = before


def _request(where: str, line: int, row: dict[str, Any]) -> dict[str, Any]:
    tokens, output = integers(row, "tokens", where), integers(row, "output_tokens", where)
    for key, value in (("tokens", tokens), ("output_tokens", output)):
        if not value:
            raise InputError(f"{where}: {key} is empty; allowed: at least one token")
    salt = row.get("cache_salt")
    if salt is not None and not isinstance(salt, str):
        raise InputError(f"{where}: cache_salt = {shown(salt)}; allowed: text, or absent")
    name = str(row.get("id", line))
    if not name.isprintable():
        raise InputError(f"{where}: id = {shown(name)}; allowed: printable text")
    prompt: Units = [(token, 1) for token in tokens]
    if salt is not None:
        prompt[0] = ((salt, tokens[0]), 1)
    return {
        "id": name,
        "line": line,
        "arrival": number(row, "arrival", where),
        "prompt": prompt,
        "output": [(token, 1) for token in output],
        "salt": salt,
        "session": whole(row, "session", where, 0) if "session" in row else line,
        "turn": whole(row, "turn", where, 0) if "turn" in row else 1,
        "priority": whole(row, "priority", where, 0) if "priority" in row else 0,
    }
