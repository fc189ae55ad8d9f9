"""validation.json and engine-validation.json as types: predicted beside measured."""

from __future__ import annotations

from typing import Annotated, TypedDict

from sim.results.about import About


class ProfileEntry(TypedDict):
    """Where the iteration times of a prediction come from."""

    id: Annotated[str, About("", "Its name: device, model, dtype, how the times were had.")]
    calibrated: Annotated[bool, About("", "Whether the times come from measurements.")]
    source: Annotated[str, About("", "Where they come from, in a sentence.")]


class Statistics(TypedDict):
    """A mean and percentiles (linear)."""

    mean: Annotated[float, About("its own", "The mean.")]
    p50: Annotated[float, About("its own", "The median.")]
    p90: Annotated[float, About("its own", "The 90th percentile.")]
    p99: Annotated[float, About("its own", "The 99th percentile.")]


class MetricEntry(TypedDict):
    """One metric: TTFT, TPOT and E2E of each request, or ITL, all gaps between tokens together."""

    measured_ms: Annotated[Statistics, About("ms", "As measured.")]
    predicted_ms: Annotated[Statistics, About("ms", "As simulated.")]
    error: Annotated[Statistics, About("ratio", "Of each of them: predicted over measured, less one.")]
    request_error_mean: Annotated[
        float | None,
        About("ratio", "Mean size of a request's relative error; null for gaps, which are pooled."),
    ]
    request_error_median: Annotated[float | None, About("ratio", "Median size of it.")]


class HitsEntry(TypedDict):
    """Prompt tokens found in the cache, where the measured run tells its own."""

    prompt_tokens: Annotated[int, About("tokens", "Prompt tokens of the compared requests.")]
    measured_tokens: Annotated[int, About("tokens", "Those found in the cache, as measured.")]
    predicted_tokens: Annotated[int, About("tokens", "As simulated.")]
    equal_requests: Annotated[int, About("requests", "Requests with the same number in both.")]


class Validation(TypedDict):
    """A served run beside its simulation."""

    version: Annotated[str, About("", "Version of prefixsim.")]
    against: Annotated[str, About("", "Name of the file with the measured requests.")]
    sha256: Annotated[str, About("", "Hash of that file.")]
    requests: Annotated[int, About("requests", "Requests that are compared: all that were answered.")]
    profile: Annotated[ProfileEntry, About("", "The iteration times of the simulation.")]
    metrics: Annotated[dict[str, MetricEntry], About("", "By name: TTFT, TPOT, ITL, E2E.")]
    hits: Annotated[HitsEntry | None, About("", "Hits; null if the file does not tell them.")]
    notes: Annotated[list[str], About("", "What to know about the comparison.")]


class EngineRunEntry(TypedDict):
    """One trace served by the real engine and simulated."""

    seed: Annotated[int, About("", "Seed of the trace.")]
    load: Annotated[float, About("0-1", "Busy share that was asked for.")]
    cache: Annotated[bool, About("", "Whether prefix caching was on.")]
    busy_share: Annotated[float, About("0-1", "Share of time in steps of the real run.")]
    requests: Annotated[int, About("requests", "Requests of the trace.")]
    equal_requests: Annotated[int, About("requests", "Requests with the same hit tokens in both.")]
    measured_hit_tokens: Annotated[int, About("tokens", "Hit tokens of the real run.")]
    predicted_hit_tokens: Annotated[int, About("tokens", "Hit tokens of the simulation.")]
    step_mape: Annotated[float, About("ratio", "Mean size of the error of single steps.")]
    drift_before: Annotated[
        float, About("ratio", "How much longer sentinels took than the profile says, before the run.")
    ]
    drift_after: Annotated[float, About("ratio", "The same after it.")]
    measured_s: Annotated[dict[str, float], About("s", "Steps together; TTFT, TPOT, E2E: mean, p50, p99.")]
    predicted_s: Annotated[dict[str, float], About("s", "The same as simulated.")]
    error: Annotated[dict[str, float], About("ratio", "Predicted over measured, less one.")]


class ErrorSize(TypedDict):
    """Size of an error over all runs."""

    median: Annotated[float, About("ratio", "Median.")]
    largest: Annotated[float, About("ratio", "Largest.")]


class EngineValidation(TypedDict):
    """Traces served by the real engine of `calibration`, beside their simulation."""

    version: Annotated[str, About("", "Version of prefixsim.")]
    profile: Annotated[ProfileEntry, About("", "The profile that is held to account.")]
    noise_floor: Annotated[
        float | None,
        About("ratio", "Disagreement of two halves of its passes; null of a profile without."),
    ]
    runs: Annotated[list[EngineRunEntry], About("", "Every run.")]
    errors: Annotated[dict[str, ErrorSize], About("ratio", "Sizes of the errors, by figure.")]
