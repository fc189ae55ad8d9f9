"""Predicted beside measured, as files: the figures as JSON, and a page with tables and pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reports import files, validation_figures
from reports.calibration import METRICS
from reports.canvas import Picture
from reports.frame import Part, Row, rows, study
from reports.inline import image
from reports.served import errors_of, ms
from sim.hardware.profile import Profile
from sim.results.validation import EngineValidation, MetricEntry, ProfileEntry, Statistics, Validation

if TYPE_CHECKING:
    from calibration.served.against import Against
    from calibration.served.comparison import Metric
    from calibration.validate import Comparison

DEFINITIONS = (
    ("Measured", "What the server took, as its benchmark or its log of requests says."),
    ("Predicted", "What the simulator says of the same requests, sent at the same times."),
    ("Error", "Predicted over measured, less one: -3% is a prediction that is 3% too short."),
    (
        "Each request",
        "The size of the relative error of every single request, mean and median. It is larger than that "
        "of means, in which errors of both signs cancel; of short times it is largest.",
    ),
    ("TTFT", "Time to first token: from the arrival of a request to its first output token."),
    ("TPOT", "Time per output token after the first. One value per request."),
    (
        "ITL",
        "Gaps between tokens, of all requests together. A client that gets several tokens in one message "
        "sees one gap for them.",
    ),
    ("E2E", "From the arrival of a request to its last token."),
    ("p50, p90, p99", "Half of the values, or 90% or 99% of them, stay at or below this one."),
    ("Hits", "Prompt tokens that were found in the prefix cache, request by request."),
    (
        "Uncalibrated",
        "Iteration times come from a formula (the data sheet of the GPU and the shape of the model), not "
        "from a measurement.",
    ),
)
OF_ENGINES = (
    ("Real engine", "The simulator's own scheduler over a decoder that computes every step."),
    ("Error", "Simulated over real, less one."),
    ("Load", "Busy share of the simulated engine, to which think times were scaled."),
    (
        "Drift",
        "How much longer fixed steps took right before and right after a run than the profile says: an "
        "error of that size says something about the machine, not about the model.",
    ),
    ("Step MAPE", "Mean size of the relative error of single steps."),
    (
        "Noise floor",
        "How much two halves of the profile's passes disagree. An error below it is luck.",
    ),
)


def of_requests(against: Against) -> Validation:
    """The content of validation.json."""
    compared = against.compared
    hits = compared.hits
    return {
        "version": metadata.version("prefixsim"),
        "against": against.run.path.name,
        "sha256": hashlib.sha256(against.run.path.read_bytes()).hexdigest(),
        "requests": compared.requests,
        "profile": _profile(against.profile),
        "metrics": {name: _metric(metric) for name, metric in compared.metrics.items()},
        "hits": None
        if hits is None
        else {
            "prompt_tokens": hits.prompt_tokens,
            "measured_tokens": hits.measured_tokens,
            "predicted_tokens": hits.predicted_tokens,
            "equal_requests": hits.equal,
        },
        "notes": against.notes,
    }


def of_engine(profile: Profile, compared: Sequence[Comparison]) -> EngineValidation:
    """The content of engine-validation.json."""
    floor = None if profile.heldout is None else profile.heldout.noise_floor
    return {
        "version": metadata.version("prefixsim"),
        "profile": _profile(profile),
        "noise_floor": None if floor is None or np.isnan(floor) else floor,
        "runs": [
            {
                "seed": c.seed,
                "load": c.load,
                "cache": c.cache,
                "busy_share": c.busy_share,
                "requests": c.requests,
                "equal_requests": c.hits_equal,
                "measured_hit_tokens": c.real_hits,
                "predicted_hit_tokens": c.simulated_hits,
                "step_mape": c.steps.mape,
                "drift_before": c.drift[0],
                "drift_after": c.drift[1],
                "measured_s": c.real_s,
                "predicted_s": c.simulated_s,
                "error": {name: c.error(name) for name in METRICS},
            }
            for c in compared
        ],
        "errors": {
            name: {"median": float(np.median(sizes)), "largest": float(sizes.max())}
            for name in METRICS
            for sizes in [np.abs([c.error(name) for c in compared])]
        },
    }


def write(against: Against, folder: Path) -> list[Path]:
    """Write validation.json and validation.html, both or none; their paths."""
    found = of_requests(against)
    hits = found["hits"]
    text = _page(
        name=found["against"],
        about=f"{found['requests']:,} requests beside their simulation. Times: {against.profile.source}",
        profile=against.profile,
        answer=_answer(against),
        part=Part(
            "Predicted beside measured",
            headings=["metric", "", "mean", "p50", "p90", "p99", "each request: mean", "median"],
            rows=list(_rows(against)),
            words=2,
            sorts=False,
        ),
        notes=[
            *(
                []
                if hits is None
                else [
                    f"Prompt tokens found in the cache: {hits['measured_tokens']:,} measured, "
                    f"{hits['predicted_tokens']:,} predicted, of {hits['prompt_tokens']:,}; equal on "
                    f"{hits['equal_requests']:,} of {found['requests']:,} requests."
                ]
            ),
            *found["notes"],
        ],
        pictures=validation_figures.of_requests(against),
        definitions=DEFINITIONS,
        configuration=against.server.to_yaml(),
    )
    return _put(folder, "validation", found, text)


def write_engine(profile: Profile, compared: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write engine-validation.json and engine-validation.html, both or none; their paths."""
    found = of_engine(profile, compared)
    runs = [
        (
            f"seed {c.seed}, load {c.load:.0%}, cache {'on' if c.cache else 'off'}",
            f"{c.hits_equal} of {c.requests}",
            f"{c.real_hits:,} / {c.simulated_hits:,}",
            f"{c.steps.mape:.1%}",
            f"{c.drift[0]:+.1%}, {c.drift[1]:+.1%}",
            *(f"{c.error(name):+.1%}" for name in ("steps, sum", "TTFT mean", "TPOT mean", "E2E mean")),
            f"{c.error('E2E p99'):+.1%}",
        )
        for c in compared
    ]
    floor = found["noise_floor"]
    errors = found["errors"]["E2E mean"]
    text = _page(
        name=profile.id,
        about=f"{len(compared)} runs of the real engine beside their simulation.",
        profile=profile,
        answer=(
            f"Simulated E2E means are {errors['median']:.1%} off the real engine's (median of "
            f"{len(compared)} runs), {errors['largest']:.1%} at most."
        ),
        part=Part(
            "Every run",
            headings=["run", "hits equal", "hit tokens real / simulated", "step MAPE", "drift",
                      "steps, sum", "TTFT mean", "TPOT mean", "E2E mean", "E2E p99"],
            rows=rows(runs),
        ),
        notes=[] if floor is None else [f"Noise floor of the profile: {floor:.1%}."],
        pictures=[validation_figures.of_engine(found)],
        definitions=OF_ENGINES,
        configuration=profile.to_yaml(),
    )  # fmt: skip
    return _put(folder, "engine-validation", found, text)


