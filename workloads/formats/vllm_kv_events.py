"""vLLM's KV cache events: which blocks were stored, with their tokens, and which were removed.

Source of the format: vLLM, ``vllm/distributed/kv_events.py``: batches of ``ts`` (s) and ``events``,
published over ZMQ when ``--kv-events-config`` enables them. A file has a batch a line as JSON, events as
objects with their ``type`` or as the arrays of the wire (``["BlockStored", hashes, parent, token ids, block
size, ...]``):

    {"ts": 12.5, "events": [{"type": "BlockStored", "block_hashes": [7, 8], "parent_block_hash": null,
                             "token_ids": [1, 2, 3, 4], "block_size": 2}]}
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt

from workloads.arrivals import ClosedLoop, Recorded, TraceArrivals
from workloads.errors import InputError
from workloads.formats.jsonl import Row, integers, number, whole
from workloads.formats.reader import Reader
from workloads.formats.timing import close_loop, span_note
from workloads.schema import MOST_S, Schema
from workloads.shown import shown
from workloads.trace import NONE, Trace

FIELDS = (
    "type", "block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium",
    "lora_name", "extra_keys", "group_idx",
)  # fmt: skip
"""Of BlockStored, in the order of the wire."""
STORED, REMOVED, CLEARED = "BlockStored", "BlockRemoved", "AllBlocksCleared"
Unit = tuple[Hashable, int]


@dataclass(slots=True)
class _Stored:
    """A BlockStored event of blocks on a GPU."""

    where: str
    line: int
    at_s: float
    rank: int
    hashes: list[Hashable]
    parent: Hashable
    block_tokens: int


@dataclass(slots=True)
class _Request:
    """A request as its blocks show it."""

    line: int
    sent_s: float
    last_s: float
    prompt: Hashable
    """The hash of its last whole block."""
    before: int
    """The request whose last block its first new one follows, or NONE."""
    session: int
    turn: int
    reply: list[Hashable] = field(default_factory=list)


class VllmKvEvents(Schema):
    """Requests put together from the blocks that a server stored.

    The prefill of a request stores several blocks at once (or goes on doing so, chunk by chunk), its decode
    one block at a time behind them. So a request begins with a block that goes on from no other one stored
    within the last ``idle_s``, or where several blocks come at once behind single ones. A request that goes
    on behind another one's last block is the next turn of its session. What such a log cannot know is in
    the notes.
    """

    kind: Literal["trace"]
    format: Literal["vllm_kv_events"]
    path: Path
    """The file, or a folder of such files; relative to the configuration's folder or the current one."""
    idle_s: float = Field(default=5.0, gt=0, le=MOST_S)
    """A request that stored no block for so long is over."""
    arrival: TraceArrivals = Recorded()
    """When sessions start: `recorded` (with a `speed`), or a closed loop `{concurrency: N}`."""
    skip_bad_lines: NonNegativeInt = 0
    """How many lines that cannot be read are passed over, and counted in the notes, before the file is
    refused."""

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """A batch with its time and events."""
        events = row.get("events")
        return (
            "ts" in row and isinstance(events, list) and all(isinstance(one, list | dict) for one in events)
        )

    def build(self, seed: int, folder: Path) -> Trace:
        """Read the file or folder, relative to ``folder`` (of the configuration) or the current one."""
        reader = Reader(self.path, folder, self.skip_bad_lines)
        stored: list[_Stored] = []
        for batch in reader.each(lambda where, line, row: _batch(where, line, row, reader)):
            stored += batch
        stored.sort(key=lambda event: event.at_s)
        sizes = sorted({event.block_tokens for event in stored})
        if len(sizes) > 1:
            raise InputError(f"{reader.path}: blocks of {sizes} tokens; allowed: one size")
        found = _Requests(self.idle_s)
        for event in stored:
            found.add(event)
        if not found.requests:
            raise InputError(f"{reader.path}: no requests; allowed: BlockStored events, one batch a line")
        trace = _trace(found, sizes[0], reader)
        trace.notes = self._notes(trace, found, reader)
        if isinstance(self.arrival, ClosedLoop):
            close_loop(trace)
        self.arrival.apply(trace)
        return trace

    def _notes(self, trace: Trace, found: _Requests, reader: Reader) -> list[str]:
        size = trace.block_id_tokens
        notes = [
            f"events say when blocks were stored, no more: requests are put together from chains of "
            f"blocks, those of one request at most {self.idle_s:g} s apart",
            "a prompt that was found whole in the cache leaves no event and is not in the trace: the hit "
            "rate of the server was higher",
            f"a request comes when its first new block was stored, not when it was sent; its end is known "
            f"to a block of {size} tokens, and so is where its reply begins",
        ]
        if found.orphans:
            notes.append(
                f"{found.orphans:,} events go on from blocks that were stored before the first line: left "
                "out"
            )
        return [
            span_note(trace, f"times read as s, hashes as blocks of {size} tokens"),
            *(f"{trace.origin}: {note}" for note in notes),
            *reader.notes(),
        ]


