"""The numbers that tell a server from the roofline of its GPU. Another one is a line of `SOUGHT`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from calibration.imported import REQUEST_S
from calibration.served.server import Server
from sim.hardware.evidence import BenchFit
from sim.hardware.profile import Profile
from sim.hardware.roofline import roofline

Values = dict[str, float]
MISFIT = 0.5
"""A mean that was fitted and is missed by more shows that the formula does not describe the run."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that is sought between ``least`` and ``most``, from ``start`` on."""

    name: str
    start: float
    least: float
    most: float
    meaning: str
    applied: Callable[[Profile, Values], Profile] | None = None
    """What it, among all values, makes of a roofline's profile; None: the roofline is made with it."""


def _with(profile: Profile, **coefficients: object) -> Profile:
    changed = profile.coefficients.model_copy(update=coefficients)
    return profile.model_copy(update={"coefficients": changed})


def _kv(profile: Profile, values: Values) -> Profile:
    c = profile.coefficients
    factor = values["kv_factor"] * values["mbu"]  # the roofline reads KV as fast as weights
    windows = [
        w.model_copy(update={"prefill_kv": w.prefill_kv * factor, "decode_kv": w.decode_kv * factor})
        for w in c.windows
    ]
    return _with(profile, prefill_kv=c.prefill_kv * factor, decode_kv=c.decode_kv * factor, windows=windows)


def _request(profile: Profile, values: Values) -> Profile:
    return _with(profile, request=values["request_s"])


SOUGHT = (
    Parameter("mfu", 0.6, 0.02, 1.0, "share of the datasheet's compute that is reached"),
    Parameter("mbu", 0.7, 0.02, 1.0, "share of its bandwidth at which weights are read"),
    Parameter("kv_factor", 1.4, 1.0, 20.0, "times what reading KV takes at the datasheet's bandwidth", _kv),
)
WAITED = Parameter(
    "request_s", REQUEST_S, 0.0, 10.0, "s that a client waits beside the engine's work", _request
)
"""Where requests come at given times it changes nothing but what each takes: no search is needed for it."""
NUMBERS = (*SOUGHT, WAITED)


def starts() -> Values:
    """Every number where it begins."""
    return {parameter.name: parameter.start for parameter in NUMBERS}


def made(server: Server, numbers: Values) -> Profile:
    """The roofline of the server's model and GPU, changed by the numbers."""
    profile = roofline(server.model, server.gpu, numbers["mfu"], numbers["mbu"], server.system.parallel)
    for parameter in NUMBERS:
        if parameter.applied is not None:
            profile = parameter.applied(profile, numbers)
    return profile


def rounded(numbers: Values) -> Values:
    """As a profile holds them."""
    return {name: float(f"{value:.4g}") for name, value in numbers.items()}


def worst(bench: BenchFit) -> float:
    """By how much the fitted figures are missed at most, relative."""
    return max(map(abs, bench.fitted_errors.values()), default=0.0)


def doubts(server: Server, bench: BenchFit) -> list[str]:
    """Why a fit may be of another model, GPU or setting than was served."""
    said = []
    fast = [name for name in ("mfu", "mbu") if bench.parameters.get(name, 0.0) >= 1]
    if fast:
        said.append(
            f"{' and '.join(fast)} = 1: the server was faster than the figures of {server.gpu.name} allow; "
            "is it of this model, GPU, --tp and batch limits?"
        )
    if (missed := worst(bench)) > MISFIT:
        said.append(
            f"the fit misses what it was fitted to by up to {missed:.0%}: it does not describe this run, "
            "and the profile is marked uncalibrated"
        )
    return said


def as_fitted(server: Server, profile: Profile, what: str, said: str, bench: BenchFit) -> Profile:
    """``profile``, made of numbers, as one that was fitted to ``what``; ``said`` is how well."""
    numbers = ", ".join(f"{name} {value:g}" for name, value in bench.parameters.items())
    missed = worst(bench)
    return profile.model_copy(
        update={
            "id": f"{profile.id.removesuffix('roofline')}fitted to {what}",
            "calibrated": missed <= MISFIT,
            "typical_error": round(missed, 5) if missed > MISFIT else None,
            "origin": "fitted",
            "source": f"fitted to {what}: {said}. The roofline of {server.gpu.name} with {numbers}",
            "serves": server.serves,
            "bench": bench,
        }
    )
