"""Mooncake JSONL and its dialects: arrival times, lengths and block ids, no text.

Source of the format: the traces released with R. Qin et al., "Mooncake: Trading More Storage for Less
Computation", FAST 2025. One request a line: ``timestamp`` (ms), ``input_length``, ``output_length``
(tokens), ``hash_ids`` (one id per block of the prompt; an id names a block and all before it).

Dialects that add fields: AIPerf (``session_id``, and ``delay`` in ms after the reply before), Qwen-Bailian
(``chat_id``, ``parent_chat_id``, ``turn``; times in s, blocks of 16 tokens), KVCache.AI (``block_size``).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from workloads.arrivals import ClosedLoop, Recorded, TraceArrivals
from workloads.errors import InputError
from workloads.formats.jsonl import Row, integers, number, whole
from workloads.formats.lengths_only import LENGTHS_ONLY
from workloads.formats.mooncake_text import MooncakeText
from workloads.formats.reader import Reader, rows_of
from workloads.formats.timing import SECONDS_PER_UNIT, close_loop, require_whole_ms, span_note
from workloads.schema import Schema
from workloads.shown import shown
from workloads.trace import NONE, Trace

BLOCK_TOKENS = 512
BAILIAN_BLOCK_TOKENS = 16
READ = {
    "timestamp", "delay", "input_length", "output_length", "hash_ids", "block_size", "session_id",
    "chat_id", "parent_chat_id", "turn", "type",
}  # fmt: skip
"""Keys that a dialect has and that are read, or say nothing more (``turn``, ``type``)."""
MOST_NAMES = 10
"""Of unknown keys in a note."""
TimeUnit = Literal["s", "ms"]


@dataclass(slots=True)
class _Request:
    """One line, checked."""

    where: str
    line: int
    session: Hashable
    """None where the line names none."""
    chat: int | None
    parent: int | None
    """Bailian: the line's own number, and that of the turn before."""
    at_s: float | None
    delay_s: float | None
    input_tokens: int
    output_tokens: int
    block_size: int
    ids: list[int] | None
    """None where the file has no ids."""
    before: _Request | None = None
    """Of the same session."""
    turn: int = 1
    index: int = NONE
    """In the trace."""
    sort_s: float = 0.0
    """Its place among requests with times: never before the request that it waits for."""


