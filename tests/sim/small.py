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
