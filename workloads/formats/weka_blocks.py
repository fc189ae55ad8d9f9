"""The block ids of a prompt in WEKA's files: a list of them, or runs of consecutive ones."""

from __future__ import annotations

from array import array

import numpy as np

from workloads.errors import InputError
from workloads.formats.jsonl import Row, integers
from workloads.ranges import Run
from workloads.schema import MOST
from workloads.shown import shown


def block_runs(row: Row, where: str, tokens: int, size: int) -> list[Run]:
    """The ids of the whole blocks; the id of a partial last block, which some files keep, is cut off."""
    key = "hash_ids" if "hash_ids" in row else "hash_runs"
    if "hash_ids" in row and "hash_runs" in row:
        raise InputError(f"{where}: hash_ids and hash_runs; allowed: one of the two")
    runs = _from_ids(row, where) if key == "hash_ids" else _from_runs(row, where)
    named = sum(count for _, count in runs)
    least, most = tokens // size, -(-tokens // size)
    if not least <= named <= most:
        raise InputError(
            f"{where}: {key} has {named} ids for in = {tokens}; allowed: {least} to {most} "
            f"({size} tokens each)"
        )
    if named > least:
        first, count = runs.pop()
        if count > 1:
            runs.append((first, count - 1))
    return runs


def _from_runs(row: Row, where: str) -> list[Run]:
    value = row.get("hash_runs")
    if not isinstance(value, list):
        raise InputError(f"{where}: hash_runs = {shown(value)}; allowed: a list of [first, count]")
    runs = []
    for item in value:
        match item:
            case [first, count] if type(first) is int and type(count) is int and first >= 0 and count > 0:
                runs.append((first, count))
            case _:
                raise InputError(
                    f"{where}: hash_runs contains {shown(item)}; allowed: [first, count], whole numbers "
                    "of at least 0 and 1"
                )
    return runs


def _from_ids(row: Row, where: str) -> list[Run]:
    ids = integers(row, "hash_ids", where)
    if not ids:
        return []
    try:
        numbers = np.frombuffer(array("q", ids), dtype=np.int64)
        least, most = int(numbers.min()), int(numbers.max())
    except OverflowError:
        least, most = min(ids), max(ids)
    if least < 0 or most > MOST:
        wrong = least if least < 0 else most
        raise InputError(
            f"{where}: hash_ids contains {shown(wrong)}; allowed: at least 0, up to {MOST:.0e}"
        )
    begins = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 2) != 1)
    counts = np.diff(begins, append=len(ids))
    return list(zip(numbers[begins].tolist(), counts.tolist(), strict=True))