class MooncakeTrace(Schema):
    """A file in Mooncake's format or one of its dialects, or a folder of such files.

    Requests are sorted by (time, line). Arrivals are kept as recorded; Mooncake's own files release
    them in ticks of 3 s. The last id of a prompt may name a partial block or be left out; tokens that
    no id names are shared with nobody, the reply included, so hits are a lower bound.

    Requests with one ``session_id`` (or linked by ``parent_chat_id``) are the turns of a session, in the
    order of their times, or of their lines where they have none. A turn with a ``delay`` and no
    ``timestamp`` comes that long after the reply before. Where a turn has both, its recorded time counts
    in open loop and its delay in closed loop, in which every turn waits for the one before.

    A file whose rows have ``text_input`` or ``messages`` in place of ids is read as ``mooncake_text``; one
    with lengths and no ids gives no hit rates.
    """

    kind: Literal["trace"]
    format: Literal["mooncake"]
    path: Path
    """The file, or a folder of such files; relative to the configuration's folder or the current one."""
    block_size: PositiveInt | None = Field(
        default=None,
        description="tokens named by one id; by default 512, Bailian's 16, or as the file says",
    )
    time_unit: TimeUnit | None = Field(
        default=None, description="by default ms, and s for Bailian's; ms that have fractions are refused"
    )
    arrival: TraceArrivals = Recorded()
    """When sessions start: `recorded` (with a `speed`), or a closed loop `{concurrency: N}`."""
    skip_bad_lines: NonNegativeInt = 0
    """How many lines that cannot be read are passed over, and counted in the notes, before the file is
    refused."""

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """Lengths and block ids."""
        return row.keys() >= {"input_length", "output_length"}

    def build(self, seed: int, folder: Path) -> Trace:
        """Read the file, relative to ``folder`` (that of the configuration) or the current one."""
        reader = Reader(self.path, folder, self.skip_bad_lines)
        texts = self._with_texts(reader)
        if texts is not None:
            return texts.build(seed, folder)
        unread: set[str] = set()

        def request(where: str, line: int, row: Row) -> _Request:
            unread.update(row.keys() - READ)
            return self._request(where, line, row)

        requests = list(reader.each(request))
        if not requests:
            raise InputError(f"{reader.path}: no requests; allowed: one JSON object a line")
        sizes = sorted({request.block_size for request in requests})
        if len(sizes) > 1:
            raise InputError(f"{reader.path}: blocks of {sizes} tokens; allowed: one size for all requests")
        nameless = [request for request in requests if request.ids is None]
        if nameless and len(nameless) < len(requests):
            raise InputError(f"{nameless[0].where}: no hash_ids; allowed: in all lines, or in none")
        _link(requests)
        self._require_times(requests)
        trace = Trace(origin=reader.path.name, lengths_only=bool(nameless))
        if not nameless:
            trace.named_blocks, trace.block_id_tokens = [], sizes[0]
        trace.lines = None if reader.several else []
        _add(trace, requests)
        trace.notes = [*self._notes(trace, requests), *reader.notes()]
        if unread:
            names = ", ".join(shown(name) for name in sorted(unread)[:MOST_NAMES])
            trace.notes.append(f"{trace.origin}: keys that are not read: {names} (sessions: session_id)")
        if isinstance(self.arrival, ClosedLoop):
            close_loop(trace)
        self.arrival.apply(trace)
        return trace

    def _with_texts(self, reader: Reader) -> MooncakeText | None:
        """The same file as one of AIPerf's text dialects, if its first row is of one."""
        for _, _, row in rows_of(reader.files[0]):
            if isinstance(row, InputError) or not MooncakeText.recognises(row) or "hash_ids" in row:
                return None
            return MooncakeText(
                kind="trace",
                format="mooncake_text",
                path=self.path,
                arrival=self.arrival,
                time_unit=self.time_unit,
                skip_bad_lines=self.skip_bad_lines,
            )
        return None

    def _request(self, where: str, line: int, row: Row) -> _Request:
        bailian = "chat_id" in row
        input_tokens = whole(row, "input_length", where)
        size = self.block_size or (BAILIAN_BLOCK_TOKENS if bailian else BLOCK_TOKENS)
        if self.block_size is None and "block_size" in row:
            size = whole(row, "block_size", where)
        ids = integers(row, "hash_ids", where) if "hash_ids" in row else None
        least, most = input_tokens // size, -(-input_tokens // size)
        if ids is not None and not least <= len(ids) <= most:
            raise InputError(
                f"{where}: hash_ids has {len(ids)} ids for input_length = {input_tokens}; allowed: "
                f"{least} to {most} at block_size {size} (is the block size right?)"
            )
        session = row.get("session_id")
        if isinstance(session, list | dict):
            raise InputError(f"{where}: session_id = {shown(session)}; allowed: text or a number")
        parent = whole(row, "parent_chat_id", where, -1) if bailian else None
        return _Request(
            where=where,
            line=line,
            session=session,
            chat=whole(row, "chat_id", where, 0) if bailian else None,
            parent=None if parent == -1 else parent,
            at_s=self._time_s(row, "timestamp", where, bailian),
            delay_s=self._time_s(row, "delay", where, bailian),
            input_tokens=input_tokens,
            output_tokens=whole(row, "output_length", where),
            block_size=size,
            ids=ids,
        )

    def _time_s(self, row: Row, key: str, where: str, bailian: bool) -> float | None:
        if row.get(key) is None:
            return None
        value = number(row, key, where)
        unit = self.time_unit or ("s" if bailian else "ms")
        if self.time_unit is None and unit == "ms":
            require_whole_ms(value, key, where)
        return value * SECONDS_PER_UNIT[unit]

    def _require_times(self, requests: list[_Request]) -> None:
        """Every request comes at a time or after another one; in closed loop neither is needed."""
        if isinstance(self.arrival, ClosedLoop):
            return
        for request in requests:
            if request.at_s is None and request.before is None:
                raise InputError(
                    f"{request.where}: timestamp = None; allowed: a number of at least 0; a delay counts "
                    "from the second line of a session_id on; a file without times needs "
                    "arrival: {process: closed_loop, concurrency: N}"
                )

    def _notes(self, trace: Trace, requests: list[_Request]) -> list[str]:
        bailian = requests[0].chat is not None
        unit = self.time_unit or ("s" if bailian else "ms")
        if trace.lengths_only:
            return [span_note(trace, f"times read as {unit}"), f"{trace.origin}: {LENGTHS_ONLY}"]
        notes = [span_note(trace, f"times read as {unit}, ids as blocks of {trace.block_id_tokens} tokens")]
        if all(request.before is None for request in requests):
            if isinstance(self.arrival, ClosedLoop):
                notes.append(
                    f"{trace.origin}: the file has no sessions: turns of one conversation do not wait "
                    f"for each "
                    "other, and may come before the reply that they contain"
                )
        else:
            sessions = len(set(trace.session))
            notes.append(
                f"{trace.origin}: {sessions:,} sessions; a turn's prompt is taken to contain the reply "
                "before it, whose blocks the file does not name: hits are a lower bound"
            )
        return notes