def _batch(where: str, line: int, row: Row, reader: Reader) -> list[_Stored]:
    """The blocks that a batch stored on GPUs."""
    at_s = number(row, "ts", where)
    rank = row.get("data_parallel_rank") or 0
    events = row.get("events")
    if not isinstance(events, list) or type(rank) is not int:
        raise InputError(f"{where}: events = {shown(events)}; allowed: a list of events")
    found = []
    for place, raw in enumerate(events, start=1):
        event = dict(zip(FIELDS, raw, strict=False)) if isinstance(raw, list) else raw
        kind = event.get("type") if isinstance(event, dict) else None
        if kind in (REMOVED, CLEARED):
            reader.left_out[f"{kind} events (what a cache removes is the simulation's to say)"] += 1
            continue
        if kind != STORED:
            raise InputError(
                f"{where}: event {place}: type = {shown(kind)}; allowed: {STORED}, {REMOVED}, {CLEARED}"
            )
        if event.get("medium") not in (None, "GPU") or event.get("group_idx"):
            reader.left_out["BlockStored events of other media or further groups of layers"] += 1
            continue
        found.append(_stored(f"{where}: event {place}", line, at_s, rank, event))
    return found


def _stored(where: str, line: int, at_s: float, rank: int, event: dict[str, Any]) -> _Stored:
    hashes, size = event.get("block_hashes"), whole(event, "block_size", where)
    if not isinstance(hashes, list) or not hashes or not all(isinstance(one, str | int) for one in hashes):
        raise InputError(f"{where}: block_hashes = {shown(hashes)}; allowed: a list of hashes")
    tokens = integers(event, "token_ids", where)
    if len(tokens) != size * len(hashes):
        raise InputError(
            f"{where}: token_ids has {len(tokens)} for {len(hashes)} blocks; allowed: {size * len(hashes)} "
            f"(blocks of {size} tokens)"
        )
    parent = event.get("parent_block_hash")
    if parent is not None and not isinstance(parent, str | int):
        raise InputError(f"{where}: parent_block_hash = {shown(parent)}; allowed: a hash, or null")
    return _Stored(where, line, at_s, rank, hashes, parent, size)


class _Requests:
    """All requests that the events so far show."""

    def __init__(self, idle_s: float) -> None:
        self.requests: list[_Request] = []
        self.before: dict[Hashable, Hashable] = {None: None}
        """For each block the one before it."""
        self.orphans = 0
        self._idle_s = idle_s
        self._owner: dict[tuple[int, Hashable], int] = {}
        """The request that ends with a block, by rank."""
        self._sessions = 0

    def add(self, event: _Stored) -> None:
        """Blocks that were stored now."""
        if event.parent not in self.before:
            self.orphans += 1
            return
        above = event.parent
        for block in event.hashes:
            self.before[block] = above
            above = block
        owner = self._owner.pop((event.rank, event.parent), NONE) if event.parent is not None else NONE
        last = event.hashes[-1]
        if owner != NONE and self._goes_on(self.requests[owner], event):
            request = self.requests[owner]
            request.last_s = event.at_s
            if len(event.hashes) == 1:
                request.reply.append(last)
            else:
                request.prompt = last
            self._owner[event.rank, last] = owner
            return
        earlier = self.requests[owner] if owner != NONE else None
        if earlier is None:
            self._sessions += 1
        session, turn = (self._sessions - 1, 1) if earlier is None else (earlier.session, earlier.turn + 1)
        self._owner[event.rank, last] = len(self.requests)
        self.requests.append(_Request(event.line, event.at_s, event.at_s, last, owner, session, turn))

    def _goes_on(self, request: _Request, event: _Stored) -> bool:
        """Whether the event is more of a request that is under way."""
        if event.at_s - request.last_s > self._idle_s:
            return False
        return len(event.hashes) == 1 or not request.reply

    def units(self, block: Hashable, size: int) -> list[Unit]:
        """The blocks up to ``block``, the first one first."""
        found: list[Unit] = []
        while block is not None:
            found.append((block, size))
            block = self.before[block]
        found.reverse()
        return found


def _trace(found: _Requests, size: int, reader: Reader) -> Trace:
    trace = Trace(origin=reader.path.name, named_blocks=[], block_id_tokens=size)
    assert trace.named_blocks is not None
    content, requests = trace.content, found.requests
    trace.lines = None if reader.several else [request.line for request in requests]
    ends = [request.reply[-1] if request.reply else request.prompt for request in requests]
    for request, end in zip(requests, ends, strict=True):  # all, before any is used: segments still split
        content.insert(found.units(request.prompt, size))
        content.insert(found.units(end, size))
    for request, end in zip(requests, ends, strict=True):
        prompt = content.insert(found.units(request.prompt, size))
        trace.add(
            prompt=prompt,
            reply=content.insert(found.units(end, size)) if request.reply else None,
            output_tokens=size * len(request.reply) or 1,
            arrival_s=request.sent_s - requests[0].sent_s,
            continues=request.before,
            session=request.session,
            turn=request.turn,
        )
        trace.named_blocks.append(content.end[prompt] // size)
    return trace
