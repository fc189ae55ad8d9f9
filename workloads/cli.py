"""``python -m workloads``: what a trace is, and the same trace in another format."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workloads.errors import InputError

if TYPE_CHECKING:
    from workloads.base import Workload
    from workloads.describing import Description, Spread
    from workloads.trace import Trace

app = typer.Typer(
    name="python -m workloads",
    help="Traces: what they are, and the same in another format.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

TraceFile = Annotated[Path, typer.Argument(metavar="FILE", help="A trace, or a folder of its files.")]
FormatName = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="By default found from the file.")
]
Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the format; may be repeated."),
]
SkipLines = Annotated[
    int, typer.Option("--skip-bad-lines", metavar="N", min=0, help="Pass over so many bad lines.")
]


@app.callback()
def _options() -> None:
    pass


@app.command()
def describe(
    file: TraceFile,
    format_name: FormatName = None,
    settings: Settings = [],  # noqa: B006 (typer copies it)
    skip_bad_lines: SkipLines = 0,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="PNG", help="Draw lengths, times and reuse there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """What a trace is: requests, sessions, lengths, times, reuse, and what it cannot tell."""
    from workloads.describing import describe as described

    found = described(_load(file, format_name, settings, skip_bad_lines))
    if figure is not None:
        from workloads.figure import draw

        draw(found, figure)
    if as_json:
        figures = asdict(found)
        del figures["reuse_curve"]
        typer.echo(json.dumps(figures, indent=1))
        return
    _print(found)
    if figure is not None:
        typer.echo(f"Figure: {figure}")


@app.command()
def convert(
    file: TraceFile,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write.")],
    to: Annotated[
        str, typer.Option("--to", metavar="NAME", help="parquet (the project's own), mooncake or tokens.")
    ] = "parquet",
    format_name: FormatName = None,
    settings: Settings = [],  # noqa: B006 (typer copies it)
    skip_bad_lines: SkipLines = 0,
    block_size: Annotated[
        int | None, typer.Option("--block-size", metavar="N", min=1, help="Tokens of a block (mooncake).")
    ] = None,
) -> None:
    """Write a trace in another format. No text is written: there is none in a trace."""
    from workloads.writing import WRITERS

    if to not in WRITERS:
        raise InputError(f"--to {to}: allowed: {', '.join(WRITERS)}")
    trace = _load(file, format_name, settings, skip_bad_lines)
    if not out.name or out.is_dir():
        raise InputError(f"{out}: cannot be written: a folder; allowed: the name of a file")
    part = out.with_name(f".{out.name}.part")
    try:
        said = WRITERS[to](trace, part, block_size)
        part.replace(out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):  # it is not there if all went well, or could not be made
            part.unlink()
    typer.echo(f"{out}: {len(trace):,} requests as {to}")
    for note in [*trace.notes, *said]:
        typer.echo(f"- {note}")


def _load(file: Path, format_name: str | None, settings: list[str], skip_bad_lines: int) -> Trace:
    """The trace of a file with the settings of the command line."""
    from pydantic import TypeAdapter, ValidationError

    from workloads.documents import assign
    from workloads.registry import TraceWorkload

    config: dict[str, Any] = {"kind": "trace", "path": str(file), "format": format_name or "guess"}
    for setting in settings:
        assign(config, setting)
    if skip_bad_lines:
        config["skip_bad_lines"] = skip_bad_lines
    try:
        workload: Workload = TypeAdapter[Any](TraceWorkload).validate_python(config)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(": ".join([*map(str, first["loc"][-1:]), first["msg"]])) from None
    trace = workload.build(0, Path.cwd())
    trace.require_countable()
    return trace


def _print(found: Description) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for name in ("", "mean", "p10", "p50", "p90", "p99", "max"):
        table.add_column(name, justify="left" if not name else "right")
    rows = {
        "input tokens": found.input,
        "output tokens": found.output,
        "turns of a session": found.turns,
        "gap between requests, s": found.gap_s,
        "gap between turns, s": found.turn_gap_s,
        "think time, s": found.think_s,
    }
    for name, spread in rows.items():
        if spread is not None:
            table.add_row(name, *_cells(spread))
    rate = "" if found.rate_per_s is None else f", {found.rate_per_s:,.4g} a second"
    cv = "" if found.gap_cv is None else f", CV of gaps {found.gap_cv:.3g}"
    console = Console(width=108, highlight=False, emoji=False, markup=False)
    console.print(
        f"{found.origin}: {found.requests:,} requests of {found.sessions:,} sessions in "
        f"{found.span_s:,.6g} s"
        f"{rate}{cv}",
        f"{found.input_tokens:,} input tokens, {found.output_tokens:,} output tokens",
        sep="\n",
    )
    console.print(table)
    if found.ideal_hit_rate is not None:
        elsewhere = found.hits_between_sessions
        console.print(
            f"seen before (unlimited cache of single tokens): {found.ideal_hit_tokens:,} input tokens, "
            f"{found.ideal_hit_rate:.2%}"
            + ("" if elsewhere is None else f"; {elsewhere:.1%} in another session")
        )
    if found.reuse_s:
        ages = ", ".join(f"p{p} {age:,.4g} s" for p, age in found.reuse_s.items())
        console.print(f"since last use, by tokens: {ages}")
    for tokens, share in found.heads:
        console.print(f"common beginning: {tokens:,} tokens, {share:.1%} of the requests")
    for note in found.notes:
        console.print(f"- {note}")


def _cells(spread: Spread) -> list[str]:
    values = [spread.mean, *spread.percentiles.values(), spread.max]
    return [
        f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.4g}" for value in values
    ]


def main(args: list[str] | None = None) -> None:
    """Run the command line; bad input is one message and exit code 2."""
    try:
        app(args, standalone_mode=True)
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
