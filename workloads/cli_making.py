"""``python -m workloads generate | fit | anonymise``: traces that are made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from workloads import cli_files
from workloads.checking import require_countable
from workloads.cli_files import BlockSize, FormatName, OutFile, Settings, SkipLines, Target, TraceFile
from workloads.errors import InputError
from workloads.shown import nearest

if TYPE_CHECKING:
    from workloads.fitting import Fit
    from workloads.trace import Trace


def generate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="An experiment, or a workload alone.")],
    out: OutFile,
    to: Target = "parquet",
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", min=0, help="By default that of CONFIG, else 0."),
    ] = None,
    settings: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="A setting of the workload.")
    ] = [],  # noqa: B006 (typer copies it)
    block_size: BlockSize = None,
) -> None:
    """Write the requests of a configuration's workload to a file."""
    from workloads.documents import assign, read_yaml
    from workloads.registry import WorkloadConfig

    content = read_yaml(config, "an experiment, or a workload alone")
    workload = content.get("workload", content)
    if not isinstance(workload, dict) or "kind" not in workload:
        raise InputError(f"{config}: no workload; allowed: an experiment, or a mapping with kind")
    for setting in settings:
        assign(workload, setting)
    given = content.get("seed", 0) if seed is None else seed
    if not isinstance(given, int) or given < 0:
        raise InputError(f"{config}: seed = {given!r}; allowed: a whole number of at least 0")
    try:
        made = cli_files.validated(WorkloadConfig, workload)
    except InputError as error:
        raise InputError(f"{config}: workload: {error}") from None
    trace = made.build(given, config.parent)
    require_countable(trace)
    cli_files.write_trace(trace, out, to, block_size)


def anonymise(
    file: TraceFile,
    out: OutFile,
    to: Target = "parquet",
    format_name: FormatName = None,
    settings: Settings = [],  # noqa: B006 (typer copies it)
    skip_bad_lines: SkipLines = 0,
    block_size: BlockSize = None,
) -> None:
    """Write a trace without names, dates and ids.

    Caches find the same hits. What is kept is said.
    """
    from workloads.anonymising import anonymised

    trace = anonymised(cli_files.load(file, format_name, settings, skip_bad_lines))
    cli_files.write_trace(trace, out, to, block_size)


def fit(
    file: TraceFile,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The configuration, such as fitted.yaml.")],
    format_name: FormatName = None,
    settings: Settings = [],  # noqa: B006 (typer copies it)
    skip_bad_lines: SkipLines = 0,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Draws to compare.")] = 3,
    arrival: Annotated[
        str, typer.Option("--arrival", metavar="KIND", help="Of sessions: fitted (a process) or replayed.")
    ] = "fitted",
    kind: Annotated[
        str,
        typer.Option("--kind", metavar="KIND", help="fitted (shapes of sessions), or chat or agent."),
    ] = "fitted",
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="PNG", help="Draw the hit-rate curves there.")
    ] = None,
) -> None:
    """Fit a generator to a trace, and say how near its draws come.

    Writes a configuration and, beside it, the shapes of the sessions.
    """
    from workloads.fitting import ArrivalKind, Kind
    from workloads.fitting import fit as fitted
    from workloads.shapes import write
    from workloads.staging import beside

    if arrival not in get_args(ArrivalKind):
        raise InputError(f"--arrival {arrival}: {nearest(arrival, get_args(ArrivalKind))}")
    if kind not in get_args(Kind):
        raise InputError(f"--kind {kind}: {nearest(kind, get_args(Kind))}")
    trace = cli_files.load(file, format_name, settings, skip_bad_lines)
    found = fitted(trace, seeds, cast(ArrivalKind, arrival), _hit_rates, cast(Kind, kind))
    said = f"{out}: the configuration"
    with beside(out) as place:
        if kind == "fitted":
            shapes = out.with_suffix(".sessions.parquet")
            found.workload["path"] = shapes.name
            write(found.shapes, place / shapes.name)
            said += f"; {shapes}: the shapes of {len(found.shapes.sessions):,} sessions"
        (place / out.name).write_text(_experiment(found, out))
        if figure is not None:
            from workloads.figure import curves

            curves(found, trace.origin, figure)
    _print(trace, found)
    if figure is not None:
        typer.echo(f"Figure: {figure}")
    typer.echo(said)


def _hit_rates(trace: Trace, block_size: int | None, capacities_tokens: Sequence[int]) -> Sequence[float]:
    """The curve is the simulator's."""
    from sim.studies.curve import blocks_of, exact

    blocks = blocks_of(trace, block_size)
    rates: list[float] = (
        exact(blocks).rate_tokens([tokens // blocks.size_tokens for tokens in capacities_tokens]).tolist()
    )
    return rates


def _experiment(found: Fit, out: Path) -> str:
    """A configuration that runs as it is."""
    import yaml

    size = found.block_size or 16
    config = {
        "name": "".join(letter if letter.isalnum() else "-" for letter in out.stem).strip("-") or "fitted",
        "workload": found.workload,
        "systems": {"unlimited": {"kind": "cache", "cache": {"kind": "block", "block_size": size}}},
    }
    return yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=108)


def _print(trace: Trace, found: Fit) -> None:
    from rich.console import Console
    from rich.table import Table

    from workloads.fitting import CAPACITIES_TOKENS

    console = Console(width=108, highlight=False, emoji=False, markup=False)
    console.print(f"{trace.origin}: {len(trace):,} requests of {len(found.shapes.sessions):,} sessions")
    table = Table(box=None, pad_edge=False, header_style="")
    for name in ("LRU hit rate, by tokens", "trace", "drawn, mean", "least", "most", "largest gap"):
        table.add_column(name, justify="left" if name.startswith("LRU") else "right")
    for place, capacity in enumerate(CAPACITIES_TOKENS):
        recorded, drawn = found.recorded[place], [rates[place] for rates in found.drawn]
        gap = max(abs(rate - recorded) for rate in drawn)
        mean = sum(drawn) / len(drawn)
        cells = (recorded, mean, min(drawn), max(drawn), gap)
        table.add_row(f"{capacity:,} tokens", *(f"{cell:.4f}" for cell in cells))
    console.print(table)
    console.print(f"largest gap at these capacities, {len(found.drawn)} seeds: {found.largest_gap:.4f}")
    distances = ", ".join(f"{name} {distance:.3f}" for name, distance in found.distances.items())
    console.print(f"Kolmogorov-Smirnov distances: {distances}")
    for note in found.notes:
        console.print(f"- {note}")
