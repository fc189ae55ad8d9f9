"""``python -m sim doctor``: why the cache missed, what it cost, and what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reports import terminal
from sim.commands.options import AsJson, Quiet, SkipLines


def doctor(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH", help="A log with usage; by default those in ~/.claude and ~/.codex."
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="F", help="Of the log, if its fields do not tell: any importer."),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option("--provider", metavar="P", help="Whose rules hold; by default by the models' names."),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", metavar="M", help="Of calls that name none in the log.")
    ] = "",
    invoice_usd: Annotated[
        float | None,
        typer.Option("--invoice-usd", metavar="X", help="What was charged: the log is held against it."),
    ] = None,
    conditions: Annotated[
        list[str],
        typer.Option(
            "--fail-if",
            metavar="CONDITION",
            help="Exit code 1 if it holds: 'lost_usd > 5', 'lost_share > 10%'. May be repeated.",
        ),
    ] = [],  # noqa: B006 (typer copies it)
    skip_bad_lines: SkipLines = None,
    what_if: Annotated[
        bool, typer.Option("--what-if/--no-what-if", help="Price what to change, by replay.")
    ] = True,
    names: Annotated[
        bool, typer.Option("--names", help="Call sessions and projects by name, not by number.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to write; default runs/doctor, none with --json."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Why your cache missed, what it cost, what to change.

    Holds recorded calls against the caching rules, and says how many of them they meet. Nothing leaves
    the machine, and no text of the log is kept or shown.
    """
    from reports import files
    from sim.doctor.diagnose import diagnose
    from sim.doctor.examine import examine
    from sim.doctor.fail_if import Condition
    from sim.doctor.what_if import price
    from sim.fleet.garbage import no_garbage_collection

    folder = out or (None if as_json else Path("runs/doctor"))
    if folder is not None:
        files.require_writable(folder)
    checks = [Condition.parse(text) for text in conditions]
    with terminal.parts(quiet or as_json) as progress:
        progress("reading", 0, None)
        with no_garbage_collection():
            found = examine(path, format, provider, skip_bad_lines or 0, model)
            changes = price(found, progress) if what_if else []
        diagnosis = diagnose(found, changes, names, invoice_usd)
        paths = []
        if folder is not None:
            from reports import doctor_page

            progress("writing the report", 0, None)
            paths = doctor_page.write(diagnosis, folder)
    if as_json:
        terminal.show_json(diagnosis)
    elif not quiet:
        from reports import doctor as report

        terminal.show(report.table(diagnosis), paths)
    failing = [check for check in checks if check.holds(diagnosis)]
    for check in failing:
        typer.echo(f"fails: {check.text} ({check.figure} = {check.value(diagnosis):.6g})", err=True)
    if failing:
        raise typer.Exit(1)
