"""The command line of calibration; like ``sim/cli.py`` it alone knows ``reports``.

Heavy imports happen inside the commands: ``--help`` is instant, and only measuring needs torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calibration import cli_import, cli_served, cli_validate, options
from calibration.cli_validate import Loads, Seeds
from reports import terminal
from workloads.command_line import call
from workloads.errors import InputError

if TYPE_CHECKING:
    from calibration.runner import Runner

app = typer.Typer(
    name="python -m calibration",
    help="How long an engine iteration takes on this machine: measured, fitted, and held against reality.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

INTERRUPTED = 130
"""The exit code that typer ends with after Ctrl-C."""
ProfileFile = Annotated[Path, typer.Argument(metavar="PROFILE", help="A profile file.")]
Models = Annotated[
    list[str],
    typer.Option("--model", metavar="NAME", help="Catalogue name or config.json; may be repeated."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
MaxDrift = Annotated[
    float,
    typer.Option(
        "--max-drift", min=0, max=100, help="Passes whose sentinels move more than this are dropped."
    ),
]


@app.command()
def run(
    models: Models,
    device: Annotated[str, typer.Option("--device", help="cuda or cpu.")] = "cpu",
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="Default: the model's; float32 on a CPU.")
    ] = None,
    hardware: Annotated[
        str | None,
        typer.Option("--hardware", metavar="NAME", help="Catalogue name of the GPU, for its peaks."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Profile, or with several models their folder."),
    ] = None,
    passes: Annotated[
        int | None, typer.Option("--passes", min=1, max=1000, help="Default: 8 CPU, 5 GPU.")
    ] = None,
    grid: Annotated[str | None, typer.Option("--grid", help="gpu, cpu or tiny.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1)] = 0,
    max_drift: MaxDrift = 0.05,
    validate: Annotated[
        bool, typer.Option("--validate", help="Serve traces with the engine and simulate them, too.")
    ] = False,
    seeds: Seeds = 1,
    loads: Loads = "0.4,0.6,0.8",
    quiet: Quiet = False,
) -> None:
    """Measure, fit and check: writes a profile and its samples.

    An interrupted run goes on where it stopped when the same command is given again. Of several models all
    are measured before the first is validated, and one that fails does not stop the others.
    """
    options.require_installed("torch", "scipy", "sklearn")
    from calibration.plan import GRIDS
    from calibration.run import PASSES, held_runner
    from calibration.runner import require_device
    from sim.hardware import catalogue

    require_device(device)
    grid = grid or ("gpu" if device == "cuda" else "cpu")
    options.require_choice("--grid", grid, list(GRIDS))
    shares = options.busy_shares(loads)
    if hardware:
        catalogue.gpu(hardware, "--hardware")
    jobs = [options.job(name, device, dtype, out, several=len(models) > 1) for name in models]
    plan = {"grid": grid, "passes": passes or PASSES[device], "seed": seed}
    failed: list[Path] = []
    for model, kind, path, kept in jobs:
        if kept:
            if not quiet:
                typer.echo(f"Kept, as it exists: {path}", err=True)
            continue
        with _or_next(path, failed, len(jobs)), held_runner(model, device, kind, grid, seed) as runner:
            _calibrate(runner, path, plan, hardware, max_drift, quiet)
    for model, kind, path, _ in jobs if validate else ():
        if path in failed:
            continue
        with _or_next(path, failed, len(jobs)), held_runner(model, device, kind, grid, seed) as runner:
            cli_validate.with_engine(path, runner, seeds, shares, quiet)
    if failed:
        raise InputError(
            f"{len(failed)} of {len(jobs)} models failed, see above; what was measured is kept"
        )


@app.command()
def show(
    profile: ProfileFile,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write figures there, as PNG.")
    ] = None,
) -> None:
    """A profile: coefficients, errors, implied rates.

    Errors stand beside those of simpler models; figures with --out.
    """
    from sim.hardware.profile import load

    loaded = load(profile)

    from reports import calibration as report

    if out is not None:
        options.require_installed("scipy", "sklearn")
        from calibration.build import rebuild
        from reports import calibration_figures as figures
        from reports import files

        built = rebuild(profile)
        files.require_writable(out)
        paths = figures.write(built, out)
    terminal.show(report.profile_table(loaded))
    if out is not None:
        for path, caption in paths.items():
            typer.echo(f"Written: {path}: {caption}")


@app.command()
def fit(
    samples: Annotated[Path, typer.Argument(metavar="SAMPLES", help="A samples file.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The profile to write; new.")],
    max_drift: MaxDrift = 0.05,
) -> None:
    """Fit kept samples again and write a profile."""
    options.require_installed("scipy", "sklearn")
    from calibration.build import build

    options.new_profile(out, "")

    from reports import calibration as report
    from reports import files

    built = build(samples, out, max_drift)
    files.put(out.parent, {out.name: built.profile.to_yaml().encode()})
    terminal.show(report.profile_table(built.profile))
    typer.echo(f"Written: {out}")


@app.command()
def compare(
    one: ProfileFile, other: Annotated[Path, typer.Argument(metavar="OTHER", help="Another one.")]
) -> None:
    """What two profiles say about the same iterations."""
    from sim.hardware.profile import load

    profiles = load(one), load(other)

    from reports import calibration as report

    terminal.show(report.comparison_table(*profiles))


@app.command("third-party")
def third_party(
    model: Annotated[str, typer.Option("--model", metavar="NAME")] = "tiny-40m",
    block_size: Annotated[int, typer.Option("--block-size", min=4, max=4096)] = 32,
    seeds: Seeds = 3,
    load: Annotated[float, typer.Option("--load", min=0.01, max=0.99)] = 0.6,
    quiet: Quiet = False,
) -> None:
    """Serve chats with transformers on the CPU, and simulate them.

    The engine is its continuous batching; both sides stand beside each other.
    """
    options.require_installed("torch", "scipy", "transformers", "psutil", extra="third-party")
    from calibration.third_party_report import study
    from calibration.validate import CHATS
    from sim.hardware import catalogue

    shape = catalogue.dense(model, Path(), "--model")
    with terminal.time_left(quiet) as progress:
        compared = study(shape, CHATS["cpu"], block_size=block_size, seeds=seeds, load=load, say=progress)

    from reports import calibration as report

    terminal.show(report.third_party_table(compared))


app.command()(cli_validate.validate)
app.command("import")(cli_import.import_tables)
app.command("from-bench")(cli_served.from_bench)
app.command("from-log")(cli_served.from_log)
app.command("from-metrics")(cli_served.from_metrics)


def _calibrate(
    runner: Runner, path: Path, plan: dict[str, Any], hardware: str | None, max_drift: float, quiet: bool
) -> None:
    from calibration.run import calibrate

    if not quiet:
        typer.echo(f"Measuring {path}: {runner.computes}", err=True)
    with terminal.time_left(quiet) as progress:
        built = calibrate(
            runner, path, progress=progress, hardware_name=hardware, max_drift=max_drift, **plan
        )
    if not quiet:
        from reports import calibration as report

        terminal.show(report.profile_table(built.profile))
        typer.echo(f"Written: {path}")


@contextmanager
def _or_next(path: Path, failed: list[Path], jobs: int) -> Iterator[None]:
    """With several models an InputError is told and noted, and the next one's turn comes."""
    try:
        yield
    except InputError as error:
        if jobs == 1:
            raise
        typer.echo(f"error: {path.name}: {error}", err=True)
        failed.append(path)


def main(arguments: list[str] | None = None) -> None:
    """Entry point; see `workloads.command_line.call`."""
    try:
        call(app, "python -m calibration", arguments)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            typer.echo(
                "interrupted: a run keeps its samples; the same command goes on from there", err=True
            )
        raise
