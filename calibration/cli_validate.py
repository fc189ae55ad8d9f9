"""``python -m calibration validate``: predictions held against this package's engine, or against yours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calibration import cli_served, options
from reports import terminal
from workloads.errors import InputError

if TYPE_CHECKING:
    from calibration.runner import Runner

Loads = Annotated[
    str, typer.Option("--loads", metavar="SHARES", help="Busy shares to validate at: 0.4,0.6,0.8.")
]
Seeds = Annotated[
    int, typer.Option("--seeds", metavar="N", min=1, max=1000, help="Traces to validate with.")
]


def validate(
    profile: Annotated[
        Path | None, typer.Option("--profile", metavar="FILE", help="Whose times are held to account.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="What the profile must be of.")
    ] = None,
    seeds: Seeds = 3,
    loads: Loads = "0.6",
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", metavar="REQUESTS", help="A run of your own: see from-bench. Serves nothing here."
        ),
    ] = None,
    trace: cli_served.TraceOption = None,
    trace_settings: cli_served.TraceSettings = [],  # noqa: B006 (typer copies it)
    gpu: cli_served.GpuName = None,
    tp: cli_served.Tp = 1,
    settings: cli_served.Settings = [],  # noqa: B006
    system: cli_served.SystemName = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Where figures and page go; default runs/validation/NAME."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; the table is printed.")] = False,
) -> None:
    """Predicted beside measured: a table, a page, and JSON.

    Serves traces with the real engine of this package and simulates them; or, with --against, simulates the
    trace that a server of yours has served and compares request by request.
    """
    if against is not None:
        sent = cli_served.Sent(against, trace, trace_settings, model, gpu, tp, settings, system)
        _against(sent, profile, out)
        return
    if trace or gpu or settings or system or trace_settings or tp != 1:
        raise InputError(
            "--trace, --gpu, --tp, --set and --system go with --against REQUESTS; allowed: both"
        )
    if profile is None:
        raise InputError("--profile is missing; allowed: a measured profile, or --against REQUESTS")
    from calibration.validate_input import require_runnable
    from sim.hardware.profile import load

    shares = options.busy_shares(loads)
    loaded = load(profile)
    require_runnable(loaded, profile, model)
    options.require_installed("torch", "scipy")
    from calibration.run import held_runner

    assert loaded.model is not None and loaded.protocol is not None and loaded.hardware is not None
    options.validation_folder(out, profile)
    device = "cuda" if loaded.protocol.clock == "cuda_event" else "cpu"
    held = held_runner(loaded.model, device, loaded.model.dtype, loaded.protocol.grid, loaded.protocol.seed)
    with held as runner:
        with_engine(profile, runner, seeds, shares, quiet, out)


def with_engine(
    path: Path,
    runner: Runner,
    seeds: int,
    loads: tuple[float, ...],
    quiet: bool,
    out: Path | None = None,
) -> None:
    """Serve traces with ``runner`` and simulate them with the profile in ``path``; write and print both."""
    from calibration.validate import CHATS, Setup
    from calibration.validate_input import require_same_device
    from sim.hardware.profile import load

    profile = load(path)
    require_same_device(profile, path, runner)
    assert profile.protocol is not None
    grid = profile.protocol.grid
    with terminal.time_left(quiet) as progress:
        setup = Setup(profile, runner, CHATS[grid], grid)
        compared = setup.validate(seeds=seeds, loads=loads, say=progress)

    from reports import calibration as report
    from reports import validation

    paths = validation.write_engine(profile, compared, options.validation_folder(out, path))
    terminal.show(report.validation_table(profile, compared), paths)


def _against(sent: cli_served.Sent, profile: Path | None, out: Path | None) -> None:
    """Simulate what was served, write and print both side by side."""
    from calibration.served.against import hold_against

    folder = options.validation_folder(out, sent.requests)
    against = hold_against(*sent.read(profile))

    from reports import served as report
    from reports import validation

    paths = validation.write(against, folder)
    terminal.show(report.against_table(against), paths)
