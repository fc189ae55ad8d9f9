"""Commands about a server that somebody runs: fitted to its benchmark, its log or its metrics."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent to which server, and where what it took is written, as the options say."""

    requests: Path
    trace: Path | None
    trace_settings: list[str]
    model: str | None
    gpu: str | None
    tp: int
    settings: list[str]
    system: str | None

    def read(self, profile: Path | None = None) -> tuple[Server, MeasuredRun, Trace]:
        """The server, with the times of ``profile``, what it took, and what it was sent."""
        from calibration.served import measured
        from calibration.served.matching import match
        from calibration.served.server import Server, load_trace

        if self.model is None or self.gpu is None:
            raise InputError(
                f"{'--model' if self.model is None else '--gpu'} is missing; allowed: what was served, and "
                "on which GPU (python -m sim models, python -m sim gpus)"
            )
        latency = None if profile is None else {"profile": str(profile)}
        server = Server.of(self.model, self.gpu, self.tp, self.settings, latency)
        run = measured.read(self.requests, self.system)
        sent = run.lengths() if self.trace is None else load_trace(self.trace, self.trace_settings)
        run, sent = match(run, sent)
        server.require_fit(sent)
        return server, run, sent


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
    """Fit a profile to a benchmark's result, and hold half out.

    Runs the simulator over the trace until TTFT, TPOT and E2E of the fitted requests are met: share of the
    datasheet's compute and bandwidth that is reached, how much longer KV takes, overhead of a request.
    """
    from calibration.served import bench

    path = options.new_profile(out, f"{model}.{gpu}.tp{tp}.bench")
    sent = Sent(result, trace, trace_settings, model, gpu, tp, settings, system)
    server, run, trace_sent = sent.read()
    bench.require_enough(run)
    with terminal.time_left(quiet) as progress:
        fitted = bench.fit(server, run, trace_sent, progress)

    from reports import files
    from reports import served as report

    files.put(path.parent, {path.name: fitted.profile.to_yaml().encode()})
    if not quiet:
        terminal.show(report.bench_table(fitted), [path])


def from_log(
    log: Annotated[
        Path,
        typer.Argument(metavar="LOGFILE", help="Of a server with --enable-logging-iteration-details."),
    ],
    model: ModelName = None,
    gpu: GpuName = None,
    tp: Tp = 1,
    settings: Settings = [],  # noqa: B006 (typer copies it)
    kv_tokens: Annotated[
        int | None,
        typer.Option(
            "--kv-tokens", metavar="N", min=1, help="The server's KV memory, where the log does not say it."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The profile to write; new.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Fit a profile to a vLLM server's log, and hold half out.

    The log has a line for each iteration; its later half is held out.
    """
    from calibration.served import iteration_log
    from calibration.served.log_fit import fit_log
    from calibration.served.server import Server

    path = options.new_profile(out, f"{log.stem}.log")
    if (model is None) != (gpu is None):
        raise InputError("--model and --gpu say of what the times are; allowed: both or none")
    server = None if model is None or gpu is None else Server.of(model, gpu, tp, settings)
    found = iteration_log.read(log, kv_tokens)
    fitted = fit_log(found, server, tp)

    from reports import files
    from reports import served as report

    files.put(path.parent, {path.name: fitted.profile.to_yaml().encode()})
    if not quiet:
        terminal.show(report.log_table(fitted), [path])


def from_metrics(
    place: Annotated[
        str, typer.Argument(metavar="URL|FILE", help="Metrics of a vLLM server, live or as they were kept.")
    ],
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", metavar="DIR", help="A folder of `python -m sim run`: the same load, simulated."
        ),
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="NAME", help="Which engine of that run.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="FILE", help="Metrics from before the load, to be taken off."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Fit, too: the profile to write; new.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """A live server's latencies and hits beside a simulated run.

    With --out a profile is fitted to its means, too. Averages over all of a load tell less than a
    benchmark's requests: from-bench where those can be had.
    """
    from calibration.served import metrics_fit
    from calibration.served.server_metrics import scrape

    if out is not None:
        if run is None:
            raise InputError(
                "--out is a fit, which needs --run DIR, the same load simulated; allowed: both"
            )
        options.new_profile(out, "")
    simulated = None if run is None else metrics_fit.Simulated.of(run, system)
    server = scrape(place)
    if since is not None:
        server = server.since(scrape(since))

    from reports import files
    from reports import served as report

    if simulated is None:
        terminal.show(report.metrics_table(server))
    elif out is None:
        terminal.show(report.beside_metrics_table(simulated.beside(server)))
    else:
        with terminal.time_left(quiet) as progress:
            fitted = metrics_fit.fit(server, simulated, progress)
        files.put(out.parent, {out.name: fitted.profile.to_yaml().encode()})
        if not quiet:
            terminal.show(report.metrics_fit_table(fitted), [out])
