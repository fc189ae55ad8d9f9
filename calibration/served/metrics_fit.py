"""A simulated run beside the metrics of a live server, and the numbers with which the two meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.served.comparison import STATISTICS, Metric, values
from calibration.served.numbers import SOUGHT, Values, as_fitted, doubts, made, rounded, starts
from calibration.served.search import Found, Tell, examine, search
from calibration.served.server import Server
from calibration.served.server_metrics import ServerMetrics
from sim.config import Config, load_config
from sim.experiment import build_trace
from sim.hardware import catalogue
from sim.hardware.evidence import BenchFit
from sim.hardware.profile import Profile
from sim.results.itl import gaps_of
from sim.results.records import Records
from sim.systems.engine import EngineSystem
from workloads.errors import InputError
from workloads.trace import Trace

TOLD = ("mfu", "mbu")
"""What two means, of TTFT and TPOT, can tell; the other numbers stay where a search begins."""
FITTED = ("TTFT", "TPOT")
OTHER_LOAD = 0.1
"""A mean length that differs by more, relative, makes the comparison one of two workloads."""


@dataclass(frozen=True, slots=True)
class MetricsComparison:
    """A server's metrics beside a simulated run."""

    server: ServerMetrics
    run: str
    requests: int
    metrics: dict[str, Metric]
    hit_rates: tuple[float | None, float | None]
    """Prefix cache hits over queries, in tokens: measured, predicted."""
    lengths: dict[str, tuple[float, float]]
    """Mean prompt and output tokens: measured, predicted."""

    def notes(self) -> list[str]:
        """What keeps the two from being the same load."""
        return [
            f"another workload: {name} on average {real:,.0f} at the server, {simulated:,.0f} in {self.run}"
            for name, (real, simulated) in self.lengths.items()
            if abs(simulated / real - 1) > OTHER_LOAD
        ]


@dataclass(frozen=True, slots=True)
class Simulated:
    """The experiment of a run's folder, to be run with other times."""

    name: str
    config: Config
    server: Server
    trace: Trace

    @classmethod
    def of(cls, folder: Path, system: str | None) -> Simulated:
        """Of ``system`` in the run that lies in ``folder``; InputError if there is no engine on GPUs."""
        path = folder / "config.yaml"
        if not path.is_file():
            raise InputError(
                f"--run {folder}: no config.yaml; allowed: a folder that `python -m sim run` wrote"
            )
        config = load_config(path)
        config.require_one_seed()
        names = [name for name, kind in config.systems.items() if isinstance(kind, EngineSystem)]
        if system is None and len(names) == 1:
            system = names[0]
        if system not in names:
            said = "several engines" if system is None else f"--system {system}"
            raise InputError(f"{path}: {said}; allowed: --system with one of {', '.join(names) or 'none'}")
        chosen = config.systems[system]
        assert isinstance(chosen, EngineSystem)
        if chosen.model is None or chosen.hardware is None or chosen.pools is not None:
            raise InputError(f"{path}: systems.{system}; allowed: one pool with model and hardware")
        model = catalogue.model(
            chosen.model, config.folder, f"systems.{system}.model", chosen.dtype, chosen.kv_cache_dtype
        )
        gpu = catalogue.gpu(chosen.hardware, f"systems.{system}.hardware", config.folder)
        return cls(
            f"{folder} ({system})", config, Server(chosen, model, gpu, config.folder), build_trace(config)
        )

    def beside(self, server: ServerMetrics, profile: Profile | None = None) -> MetricsComparison:
        """The run, with the times of ``profile`` where one is given, beside the server's metrics."""
        return compare(server, self.server.simulate(self.trace, profile), self.name)


def compare(server: ServerMetrics, records: Records, run: str) -> MetricsComparison:
    """Means and percentiles of both; a histogram's percentiles are interpolated within its buckets."""
    found = {}
    for name, histogram in server.latencies.items():
        real = [histogram.mean, *(histogram.quantile(share) for share in (0.5, 0.9, 0.99))]
        if (simulated := _simulated(records, name)) is not None and real[0]:
            found[name] = Metric(
                dict(zip(STATISTICS, real, strict=True)), dict(zip(STATISTICS, simulated, strict=True))
            )
    rate = None
    if server.query_tokens and server.hit_tokens is not None:
        rate = server.hit_tokens / server.query_tokens
    queries = int(records.input_tokens.sum())
    lengths = {}
    for name, tokens, mine in (
        ("prompt tokens", server.prompt_tokens, records.input_tokens),
        ("output tokens", server.output_tokens, records.output_tokens),
    ):
        if tokens is not None and tokens.count and tokens.mean:
            lengths[name] = tokens.mean, float(mine.mean())
    hits = int(records.cache_read_input_tokens.sum()) / queries
    return MetricsComparison(server, run, len(records), found, (rate, hits), lengths)


def _simulated(records: Records, name: str) -> list[float] | None:
    if name == "ITL":
        gaps = gaps_of(records.steps, (50, 90, 99))
        return [gaps.mean, *gaps.percentiles()] if gaps.count else None
    found = values(records)[name]
    found = found[~np.isnan(found)]
    return [float(found.mean()), *np.percentile(found, (50, 90, 99)).tolist()] if len(found) else None


@dataclass(frozen=True, slots=True)
class MetricsFit:
    """A profile that meets a server's means, the search for it, and all that was not fitted."""

    profile: Profile
    found: Found
    compared: MetricsComparison
    notes: list[str]


def fit(server: ServerMetrics, simulated: Simulated, tell: Tell = lambda *_: None) -> MetricsFit:
    """The share of compute and bandwidth with which the simulated run has the server's TTFT and TPOT."""
    absent = [name for name in FITTED if name not in server.latencies]
    if absent:
        raise InputError(f"{server.where}: no {absent[0]}; allowed: the metrics of vLLM 0.11 or later")
    told = tuple(parameter for parameter in SOUGHT if parameter.name in TOLD)

    def off(numbers: Values) -> float:
        metrics = simulated.beside(server, made(simulated.server, starts() | numbers)).metrics
        return float(np.mean([abs(metrics[name].error("mean")) for name in FITTED]))

    found = examine(told, search(told, off, tell), off, tell)
    numbers = starts() | found.values
    profile = made(simulated.server, numbers)
    compared = simulated.beside(server, profile)
    errors = {f"{name} {s}": m.error(s) for name, m in compared.metrics.items() for s in STATISTICS}
    met = {name: round(value, 5) for name, value in errors.items() if name in _means(FITTED)}
    others = {name: round(value, 5) for name, value in errors.items() if name not in met}
    said = ", ".join(f"{name} {others[name]:+.1%}" for name in ("TTFT p99", "E2E mean") if name in others)
    bench = BenchFit(
        file=server.where,
        split="means of TTFT and TPOT are fitted; all else is held out",
        fitted_requests=server.requests,
        heldout_requests=server.requests,
        parameters=rounded(numbers),
        fitted_errors=met,
        heldout_errors=others,
    )
    said = f"means of TTFT and TPOT of {server.requests:,} requests; not fitted: {said}"
    profile = as_fitted(simulated.server, profile, "a server's metrics", said, bench)
    return MetricsFit(profile, found, compared, doubts(simulated.server, bench))


def _means(names: tuple[str, ...]) -> list[str]:
    return [f"{name} mean" for name in names]
