"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workloads.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

    from sim.jobs.runner import Workers


def _shipped(path: Path) -> Path:
    from sim.examples import find

    return find(path)


def _names(incomplete: str) -> list[str]:
    """Names of configurations that ship, for the completion of a shell."""
    from sim.examples import files

    return [name for name in files() if name.startswith(incomplete)]


ConfigFile = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        callback=_shipped,
        autocompletion=_names,
        help="The experiment: a YAML file, or the name of one that ships, such as quickstart.",
    ),
]
Overrides = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a dotted key; may be repeated."),
]
OutFolder = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Where to write; default runs/NAME.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Overwrite what another configuration left in the folder.")
]
SkipLines = Annotated[
    int | None,
    typer.Option("--skip-bad-lines", metavar="N", min=0, help="Pass over so many bad lines of the trace."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]
Day = Annotated[str, typer.Option("--day", metavar="DATE", help="Prices of which day.")]

AxisSettings = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=A,B,C",
        help="An axis: a dotted key and its values. One value overrides the key. May be repeated.",
    ),
]


def _shipped_axes(path: Path | None) -> Path | None:
    from sim.examples import find_axes

    return None if path is None else find_axes(path)


AxesFile = Annotated[
    Path | None,
    typer.Option(
        "--axes",
        metavar="FILE",
        callback=_shipped_axes,
        help="Axes in YAML, also of several keys that move together; gpus ships.",
    ),
]
Metrics = Annotated[
    list[str],
    typer.Option("--metric", metavar="NAME", help="A figure of summary.json; may be repeated."),
]
Seeds = Annotated[
    int, typer.Option("--seeds", metavar="N", help="Seeds of each point, from the configured one on.")
]
Jobs = Annotated[int, typer.Option("--jobs", metavar="J", help="Processes that compute; 0: one a core.")]
RunJobs = Annotated[
    int | None,
    typer.Option("--jobs", metavar="J", help="Simulate in parts, in J processes; 0: one a core."),
]
Parts = Annotated[
    int | None,
    typer.Option("--parts", metavar="P", help="Parts of a system at most; default: by size and --jobs."),
]
Cluster = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="Compute on the dask scheduler there instead."),
]
SweepFolder = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Where to write; default runs/NAME-COMMAND.")
]


def skipping(overrides: list[str], lines: int | None) -> list[str]:
    """The overrides, and that of a trace's bad lines."""
    return overrides if lines is None else [*overrides, f"workload.skip_bad_lines={lines}"]


def day_of(text: str) -> datetime:
    """The beginning of that day in UTC; InputError if it is none."""
    from datetime import UTC, date, datetime, time

    try:
        start = datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        raise InputError(f"--day {text}: not a date; allowed: like 2026-11-24") from None
    if not 2000 <= start.year <= 2100:
        raise InputError(f"--day {text}: allowed: from 2000 to 2100")
    return start


def workers_of(jobs: int, cluster: str | None) -> Workers:
    """Who computes, by the options; InputError for a number of processes that is none."""
    import joblib

    from sim.jobs.runner import Workers

    if jobs < 0:
        raise InputError(f"--jobs {jobs}; allowed: 1, 2, ..., or 0 for one a core")
    return Workers(jobs or joblib.cpu_count(), cluster)


def pair_of(names: str, option: str) -> tuple[str, str]:
    """The two names of ``A,B``; InputError if there are not two."""
    first, comma, second = (part.strip() for part in names.partition(","))
    if not (first and comma and second) or "," in second:
        raise InputError(f"{option} {names}; allowed: two figures, such as cost_usd_total,p99_ttft_ms")
    return first, second
