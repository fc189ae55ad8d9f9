"""Writing a result to a folder: all files or none."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from sim.results.summary import Summary
from sim.results.tables import StepColumns
from workloads.errors import InputError
from workloads.formats import own
from workloads.staging import settle, staged

if TYPE_CHECKING:
    from sim.config import Config
    from sim.result import Result

Writer = Callable[["Result", Summary, Path], None]
"""Writes files of its own into a folder that holds those of the run."""
STEPS = "steps.parquet"
SAMPLES = "timeseries.parquet"


def require_free(path: Path, config: Config, folder: Path, force: bool) -> None:
    """InputError if the results of ``config``, read from the file ``path``, would overwrite others.

    That is so where ``folder`` holds the config.yaml of another experiment (any value differs once both are
    resolved, the seed included), unless ``force``; and where its config.yaml is the file ``path`` itself,
    unless that is resolved already, so that nothing of it would be lost.
    """
    settle(folder)
    mine = folder / "config.yaml"
    if not mine.is_file():
        return
    if mine.samefile(path) and mine.read_text(encoding="utf-8") != config.to_yaml():
        raise InputError(
            f"--out {folder}: the resolved experiment would overwrite {path}; allowed: another folder"
        )
    if not force and (difference := _difference(mine, config)):
        raise InputError(
            f"--out {folder}: holds the results of another configuration ({difference}); allowed: another "
            "folder, or --force to overwrite them"
        )


def _difference(mine: Path, config: Config) -> str:
    """The first value in which the experiment in the file ``mine`` is another one; empty if in none."""
    from sim.config import load_config

    try:
        there = load_config(mine)
    except InputError:
        return "one that is not valid here"
    if there.to_yaml() == config.to_yaml():
        return ""
    return _first_other(there.values(str), config.values(str), "") or "in another order"


def _first_other(there: Any, here: Any, key: str) -> str:
    """Where two values differ, as ``key: VALUE there, VALUE here``; empty if they do not."""
    if isinstance(there, dict) and isinstance(here, dict):
        below = ((there.get(k), here.get(k), f"{key}.{k}".lstrip(".")) for k in {**there, **here})
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        below = ((a, b, f"{key}.{i}") for i, (a, b) in enumerate(zip(there, here, strict=True)))
    else:
        return "" if there == here else f"{key}: {_brief(there)} there, {_brief(here)} here"
    return next((found for parts in below if (found := _first_other(*parts))), "")


def _brief(value: Any) -> str:
    if value is None:
        return "none"
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) <= 40 else f"{text[:37]}..."


def require_same_experiment(path: Path, experiment: str, force: bool) -> None:
    """InputError if ``path`` is the outcome of a study of another experiment; axes and seeds may differ.

    ``experiment`` is the hash of the one that is to be written.
    """
    if force or not path.is_file():
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))["experiment"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        there = None
    if there != experiment:
        raise InputError(
            f"--out {path.parent}: {path.name} there is of another configuration; allowed: another folder, "
            "or --force to overwrite it (finished jobs stay)"
        )


def require_writable(folder: Path) -> None:
    """Make sure, before anything is computed, that ``folder`` can be written to (InputError).

    Creates nothing: looks at the nearest folder on the way that exists.
    """
    place = folder.absolute()
    try:
        while not place.exists() and not place.is_symlink():
            place = place.parent
    except OSError as error:  # a name too long, say
        raise InputError(f"--out {folder}: {error.strerror}; allowed: a folder to write to") from None
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        what = "not writable" if place.is_dir() else "not a folder"
        raise InputError(f"--out {folder}: {place} is {what}; allowed: a folder to write to")


def write(
    result: Result,
    summary: Summary,
    folder: Path,
    traffic: str | None = None,
    also: Sequence[Writer] = (),
) -> None:
    """Write config.yaml, summary.json, timing.json, requests.parquet and report.html into ``folder``.

    Where a system records its steps or samples, steps.parquet and timeseries.parquet too; the trace itself
    into the file ``traffic``, if one is named; and what each of ``also`` writes.

    ``summary`` is that of ``result``.

    Everything is written beside its place first and then moved, so an interrupted or failed write
    leaves the files of an earlier run as they were. Other files in the folder are left alone.
    """
    with staged(folder) as staging:
        (staging / "config.yaml").write_text(result.config.to_yaml(), encoding="utf-8")
        for name, content in (("summary", summary), ("timing", result.timing())):
            text = json.dumps(content, indent=2, allow_nan=False)
            (staging / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        write_requests(result, staging / "requests.parquet")
        from reports import html

        (staging / "report.html").write_text(html.render(result, summary), encoding="utf-8")
        write_steps(result, staging / STEPS)
        write_samples(result, staging / SAMPLES)
        if traffic is not None:
            own.write(result.whole_trace(), staging / traffic)
        for further in also:
            further(result, summary, staging)


def put(folder: Path, contents: dict[str, bytes]) -> None:
    """Write ``contents`` (by file name) into ``folder``, all or none; InputError if that fails."""
    with staged(folder) as staging:
        for name, content in contents.items():
            (staging / name).write_bytes(content)


def write_requests(result: Result, path: Path | BinaryIO) -> None:
    """Write the request table as Parquet, a row group at a time; what a system does not have is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = None
    with ExitStack() as opened:
        for block in result.blocks():
            columns = {
                name: pa.array(values, pa.string() if values.dtype == object else None, from_pandas=True)
                for name, values in cast(dict[str, Any], block).items()
            }
            table = pa.table(columns)
            if schema is None:
                schema = table.schema
                texts = [field.name for field in schema if field.type == pa.string()]
                writer = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=texts)
                opened.enter_context(writer)
            writer.write_table(table, row_group_size=len(table))


def write_steps(result: Result, path: Path) -> None:
    """Write what every step scheduled, if any system recorded it: one row per step and request."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = result.trace.request_ids
    columns: dict[str, list[object]] = {key: [] for key in StepColumns.__annotations__}
    for system, run in result.runs.items():
        for step, replica, request, tokens in run.records.step_rows:
            row = (system, step, replica, names[request] if names else request, tokens)
            for values, value in zip(columns.values(), row, strict=True):
                values.append(value)
    if columns["step"]:
        pq.write_table(pa.table(columns), path, compression="zstd")


def write_samples(result: Result, path: Path) -> None:
    """Write the time series, if any system has one: one row per system, time and replica."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = [
        pd.DataFrame(run.records.samples).assign(system=system)
        for system, run in result.runs.items()
        if run.records.samples
    ]
    if not parts:
        return
    table = pd.concat(parts, ignore_index=True)
    hits, queries = table["prefix_cache_hits_tokens"], table["prefix_cache_queries_tokens"]
    table["prefix_cache_hit_rate"] = hits / queries.where(queries > 0)
    table.insert(0, "system", table.pop("system"))
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path, compression="zstd")
