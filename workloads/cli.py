"""``python -m workloads``: what a trace is, the same in another format, and traces that are made."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workloads import cli_files
from workloads.cli_files import BlockSize, FormatName, OutFile, Settings, SkipLines, Target, TraceFile
from workloads.cli_making import anonymise, fit, generate
from workloads.command_line import call
from workloads.staging import beside

if TYPE_CHECKING:
    from workloads.describing import Description, Spread

app = typer.Typer(
    name="python -m workloads",
    help="Traces: what they are, the same in another format, and ones that are made.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write all of it there, as a page.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """What a trace is: sessions, lengths, times, reuse.

    And what it cannot tell.
    """
    from workloads.describing import describe as described

    found = described(cli_files.load(file, format_name, settings, skip_bad_lines))
    if figure is not None:
        from workloads.figure import draw

        draw(found, figure)
    if html is not None:
        from reports.description import render

        with beside(html) as staging:
            (staging / html.name).write_text(render(found), "utf-8")
    if as_json:
        figures = asdict(found)
        del figures["reuse_curve"]
        typer.echo(json.dumps(figures, indent=1))
        return
    _print(found)
    if figure is not None:
        typer.echo(f"Figure: {figure}")
    if html is not None:
        typer.echo(f"Page: {html}")


@app.command()
def convert(
    file: TraceFile,
    out: OutFile,
    to: Target = "parquet",
    format_name: FormatName = None,
    settings: Settings = [],  # noqa: B006 (typer copies it)
    skip_bad_lines: SkipLines = 0,
    block_size: BlockSize = None,
) -> None:
    """Write a trace in another format. No text is written: there is none in a trace."""
    trace = cli_files.load(file, format_name, settings, skip_bad_lines)
    cli_files.write_trace(trace, out, to, block_size)


app.command()(generate)
app.command()(fit)
app.command()(anonymise)


def _print(found: Description) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for name in ("", "mean", "p10", "p50", "p90", "p99", "max"):
        table.add_column(name, justify="left" if not name else "right")
    for name, spread in found.spreads.items():
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


def main(arguments: list[str] | None = None) -> None:
    """Entry point; see `workloads.command_line.call`."""
    call(app, "python -m workloads", arguments)
