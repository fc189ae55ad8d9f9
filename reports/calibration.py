"""A measured profile and its validation as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from reports import units
from sim.hardware.evidence import Errors
from sim.hardware.origin import Tables
from sim.hardware.profile import Profile

if TYPE_CHECKING:
    from calibration.third_party_report import EngineComparison
    from calibration.validate import Comparison

GATES = {"linear_tflops": (0.60, 0.85), "weights_gb_per_s": (0.60, 1.0)}
"""Shares of the peak that a large model reaches on a large GPU; outside, something may be wrong."""
NO_TIMES = ("p", "touched", "depth")
"""Coefficients that are no seconds."""
LARGE = 5e9
"""Parameters in layers from which the gates apply."""
COEFFICIENTS = ("coefficient", "value", "90 % interval")
RATES = ("implied rate", "value", "of the peak")
ERRORS = ("held-out steps", "n", "MAPE", "p90", "p99", "max", "bias", "sum")
"""Headings of tables."""
SHOWN: tuple[tuple[str, list[tuple[int, int]], int, int], ...] = (
    ("prefill of 512", [(0, 512)], 0, 0),
    ("prefill of 2,048", [(0, 2048)], 0, 0),
    ("prefill of 256 behind 1,024", [(1024, 256)], 0, 0),
    ("1 decode at 1,024", [], 1, 1024),
    ("8 decodes at 1,024", [], 8, 1024),
    ("32 decodes at 1,024", [], 32, 1024),
    ("8 decodes at 1,024 and a prefill of 248", [(0, 248)], 8, 1024),
)
"""Iterations on which profiles are compared: prefills, decodes, context of each decode."""


def profile_table(profile: Profile) -> RenderableType:
    """What a profile says, how well, and what follows from it."""
    parts: list[RenderableType] = [Text(profile.id, style="bold"), Text(profile.source)]
    if profile.protocol is not None:
        dropped = profile.protocol.rejected_passes
        parts.append(
            Text(
                f"clock {profile.protocol.clock}, {profile.protocol.passes} passes, dropped for drift: "
                + (", ".join(str(number) for number in dropped) or "none")
            )
        )
    parts.append(_coefficients(profile))
    if profile.fit is not None:
        parts += [_rates(profile), *(Text(line, style="yellow") for line in doubts(profile))]
    if profile.tables is not None:
        parts.append(_tables(profile.tables))
    if profile.heldout is not None:
        parts.append(_errors(profile))
    return Group(*parts)


def coefficient_rows(profile: Profile) -> list[tuple[str, str, str]]:
    """Each coefficient with its value and its interval."""
    c, rows = profile.coefficients, []
    intervals = profile.fit.intervals if profile.fit else {}
    values = {
        name: value
        for name, value in c.model_dump().items()
        if isinstance(value, float) and name not in NO_TIMES
    }
    values |= {f"hinge {k}": value for k, value in c.hinges.items()}
    values |= {f"sequence hinge {k}": value for k, value in c.sequence_hinges.items()}
    for window in c.windows:
        parts = {"pair": window.pair, "prefill_kv": window.prefill_kv, "decode_kv": window.decode_kv}
        values |= {f"window of {window.tokens}: {name}": value for name, value in parts.items()}
    for name, value in values.items():
        if value:
            ends = intervals.get(name)
            rows.append((name, _s(value), f"{_s(ends[0])} to {_s(ends[1])}" if ends else ""))
    rows += [(name, f"{number:.4g}", "") for name in NO_TIMES if (number := getattr(c, name))]
    if c.correction:
        factors = c.correction.values()
        rows.append(("correction", f"{min(factors):.2f} to {max(factors):.2f}", ""))
    return rows


def _coefficients(profile: Profile) -> Table:
    return _filled(COEFFICIENTS, coefficient_rows(profile))


def _filled(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(headings[0], *map(_right, headings[1:]), header_style="bold")
    for row in rows:
        table.add_row(*row)
    return table


def _tables(tables: Tables) -> Text:
    return Text(f"imported from {tables.source} {tables.version} ({tables.licence}): {tables.tables}")


def rate_rows(profile: Profile) -> list[tuple[str, str, str]]:
    """What the coefficients mean as rates, and what share of the peak that is."""
    fit, rows = profile.fit, []
    assert fit is not None
    for name, value in fit.implied.items():
        what, _, unit = name.partition("_")
        peak, label = fit.peaks[unit], {"tflops": "TFLOP/s", "gb_per_s": "GB/s"}[unit]
        rows.append((what, f"{units.significant(value)} {label}", f"{value / peak:.0%} of {peak:,.4g}"))
    return rows


def _rates(profile: Profile) -> Table:
    return _filled(RATES, rate_rows(profile))


def doubts(profile: Profile) -> list[str]:
    """What looks wrong about a measurement of a large model on a GPU with a datasheet."""
    fit, model = profile.fit, profile.model
    if fit is None or model is None or model.layer_params < LARGE or profile.protocol is None:
        return []
    if profile.protocol.clock != "cuda_event":
        return []
    out = []
    if profile.software is not None and not profile.software.cuda_graphs:
        out.append(
            "doubtful: decodes without CUDA graphs, their time is that of launching "
            f"({profile.software.attention_backend}; a later torch reads block tables)"
        )
    for name, (low, high) in GATES.items():
        share = fit.implied.get(name, 0.0) / fit.peaks[name.partition("_")[2]]
        if not low <= share <= high:
            out.append(
                f"doubtful: {name} is {share:.0%} of the peak; usual: {low:.0%} to {high:.0%} "
                "(is the GPU free, at full clock, and --hardware right?)"
            )
    return out


def error_rows(profile: Profile) -> list[tuple[str, ...]]:
    """Errors on iterations that the fit never saw: this profile, families of iterations, simpler models."""
    heldout = profile.heldout
    assert heldout is not None
    named: dict[str, Errors] = {"this profile": heldout.errors}
    named |= {f"  {family}": errors for family, errors in heldout.by_family.items()}
    named |= heldout.baselines
    return [
        (
            name,
            str(e.n),
            *(f"{value:.1%}" for value in (e.mape, e.p90, e.p99, e.max)),
            *(f"{value:+.1%}" for value in (e.bias, e.sum_err)),
        )
        for name, e in named.items()
    ]


def noise_floor(profile: Profile) -> str:
    """How well equal iterations agree; empty where it is not known."""
    heldout = profile.heldout
    if heldout is None or math.isnan(heldout.noise_floor):
        return ""
    if profile.protocol is None:
        return f"noise floor: equal iterations next to each other differ by {heldout.noise_floor:.1%}"
    return f"noise floor: two halves of the passes disagree by {heldout.noise_floor:.1%} on average"


def _errors(profile: Profile) -> Group:
    floor = noise_floor(profile)
    return Group(_filled(ERRORS, error_rows(profile)), *([Text(floor)] if floor else []))


def comparison_table(one: Profile, other: Profile) -> RenderableType:
    """Two profiles side by side on `SHOWN`; a star marks what a profile did not measure."""
    from sim.engine.latency import IterationTime

    table = Table("iteration", _right("one"), _right("other"), _right("other / one"), header_style="bold")
    for label, prefills, decodes, context in SHOWN:
        cells, times = [], []
        for profile in (one, other):
            time = IterationTime(profile.coefficients, profile.domain)
            tokens = decodes + sum(new for _, new in prefills)
            t_s = time.fixed_s(tokens, decodes + len(prefills)) + time.decode_s(decodes, decodes * context)
            t_s += sum(time.prefill_s(cached, new) for cached, new in prefills)
            outside = time.extrapolated_s(prefills, decodes, decodes * context, t_s)
            times.append(t_s)
            cells.append(_s(t_s) + ("*" if outside else ""))
        table.add_row(label, *cells, f"{times[1] / times[0]:.2f}" if times[0] else "")
    names = [Text(f"{which}: {p.id}") for which, p in (("one", one), ("other", other))]
    return Group(*names, table, Text("* extrapolated: outside of what was measured"))


METRICS = ("steps, sum", "TTFT mean", "TTFT p50", "TTFT p99", "TPOT mean", "TPOT p50", "TPOT p99",
           "E2E mean", "E2E p50", "E2E p99")  # fmt: skip


def validation_table(profile: Profile, compared: Sequence[Comparison]) -> RenderableType:
    """Every run of the real engine beside its simulation, and the errors over all runs."""
    runs = Table(
        "run",
        *(_right(name) for name in ("busy", "hits equal", "hit tokens real / sim", "step MAPE", "drift")),
        header_style="bold",
    )
    for c in compared:
        runs.add_row(
            _run_name(c),
            f"{c.busy_share:.0%}",
            f"{c.hits_equal} of {c.requests}",
            f"{c.real_hits:,} / {c.simulated_hits:,}",
            f"{c.steps.mape:.1%}",
            f"{c.drift[0]:+.1%}, {c.drift[1]:+.1%}",
        )
    table = Table("real -> simulated", *map(_right, ("", "mean", "p50", "p99")), header_style="bold")
    for c in compared:
        table.add_row(_run_name(c), "steps", _beside(c, "steps, sum"), "", "")
        for name in ("TTFT", "TPOT", "E2E"):
            table.add_row("", name, *(_beside(c, f"{name} {which}") for which in ("mean", "p50", "p99")))
    summary = Table("error", _right("median"), _right("largest"), header_style="bold")
    for name in METRICS:
        errors = np.array([c.error(name) for c in compared])
        summary.add_row(name, f"{np.median(np.abs(errors)):.1%}", f"{np.abs(errors).max():.1%}")
    parts: list[RenderableType] = [runs, table, Text("sizes of the errors over all runs"), summary]
    if profile.heldout is not None:
        parts.append(Text(f"noise floor of the profile: {profile.heldout.noise_floor:.1%}"))
    return Group(*parts)


def third_party_table(compared: Sequence[EngineComparison]) -> RenderableType:
    """Every run of another engine beside its simulation."""
    table = Table(
        "run",
        *map(_right, ("hits equal", "hit tokens real / sim", "step MAPE")),
        *(_right(f"{name}: real -> sim") for name in ("steps, sum", "TTFT mean", "E2E mean", "E2E p99")),
        header_style="bold",
    )
    for c in compared:
        equal = sum(a == b for a, b in zip(c.real_hits, c.simulated_hits, strict=True))
        table.add_row(
            f"seed {c.seed}, sharing {'on' if c.sharing else 'off'}",
            f"{equal} of {len(c.real_hits)}",
            f"{sum(c.real_hits):,} / {sum(c.simulated_hits):,}",
            f"{c.steps.mape:.1%}",
            *(_beside(c, name) for name in ("steps, sum", "TTFT mean", "E2E mean", "E2E p99")),
        )
    return table


def _beside(c: Comparison | EngineComparison, name: str) -> str:
    return f"{_s(c.real_s[name])} -> {_s(c.simulated_s[name])} {c.error(name):+.1%}"


def _run_name(c: Comparison) -> str:
    return f"seed {c.seed}, load {c.load:.0%}, cache {'on' if c.cache else 'off'}"


def _right(name: str) -> Column:
    return Column(name, justify="right")


def _s(seconds: float) -> str:
    """A time with a unit in which it has few digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if seconds >= size:
            return f"{units.significant(seconds / size)} {unit}"
    return "0" if not seconds else f"{units.significant(seconds / 1e-12)} ps"
