"""The command line. This is where the parts meet: it alone knows both ``sim`` and ``reports``.

Heavy imports happen inside the commands, so that ``--help`` is instant.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from reports import terminal
from sim import cli_hardware
from sim.commands.compare import compare
from sim.commands.doctor import doctor
from sim.commands.options import ConfigFile, Force, OutFolder, Overrides, Quiet, SkipLines
from sim.commands.search import search
from sim.commands.serve import serve
from sim.commands.sweep import sweep
from workloads.command_line import call
from workloads.errors import InputError

if TYPE_CHECKING:
    from reports.report import Report
    from sim.experiment import Progress

Studied = TypeVar("Studied")
app = typer.Typer(
    name="python -m sim",
    help="What KV and prompt-prefix caching is worth: tokens, seconds and dollars of a workload.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"prefixsim {version('prefixsim')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: ConfigFile,
    out: OutFolder = None,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", help="Run N seeds; figures are their means.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="GOAL", help="Add seeds until 'saved_p50_ttft <= 5%' (half an interval)."
        ),
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="A table of every system too, not only one of all.")
    ] = False,
    skip_bad_lines: SkipLines = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Run an experiment, print its table and write its files.

    Writes config.yaml (resolved), summary.json, requests.parquet and report.html.
    """
    from sim.config import load_config
    from sim.studies.seeds import Until, run_seeds

    goal = None if until is None else Until.parse(until)
    overrides = _skipping(overrides, skip_bad_lines)
    loaded = load_config(config, overrides if seeds is None else [*overrides, f"seeds={seeds}"])
    folder = out or Path("runs") / loaded.name

    from reports import files

    files.require_writable(folder)
    files.require_free(config, loaded, folder, force)
    with terminal.parts(quiet) as progress:
        result = run_seeds(loaded, progress, goal)
        progress("writing the report", 0, None)
        summary = result.summary()
        files.write(result, summary, folder)
    if not quiet:
        from reports import console

        terminal.show(console.table(summary, terminal.width(), details=details))
        typer.echo(f"Report: {folder / 'report.html'}")


@app.command()
def curve(
    config: ConfigFile,
    out: OutFolder = None,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    block_size: Annotated[
        int | None,
        typer.Option("--block-size", metavar="N", help="Tokens; default: the trace's own blocks, or 16."),
    ] = None,
    sample: Annotated[
        float | None,
        typer.Option("--sample", metavar="RATE", help="Follow a share of the content, up to 1."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """The LRU hit rate at every cache size.

    Prints a table, writes curve.csv and curve.png.
    """
    from sim.config import load_config
    from sim.studies.curve_sampled import study

    loaded = load_config(config, overrides)
    folder = out or Path("runs") / loaded.name

    from reports import curve as report
    from reports import files

    files.require_writable(folder)
    _report(lambda progress: study(loaded, block_size, sample, progress), report, folder, quiet)


@app.command()
def habits(
    config: ConfigFile,
    out: OutFolder = None,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """What each bad client habit costs beside a good one.

    Prints a table, writes habits.json and habits.html. Compares the pairs under `habit_pairs` of the
    experiment, or the usual ones, on its chat.
    """
    from sim.config import load_config
    from sim.studies.habits import study

    loaded = load_config(config, overrides)
    folder = out or Path("runs") / loaded.name

    from reports import files
    from reports import habits_console as report

    files.require_writable(folder)
    files.require_free(config, loaded, folder, force)
    _report(lambda progress: study(loaded, progress), report, folder, quiet)


@app.command()
def capacity(
    config: ConfigFile,
    out: OutFolder = None,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    precision: Annotated[
        float,
        typer.Option("--precision", metavar="SHARE", help="How exactly to find the rate, relative."),
    ] = 0.02,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """The highest rate that meets `slo`, with and without cache.

    Prints a table, writes capacity.json and figures. Changes workload.arrival.rate_per_s, or
    arrival.speed of a recorded trace; all else stays the same.
    """
    from sim.config import load_config
    from sim.studies.capacity import study

    loaded = load_config(config, overrides)
    folder = out or Path("runs") / loaded.name

    from reports import capacity as report
    from reports import files

    files.require_writable(folder)
    files.require_free(config, loaded, folder, force)
    _report(lambda progress: study(loaded, precision, progress), report, folder, quiet)


@app.command()
def breakeven(
    offers: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROVIDER[:MODEL]...", help="Default: every provider that ships."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to write; default runs/breakeven.")
    ] = Path("runs/breakeven"),
    day: Annotated[str, typer.Option("--day", metavar="DATE", help="Prices of which day.")] = "2026-11-24",
    quiet: Quiet = False,
) -> None:
    """When a provider's cache write pays for itself.

    Prints a table, writes breakeven.csv and breakeven.png.
    """
    from datetime import UTC, date, datetime, time

    from sim.providers import breakeven as study
    from sim.providers import rulebook

    try:
        start = datetime.combine(date.fromisoformat(day), time(), UTC)
    except ValueError:
        raise InputError(f"--day {day}: not a date; allowed: like 2026-11-24") from None
    if not 2000 <= start.year <= 2100:
        raise InputError(f"--day {day}: allowed: from 2000 to 2100")
    found = study.offers(offers or rulebook.names(), start)

    from reports import breakeven as report
    from reports import files

    files.require_writable(out)
    paths = report.write(found, out)
    if not quiet:
        terminal.show(report.table(found), paths)


@app.command()
def rules(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER[:MODEL]", help="One that ships with rules.")],
) -> None:
    """A provider's caching rules, each value with source and date.

    Alternatives and what contradicts a value, too.
    """
    from reports import rules as report
    from sim.providers import rulebook

    name, _, model = provider.partition(":")
    rulebook.require_shipped(name, "PROVIDER")
    terminal.show(report.table(name, rulebook.provenance(name, model or None)))


@app.command()
def check(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    skip_bad_lines: SkipLines = None,
) -> None:
    """Validate an experiment and print it with its defaults.

    Its trace is read, too; the notes of its systems stand behind it.
    """
    from sim.config import load_config
    from sim.experiment import load_trace

    loaded = load_config(config, _skipping(overrides, skip_bad_lines))
    trace = load_trace(loaded)
    typer.echo(loaded.to_yaml(), nl=False)
    for name, system in loaded.systems.items():
        for note in system.notes(trace, loaded.folder):
            typer.echo(f"systems.{name}: {note}", err=True)
    typer.echo(f"{config}: valid, {len(trace):,} requests", err=True)


for command in (doctor, sweep, search, compare, serve):
    app.command()(command)


def _skipping(overrides: list[str], lines: int | None) -> list[str]:
    """The overrides, and that of a trace's bad lines."""
    return overrides if lines is None else [*overrides, f"workload.skip_bad_lines={lines}"]


def _report(
    study: Callable[[Progress], Studied], report: Report[Studied], folder: Path, quiet: bool
) -> None:
    """Run a study, write its files and show its table."""
    with terminal.parts(quiet) as progress:
        studied = study(progress)
        progress("writing the report", 0, None)
        paths = report.write(studied, folder)
    if not quiet:
        terminal.show(report.table(studied), paths)


for _command in (cli_hardware.models, cli_hardware.gpus, cli_hardware.memory):
    app.command()(_command)


def main(arguments: list[str] | None = None) -> None:
    """Entry point; see `workloads.command_line.call`."""
    call(app, "python -m sim", arguments)
