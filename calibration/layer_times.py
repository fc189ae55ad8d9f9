"""Layers of a model as vLLM runs them, timed one by one: the tables, and the time of a step made of them.

A folder holds ``meta.yaml`` and tables of microseconds: ``dense`` (a layer's parts by tokens),
``per_sequence`` (output head and sampler by sequences), ``attention`` (a prefill chunk behind cached tokens
beside decodes of one length), ``skew`` (the same with decodes of two lengths) and, of a mixture of experts,
``moe`` (by tokens and experts that any of them is sent to). A step's time is their sum over the layers,
between entries on straight lines in logarithms; no launches, no host.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from calibration.form import Floats, Step
from workloads.errors import InputError
from workloads.schema import MOST

COLUMNS: dict[str, list[str]] = {
    "dense": ["layer", "tokens", "time_us"],
    "per_sequence": ["layer", "sequences", "time_us"],
    "attention": ["prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"],
    "skew": ["pc", "n", "ratio", "t_mean_us", "t_max_us", "t_skew_us"],
    "moe": ["tokens", "activated_experts", "time_us"],
}
OPTIONAL = ("skew", "moe")
META = ("gpu", "model", "variant", "vllm_version", "engine_effective")
ONCE = {"embedding", "final_layernorm"}
"""Not in each layer."""
TWICE = {"layernorm"}
"""Before attention and before the feed-forward part."""
LONG = 0.5
"""Decodes of two lengths count where at most this share of them has the greater one."""
LEAST = 8.0
"""Stands for nothing cached on a logarithmic axis that begins at 16."""


@dataclass(frozen=True, slots=True)
class Experts:
    """How the routed experts are spread over GPUs."""

    count: int
    """Of a layer."""
    used: int
    """Of them those that one token is sent to."""
    data: int = 1
    """Data parallel ranks, each with as many tokens as the others."""
    expert: int = 1
    """GPUs among which whole experts are spread."""


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """The tables of one folder."""

    folder: Path
    meta: dict[str, Any]
    tables: dict[str, pd.DataFrame]

    def seconds(self, steps: Sequence[Step], layers: int, experts: Experts | None) -> Floats:
        """How long each step of a model with ``layers`` layers takes, s."""
        attention = _Attention(self)
        tokens = np.array([step.tokens for step in steps], dtype=float)
        sequences = np.array([step.sequences for step in steps], dtype=float)
        us = layers * np.array([attention.us(step) for step in steps])
        for layer, rows in self.tables["dense"].groupby("layer"):
            times = 1 if layer in ONCE else layers * (2 if layer in TWICE else 1)
            us += times * np.interp(tokens, rows["tokens"], rows["time_us"])
        for _, rows in self.tables["per_sequence"].groupby("layer"):
            us += np.interp(sequences, rows["sequences"], rows["time_us"])
        if experts is not None:
            us += layers * self._experts_us(tokens, experts)
        return np.asarray(us / 1e6)

    def _experts_us(self, tokens: Floats, experts: Experts) -> Floats:
        """A layer's experts on one GPU, routed evenly: its share of them, and of all ranks' tokens."""
        reached = 1 - (1 - experts.used / experts.count) ** (tokens * experts.data)
        reached = np.maximum(1.0, reached * experts.count / experts.expert)
        work = tokens * experts.data / experts.expert
        grid = self.tables["moe"].pivot(index="tokens", columns="activated_experts", values="time_us")
        by_count = []
        for count in grid.columns:
            known = grid[count].dropna()
            by_count.append(np.interp(work, known.index.to_numpy(dtype=float), known.to_numpy()))
        counts = grid.columns.to_numpy(dtype=float)
        columns = np.stack(by_count, axis=1)
        return np.array([np.interp(e, counts, us) for e, us in zip(reached, columns, strict=True)])

    def largest(self) -> tuple[int, int, int]:
        """New tokens, sequences and tokens in KV of one sequence up to which was measured."""
        attention = self.tables["attention"]
        return (
            int(attention["prefill_chunk"].max()),
            int(attention["n_decode"].max()),
            int(attention["kv_decode"].max()),
        )


class _Attention:
    """Time of one layer's attention, us."""

    def __init__(self, times: LayerTimes) -> None:
        table = times.tables["attention"]
        chunks, cached = _doubling(table["prefill_chunk"]), [0, *_doubling(table["kv_prefill"])]
        decodes, contexts = _doubling(table["n_decode"]), _doubling(table["kv_decode"])
        rows = zip(*(table[name].tolist() for name in COLUMNS["attention"]), strict=True)
        self._known = {(chunk, kv, n, context): us for chunk, kv, n, context, us in rows}
        together = [n for n in decodes if (chunks[-1], 0, n, contexts[0]) in self._known]
        self._where = times.folder / "attention.csv.gz"
        if not together:
            what = f"decodes beside a prefill_chunk of {chunks[-1]}, with kv_prefill 0"
            raise InputError(f"{self._where}: no entry for {what}; allowed: a whole grid")
        self._prefill = self._grid(chunks, cached, [0], [0])
        self._decode = self._grid([0], [0], decodes, contexts)
        self._mixed = self._grid(chunks, cached, together, contexts)
        self._uneven = _uneven_share(times.tables["skew"]) if "skew" in times.tables else None
        if self._uneven is not None and {chunk > 0 for chunk in self._uneven} != {True, False}:
            raise InputError(
                f"{times.folder / 'skew.csv.gz'}: pc; allowed: rows with and without a prefill, "
                f"of ratio up to {LONG}"
            )

    def _grid(self, *axes: list[int]) -> Any:
        """Interpolates between entries whose coordinates are all in ``axes``, in logarithms."""
        from scipy.interpolate import RegularGridInterpolator

        values = np.empty([len(axis) for axis in axes])
        for place in np.ndindex(values.shape):
            key = tuple(axis[i] for axis, i in zip(axes, place, strict=True))
            if key not in self._known:
                names = ", ".join(f"{n} {v}" for n, v in zip(COLUMNS["attention"], key, strict=False))
                raise InputError(f"{self._where}: no entry for {names}; allowed: a whole grid")
            values[place] = np.log(self._known[key])
        used = [i for i, axis in enumerate(axes) if axis != [0]]
        points = [_log(np.array(axes[i], dtype=float)) for i in used]
        squeezed = values.reshape([len(axes[i]) for i in used])
        return RegularGridInterpolator(points, squeezed, bounds_error=False, fill_value=None)

    def us(self, step: Step) -> float:
        """Attention of ``step``, with at most one prefill."""
        (cached, new) = step.prefills[0] if step.prefills else (0, 0)
        n = step.decodes
        mean = step.context / n if n else 0.0
        even = self._even(new, cached, n, mean)
        if n < 2 or not step.uneven or self._uneven is None:
            return even
        # Between decodes that are all as long as the mean and decodes that are all as long as the longest
        longest = (step.context + step.uneven) / n
        nearest = min(
            (chunk for chunk in self._uneven if bool(chunk) == bool(new)), key=lambda c: abs(c - new)
        )
        share = float(np.interp(np.log2(n), *self._uneven[nearest]))
        return even + share * (self._even(new, cached, n, longest) - even)

    def _even(self, new: int, cached: int, decodes: int, context: float) -> float:
        if not decodes:
            return _at(self._prefill, new, cached)
        if not new:
            return _at(self._decode, decodes, context)
        return _at(self._mixed, new, cached, decodes, context)