def _link(requests: list[_Request]) -> None:
    """Find the turn before each turn of a session, number the turns and place them in time."""
    chats: dict[int | None, _Request] = {
        request.chat: request for request in requests if request.chat is not None
    }
    sessions: dict[Hashable, list[_Request]] = {}
    for request in requests:
        if request.chat is not None:
            request.session = _first_chat(request, chats)
        if request.session is not None:
            sessions.setdefault(request.session, []).append(request)
    for request in requests:
        request.sort_s = request.at_s or 0.0
    for turns in sessions.values():
        if all(request.at_s is not None for request in turns):
            turns.sort(key=attrgetter("sort_s"))
        for before, request in pairwise(turns):
            request.before, request.turn = before, before.turn + 1
            if request.at_s is None:
                request.sort_s = before.sort_s + (request.delay_s or 0.0)


def _first_chat(request: _Request, chats: dict[int | None, _Request]) -> Hashable:
    """The first turn of the conversation that a Bailian request belongs to, as far as the file has it."""
    passed = {request.chat}
    while request.parent is not None and request.parent in chats and request.parent not in passed:
        passed.add(request.parent)
        request = chats[request.parent]
    return "chat", request.chat


def _add(trace: Trace, requests: list[_Request]) -> None:
    """Add the requests by time; those at one time as they were read."""
    first_s = min((request.at_s for request in requests if request.at_s is not None), default=0.0)
    numbers: dict[Hashable, int] = {}
    for place, request in enumerate(sorted(requests, key=attrgetter("sort_s"))):
        ids = request.ids or []
        units: list[tuple[Hashable, int]] = [(i, request.block_size) for i in ids]
        rest = request.input_tokens - request.block_size * len(ids)
        if rest < 0:
            units[-1] = (ids[-1], request.block_size + rest)
        elif rest > 0:
            units.append((("unnamed", place), rest))
        key = ("alone", place) if request.session is None else request.session
        waits = request.at_s is None and request.before is not None
        before = NONE if request.before is None else request.before.index
        request.index = trace.add(
            prompt=trace.content.insert(units),
            output_tokens=request.output_tokens,
            arrival_s=None if waits else (request.at_s or first_s) - first_s,
            follows=before if waits else NONE,
            think_s=request.delay_s or 0.0 if before != NONE else 0.0,
            continues=before,
            session=numbers.setdefault(key, len(numbers)),
            turn=request.turn,
        )
        if trace.named_blocks is not None:
            trace.named_blocks.append(len(ids))
        if trace.lines is not None:
            trace.lines.append(request.line)
