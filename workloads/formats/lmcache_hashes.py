"""LMCache's log of looked-up hashes: one prompt a line as the hashes of its full chunks.

Source of the format: LMCache 0.5.7, ``lmcache server --lookup-hash-log-dir``: ``timestamp`` (s),
``seq_len``, ``chunk_size`` (256), ``chunk_hashes`` (of full chunks). Replies and sessions are not in it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt

from workloads.arrivals import ClosedLoop, Recorded, TraceArrivals
from workloads.errors import InputError
from workloads.formats.jsonl import Row, number, whole
from workloads.formats.reader import Reader
from workloads.formats.timing import close_loop, span_note
from workloads.schema import Schema
from workloads.shown import shown
from workloads.trace import Trace


@dataclass(slots=True)
class _Lookup:
    line: int
    at_s: float
    tokens: int
    chunk_tokens: int
    hashes: list[Any]
    name: str


class LmcacheHashes(Schema):
    """Prompts as chunks, replies of ``reply_tokens`` that nobody shares: hits are a lower bound."""

    kind: Literal["trace"]
    format: Literal["lmcache_hashes"]
    path: Path
    """The file, or a folder of such files; relative to the configuration's folder or the current one."""
    reply_tokens: PositiveInt = 1
    """Length of every reply, which the log does not have; 1: only what is read counts."""
    arrival: TraceArrivals = Recorded()
    """When sessions start: `recorded` (with a `speed`), or a closed loop `{concurrency: N}`."""
    skip_bad_lines: NonNegativeInt = 0
    """How many lines that cannot be read are passed over, and counted in the notes, before the file is
    refused."""

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """The hashes and their size."""
        return row.keys() >= {"chunk_hashes", "chunk_size", "seq_len"}

    def build(self, seed: int, folder: Path) -> Trace:
        """Read the file or folder, relative to ``folder`` (of the configuration) or the current one."""
        reader = Reader(self.path, folder, self.skip_bad_lines)
        lookups = sorted(reader.each(_lookup), key=lambda lookup: lookup.at_s)
        if not lookups:
            raise InputError(f"{reader.path}: no requests; allowed: one JSON object a line")
        sizes = {lookup.chunk_tokens for lookup in lookups}
        if len(sizes) > 1:
            raise InputError(f"{reader.path}: chunks of {sorted(sizes)} tokens; allowed: one size")
        trace = Trace(named_blocks=[], block_id_tokens=sizes.pop(), origin=reader.path.name, request_ids=[])
        assert trace.named_blocks is not None and trace.request_ids is not None
        for place, lookup in enumerate(lookups):
            units: list[tuple[Hashable, int]] = [(key, lookup.chunk_tokens) for key in lookup.hashes]
            rest = lookup.tokens - lookup.chunk_tokens * len(units)
            if rest:
                units.append((("unnamed", place), rest))
            trace.add(
                prompt=trace.content.insert(units),
                output_tokens=self.reply_tokens,
                arrival_s=lookup.at_s - lookups[0].at_s,
            )
            trace.named_blocks.append(len(lookup.hashes))
            trace.request_ids.append(lookup.name)
        trace.lines = None if reader.several else [lookup.line for lookup in lookups]
        trace.notes = [
            span_note(trace, f"times read as s, hashes as chunks of {trace.block_id_tokens} tokens"),
            f"{trace.origin}: replies and sessions are not in the file: every reply has "
            f"{self.reply_tokens} "
            "tokens, and hits are a lower bound",
            *reader.notes(),
        ]
        if isinstance(self.arrival, ClosedLoop):
            close_loop(trace)
        self.arrival.apply(trace)
        return trace


def _lookup(where: str, line: int, row: Row) -> _Lookup:
    tokens, size = whole(row, "seq_len", where), whole(row, "chunk_size", where)
    hashes = row.get("chunk_hashes")
    if not isinstance(hashes, list) or not all(isinstance(item, str | int) for item in hashes):
        raise InputError(f"{where}: chunk_hashes = {shown(hashes)}; allowed: a list of hashes")
    if len(hashes) != tokens // size:
        raise InputError(
            f"{where}: chunk_hashes has {len(hashes)} for seq_len = {tokens}; allowed: {tokens // size} "
            f"(full chunks of {size} tokens)"
        )
    name = str(row.get("request_id", line))
    if not name.isprintable():
        raise InputError(f"{where}: request_id = {shown(name)}; allowed: printable text")
    return _Lookup(line, number(row, "timestamp", where), tokens, size, hashes, name)