def _uneven_share(skew: pd.DataFrame) -> dict[int, tuple[Floats, Floats]]:
    """By new prompt tokens: (log2 of decodes, how far uneven ones are from even ones to longest ones)."""
    some = skew[skew["ratio"] <= LONG]
    more, most = some["t_skew_us"] - some["t_mean_us"], some["t_max_us"] - some["t_mean_us"]
    sums = pd.DataFrame({"pc": some["pc"], "n": some["n"], "more": more, "most": most})
    sums = sums.groupby(["pc", "n"]).sum()
    share = (sums["more"] / sums["most"]).clip(0, 1).fillna(0.0)
    found = {}
    for chunk in sorted(some["pc"].unique()):
        mine = share.loc[chunk]
        found[int(chunk)] = np.log2(mine.index.to_numpy(dtype=float)), mine.to_numpy(dtype=float)
    return found


def _doubling(column: pd.Series) -> list[int]:
    """The values that double, from the smallest one on: tables of several grids have more."""
    values = sorted({int(value) for value in column if value > 0})
    found = values[:1]
    while found and found[-1] * 2 in values:
        found.append(found[-1] * 2)
    return found


def _log(values: Floats) -> Floats:
    return np.asarray(np.log2(np.where(values > 0, values, LEAST)))


def _at(grid: Any, *place: float) -> float:
    return float(np.exp(grid(_log(np.array(place, dtype=float)))[0]))


def read(folder: Path) -> LayerTimes:
    """The tables of ``folder``; InputError names the file, and the column or row that is wrong."""
    meta_path = folder / "meta.yaml"
    try:
        meta = yaml.safe_load(meta_path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{meta_path}: {error.strerror}; allowed: a folder of layer times") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InputError(f"{meta_path}: not YAML; allowed: meta.yaml of layer times") from None
    absent = [key for key in META if not isinstance(meta, dict) or key not in meta]
    if absent:
        raise InputError(f"{meta_path}: {absent[0]} is missing; allowed: meta.yaml of layer times")
    tables = {}
    for name in COLUMNS:
        path = folder / f"{name}.csv.gz"
        if name in OPTIONAL and not path.exists():
            continue
        if name == "skew" and not _has_skew(meta):
            continue
        tables[name] = _table(path, COLUMNS[name])
    return LayerTimes(folder, meta, tables)


def _has_skew(meta: dict[str, Any]) -> bool:
    """Whether the profiler says that it timed decodes of uneven lengths on this GPU."""
    said = meta.get("skew_profile")
    return isinstance(said, dict) and said.get("enabled") is True


def _table(path: Path, names: list[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except OSError as error:
        reason = error.strerror or "not compressed with gzip"
        raise InputError(f"{path}: {reason}; allowed: a table of layer times") from None
    except (EOFError, UnicodeDecodeError, ValueError, zlib.error):
        raise InputError(f"{path}: cut off, or no CSV; allowed: a table of layer times") from None
    for name in names:
        if name not in table.columns:
            raise InputError(f"{path}: column {name} is missing; allowed: {', '.join(names)}")
        if name == "layer":
            continue
        numbers = pd.to_numeric(table[name], errors="coerce")
        least = 1e-9 if name == "time_us" else 0.0
        wrong = np.flatnonzero(~numbers.between(least, MOST).to_numpy())
        if len(wrong):
            row = int(wrong[0])
            shown, allowed = str(table[name].iloc[row])[:40], "above 0" if least else "not below 0"
            raise InputError(
                f"{path}:{row + 2}: {name} = {shown!r}; allowed: a number {allowed}, up to {MOST:.0e}"
            )
    if table.empty:
        raise InputError(f"{path}: no rows; allowed: a table of layer times")
    return table[names]
