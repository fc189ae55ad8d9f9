"""A small trace in Mooncake's format, made by ourselves: it covers the paths of the big one."""

from __future__ import annotations

import json
import random
from pathlib import Path


def write_small_mooncake(path: Path, sessions: int = 40, block: int = 512) -> None:
    """Chats of one to five turns under one shared first block, released in ticks of three seconds.

    A turn's ids extend the whole blocks of the turn before; the partial last one is new each time.
    """
    rng = random.Random(7)
    rows, next_id = [], 1
    for _ in range(sessions):
        ids, length, at = [0], 700, rng.randrange(0, 90)
        for _ in range(rng.randint(1, 5)):
            length += rng.randint(100, 3000)
            ids = ids[: (length - 1) // block]
            fresh = -(-length // block) - len(ids)
            ids = ids + list(range(next_id, next_id + fresh))
            next_id += fresh
            output = rng.randint(1, 400)
            rows.append((at // 3 * 3000, length, output, list(ids)))
            whole = length // block
            ids, length, at = ids[:whole], length + output, at + rng.randint(5, 40)
    rows.sort(key=lambda row: row[0])
    keys = ("timestamp", "input_length", "output_length", "hash_ids")
    path.write_text("".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in rows))


SEVEN = "1 2 3, 1400; 1 2 4, 1536; 5 6, 900; 1 2 3, 1400; 1 7, 1000; 5 6, 900; 1 2 4, 1536"
"""Ids and length in tokens of each prompt."""


def write_seven(path: Path) -> None:
    """Seven requests whose hits can be counted by hand: 5 with room for 3 blocks, then 6, 8, 11 in all."""
    keys = ("timestamp", "hash_ids", "input_length", "output_length")
    rows = []
    for i, request in enumerate(SEVEN.split("; ")):
        ids, length = request.split(", ")
        rows.append(dict(zip(keys, (i, [int(n) for n in ids.split()], int(length), 1), strict=True)))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