def _rows(against: Against) -> Iterator[Row]:
    for name, metric in against.compared.metrics.items():
        yield Row((name, "measured", *map(ms, metric.measured_s.values()), "", ""), look="group")
        yield Row(("", "predicted", *map(ms, metric.predicted_s.values()), "", ""))
        yield Row(("", "error", *errors_of(metric)), look="first")


def _answer(against: Against) -> str:
    """The errors of the means, metric by metric."""
    said = [f"{name} {metric.error('mean'):+.1%}" for name, metric in against.compared.metrics.items()]
    return f"Predicted means against measured ones: {', '.join(said)}."


def _page(
    *,
    name: str,
    about: str,
    answer: str,
    profile: Profile,
    part: Part,
    notes: Sequence[str],
    pictures: list[Picture],
    definitions: Sequence[tuple[str, str]],
    configuration: str,
) -> str:
    return study(
        subject="validation",
        name=name,
        about=about,
        answer=answer,
        notes=notes,
        parts=[part, Part("Figures", images=[image(picture) for picture in pictures])],
        uncalibrated=[] if profile.calibrated else [profile.id],
        definitions=definitions,
        configuration=configuration,
    )


def _put(folder: Path, stem: str, found: Any, text: str) -> list[Path]:
    contents = {
        f"{stem}.json": (json.dumps(found, indent=2, allow_nan=False) + "\n").encode(),
        f"{stem}.html": text.encode(),
    }
    files.put(folder, contents)
    return [folder / name for name in contents]


def _profile(profile: Profile) -> ProfileEntry:
    return {"id": profile.id, "calibrated": profile.calibrated, "source": profile.source}


def _metric(metric: Metric) -> MetricEntry:
    return {
        "measured_ms": _statistics({name: value * 1e3 for name, value in metric.measured_s.items()}),
        "predicted_ms": _statistics({name: value * 1e3 for name, value in metric.predicted_s.items()}),
        "error": _statistics({name: metric.error(name) for name in metric.measured_s}),
        "request_error_mean": metric.request_mape,
        "request_error_median": metric.request_median,
    }


def _statistics(values: dict[str, float]) -> Statistics:
    return {"mean": values["mean"], "p50": values["p50"], "p90": values["p90"], "p99": values["p99"]}
