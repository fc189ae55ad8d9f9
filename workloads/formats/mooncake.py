"""Mooncake JSONL: arrival times, lengths and block ids, no text.

Source of the format: the traces released with R. Qin et al., "Mooncake: Trading More Storage for Less
Computation", FAST 2025. One request a line: ``timestamp`` (ms), ``input_length``, ``output_length``
(tokens), ``hash_ids`` (one id per block of the prompt; an id names a block and all before it).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from workloads.arrivals import Recorded, TraceArrivals
from workloads.errors import InputError
from workloads.formats.files import find_file
from workloads.formats.jsonl import integers, number, rows, whole
from workloads.schema import Schema
from workloads.trace import Trace

SECONDS_PER_UNIT = {"ms": 1e-3, "s": 1.0}


class MooncakeTrace(Schema):
    """A file in Mooncake's format. Neither block size nor time unit stands in the file.

    Requests are sorted by (time, line). Arrivals are kept as recorded; Mooncake's own files release
    them in ticks of 3 s. The last id of a prompt may name a partial block or be left out; tokens that
    no id names are shared with nobody.
    """

    kind: Literal["trace"]
    format: Literal["mooncake"]
    path: Path
    block_size: PositiveInt = Field(default=512, description="tokens named by one id")
    time_unit: Literal["ms", "s"] = "ms"
    arrival: TraceArrivals = Recorded()

    def build(self, seed: int, folder: Path) -> Trace:
        """Read the file, relative to ``folder`` (that of the configuration) or the current one."""
        path = find_file(self.path, folder)
        requests = sorted(_requests(path, self.block_size), key=lambda row: (row[0], row[1]))
        if not requests:
            raise InputError(f"{path}: no requests; allowed: one JSON object a line")
        trace = Trace(named_blocks=[], block_id_tokens=self.block_size, origin=path.name, lines=[])
        assert trace.named_blocks is not None and trace.lines is not None
        first = requests[0][0]
        for timestamp, line, input_tokens, output_tokens, ids in requests:
            units: list[tuple[Hashable, int]] = [(i, self.block_size) for i in ids]
            rest = input_tokens - self.block_size * len(ids)
            if rest < 0:
                units[-1] = (ids[-1], self.block_size + rest)
            elif rest > 0:
                units.append((("unnamed", line), rest))
            trace.add(
                prompt=trace.content.insert(units),
                output_tokens=output_tokens,
                arrival_s=(timestamp - first) * SECONDS_PER_UNIT[self.time_unit],
            )
            trace.named_blocks.append(len(ids))
            trace.lines.append(line)
        self.arrival.apply(trace)
        return trace


def _requests(path: Path, block_size: int) -> Iterator[tuple[float, int, int, int, list[int]]]:
    """Every request as (timestamp, line, input tokens, output tokens, ids), checked."""
    for where, line, row in rows(path):
        input_tokens = whole(row, "input_length", where)
        ids = integers(row, "hash_ids", where)
        least, most = input_tokens // block_size, math.ceil(input_tokens / block_size)
        if not least <= len(ids) <= most:
            raise InputError(
                f"{where}: hash_ids has {len(ids)} ids for input_length = {input_tokens}; allowed: "
                f"{least} to {most} at block_size {block_size} (is the block size right?)"
            )
        yield number(row, "timestamp", where), line, input_tokens, whole(row, "output_length", where), ids
