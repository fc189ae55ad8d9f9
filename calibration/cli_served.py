"""Commands about a server that somebody runs: fitted to its benchmark, its log or its metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calibration import options
from reports import terminal
from workloads.errors import InputError

if TYPE_CHECKING:
    from calibration.served.measured import MeasuredRun
    from calibration.served.server import Server
    from workloads.trace import Trace

TraceOption = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        metavar="TRACE",
        help="What was sent, any trace that is read; default: the file's own lengths.",
    ),
]
TraceSettings = Annotated[
    list[str],
    typer.Option("--trace-set", metavar="KEY=VALUE", help="A setting of the trace's format."),
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="What was served: catalogue name, or config.json."),
]
GpuName = Annotated[
    str | None,
    typer.Option("--gpu", metavar="NAME", help="Where: catalogue name of the GPU, or a YAML file."),
]
Tp = Annotated[int, typer.Option("--tp", metavar="N", min=1, help="GPUs that are tensor parallel.")]
Settings = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of the server, as of an engine system: engine.max_num_seqs=128.",
    ),
]
SystemName = Annotated[
    str | None, typer.Option("--system", metavar="NAME", help="One of several in a table of requests.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


def from_bench(
    result: Annotated[
        Path,
        typer.Argument(
            metavar="RESULT",
            help="`vllm bench serve --save-result --save-detailed`, or a table of requests.",
        ),
    ],
    trace: TraceOption = None,
    trace_settings: TraceSettings = [],  # noqa: B006 (typer copies it)
    model: ModelName = None,
    gpu: GpuName = None,
    tp: Tp = 1,
    settings: Settings = [],  # noqa: B006
    system: SystemName = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The profile to write; new.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Fit a profile to a benchmark's result: half of its requests are fitted, the others held out.

    Runs the simulator over the trace until TTFT, TPOT and E2E of the fitted requests are met: share of the
    datasheet's compute and bandwidth that is reached, how much longer KV takes, overhead of a request.
    """
    from calibration.served import bench

    named, device = _named(model, gpu)
    path = options.new_profile(out, f"{named}.{device}.tp{tp}.bench")
    server, run, sent = served(result, trace, trace_settings, named, device, tp, settings, system)
    bench.require_enough(run)
    with terminal.time_left(quiet) as progress:
        fitted = bench.fit(server, run, sent, progress)

    from reports import files
    from reports import served as report

    files.put(path.parent, {path.name: fitted.profile.to_yaml().encode()})
    if not quiet:
        terminal.show(report.bench_table(fitted), [path])


def served(
    requests: Path,
    trace: Path | None,
    trace_settings: list[str],
    model: str,
    gpu: str,
    tp: int,
    settings: list[str],
    system: str | None,
    profile: Path | None = None,
) -> tuple[Server, MeasuredRun, Trace]:
    """The server, what it took, and what it was sent."""
    from calibration.served import measured
    from calibration.served.matching import match
    from calibration.served.server import Server, load_trace

    latency = None if profile is None else {"profile": str(profile)}
    server = Server.of(model, gpu, tp, settings, latency)
    run = measured.read(requests, system)
    sent = run.lengths() if trace is None else load_trace(trace, trace_settings)
    run, sent = match(run, sent)
    server.require_fit(sent)
    return server, run, sent


def _named(model: str | None, gpu: str | None) -> tuple[str, str]:
    """Both names; InputError if one is missing."""
    if model is None or gpu is None:
        raise InputError(
            f"{'--model' if model is None else '--gpu'} is missing; allowed: what was served, and on "
            "which GPU (python -m sim models, python -m sim gpus)"
        )
    return model, gpu
