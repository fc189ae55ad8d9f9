"""A profile out of a samples file: `fit`, its errors and what the coefficients imply, in one document."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from calibration import fit, samples
from calibration.baselines import baselines
from calibration.columns import Floats
from calibration.fit import Fitted, Measured
from calibration.samples import Samples
from sim.hardware import catalogue, reader
from sim.hardware.catalogue import Gpu
from sim.hardware.coefficients import Coefficients
from sim.hardware.dense import DenseDecoder
from sim.hardware.evidence import Fit, Hardware, Heldout, Protocol, SamplesFile, Software, Transfer
from sim.hardware.profile import Profile
from sim.hardware.roofline import roofline
from workloads.errors import InputError
from workloads.in_words import first_problem

Part = TypeVar("Part", bound=BaseModel)
MAX_DRIFT = 0.05
OVER_MEASURED = 1.25
"""A rate may exceed a peak that was itself measured by this much; a datasheet's by nothing."""


@dataclass(slots=True)
class Built:
    """A profile and what it was made of, for tables and figures."""

    profile: Profile
    fitted: Fitted
    training: Measured
    heldout: Measured

    @property
    def predicted_s(self) -> Floats:
        """Predictions for the held-out configurations."""
        return self.fitted.predict(self.heldout.steps)


def build(path: Path, out: Path, max_drift: float = MAX_DRIFT) -> Built:
    """The profile of the samples in ``path``, to be written to ``out`` (not written here).

    Raises InputError if the samples do not suffice or imply rates that the device cannot have.
    """
    taken = samples.read(path)
    head = taken.header
    model = _part(DenseDecoder, head, "model", path)
    hardware = _part(Hardware, head, "hardware", path)
    software = _part(Software, head, "software", path)
    kept, drift = fit.steady(taken, max_drift)
    training, heldout = fit.table(taken, "fit", kept), fit.table(taken, "heldout", kept)
    fitted = fit.fit(training, hinged=head["clock"] == "cpu_time", seed=head["seed"])
    device = _device(head, hardware, model)
    coefficients = fitted.coefficients()
    block_bytes = software.block_size * model.kv_bytes_per_token
    profile = Profile(
        id=f"{hardware.device}, {model.name}, {model.dtype}, torch {software.torch}, "
        f"{software.attention_backend}",
        calibrated=True,
        origin="measured",
        source=f"measured in {len(kept)} passes over {len(training.steps)} configurations",
        coefficients=coefficients,
        created=head["created"],
        tool_version=metadata.version("prefixsim"),
        model=model,
        domain=fit.domain(training),
        hardware=hardware,
        software=software,
        protocol=_protocol(taken, kept, drift, max_drift),
        samples=SamplesFile(
            file=os.path.relpath(path.resolve(), out.resolve().parent), sha256=samples.sha256(path)
        ),
        fit=_rates(path, fitted, model, device),
        heldout=_heldout(
            coefficients, training, heldout, roofline(reader.of_dense(model), device), head["seed"]
        ),
        transfer=[Transfer.model_validate(line) for line in fit.transfers(taken, kept, block_bytes)],
        overhead_s=_overheads(taken, kept),
    )
    return Built(profile, fitted, training, heldout)


def _part(kind: type[Part], head: dict[str, Any], name: str, path: Path) -> Part:
    """A section of the header line; InputError if it is not one."""
    try:
        return kind.model_validate(head[name])
    except ValidationError as error:
        raise InputError(f"{path}:1: {first_problem(error, head[name], name)}") from None


def _protocol(taken: Samples, kept: list[int], drift: list[float], max_drift: float) -> Protocol:
    head = taken.header
    return Protocol(
        clock=head["clock"],
        grid=head["grid"],
        passes=head["passes"],
        rejected_passes=sorted(set(range(head["passes"])) - set(kept)),
        drift=[round(d, 5) for d in drift],
        max_drift=max_drift,
        configurations=len({*taken.configurations}),
        seed=head["seed"],
    )


def _heldout(
    coefficients: Coefficients, training: Measured, heldout: Measured, peak: Profile, seed: int
) -> Heldout:
    predicted = fit.seconds(coefficients, heldout.steps)
    return Heldout(
        errors=fit.errors(predicted, heldout.median_s),
        by_family=fit.by_family(predicted, heldout.median_s, [step.family for step in heldout.steps]),
        baselines=baselines(training, heldout, peak.coefficients, seed),
        noise_floor=fit.noise_floor(heldout),
    )


def rebuild(path: Path) -> Built:
    """The same from a profile file and the samples beside it; InputError if they are not as they were."""
    from sim.hardware.profile import load

    profile = load(path)
    if profile.samples is None or profile.protocol is None:
        raise InputError(f"{path}: samples is missing; allowed: a profile that was measured")
    beside = path.parent / profile.samples.file
    if not beside.is_file():
        raise InputError(f"{path}: samples.file = {profile.samples.file}: no such file beside it")
    if samples.sha256(beside) != profile.samples.sha256:
        raise InputError(f"{beside}: its sha256 is not that in {path}; allowed: those that were fitted")
    return build(beside, path, profile.protocol.max_drift)


def _device(head: dict[str, object], hardware: Hardware, model: DenseDecoder) -> Gpu:
    """The datasheet that the run named, or else the measured peaks as if they were one."""
    if head["hardware_name"]:
        return catalogue.gpu(str(head["hardware_name"]), "hardware_name")
    return Gpu(
        name=hardware.device,
        memory_mib=max(1, int(hardware.memory_gib * 1024)),
        memory_bandwidth_gb_per_s=hardware.copy_gb_per_s,
        bf16_tflops=hardware.gemm_tflops * model.bytes_per_value / 2,
        source="measured peaks of a matrix product and of a copy",
        checked=False,
    )


def _rates(path: Path, fitted: Fitted, model: DenseDecoder, device: Gpu) -> Fit:
    """Rates that the coefficients imply; InputError if one is beyond the device's peak.

    Held against the peak is the slow end of a rate's 90 % interval, so that only a rate which is surely
    too high is refused.
    """
    pair_flop = 4 * model.num_hidden_layers * model.num_attention_heads * model.head_dim / 1e12
    kv_gb = model.kv_bytes_per_token / 1e9
    weights_gb = (model.layer_params + model.head_params) * model.bytes_per_value / 1e9
    index = {name: i for i, name in enumerate(fitted.names)}

    def draws(*names: str) -> Floats:
        return np.asarray(fitted.replicates[:, [index[name] for name in names]].sum(axis=1))

    one_token = fitted.replicates[:, index["token"]] * _knee(fitted)
    one_token = one_token + draws("step", *(name for name in fitted.names if "hinge" in name))
    costs = {
        "linear_tflops": (2 * model.layer_params / 1e12, draws("token")),
        "attention_tflops": (pair_flop, draws("pair", "rectangle")),
        "kv_gb_per_s": (kv_gb, draws("decode_kv")),
        "weights_gb_per_s": (weights_gb, one_token),
    }
    peaks = {
        "tflops": device.bf16_tflops * 2 / model.bytes_per_value,
        "gb_per_s": device.memory_bandwidth_gb_per_s,
    }
    slack = 1.0 if device.checked else OVER_MEASURED
    implied = {}
    for name, (amount, seconds) in costs.items():
        slow, middle = np.quantile(seconds, 0.95), np.median(seconds)
        if not slow or not middle:
            continue  # the fit did not need it
        implied[name] = float(amount / middle)
        peak = peaks[name.split("_", 1)[1]] * slack
        if amount / slow > peak:
            raise InputError(
                f"{path}: the fit implies {name} = {amount / slow:.4g} or more, beyond the device's "
                f"{peak:.4g} ({device.name}: {device.source}); allowed: less"
            )
    return Fit(form="pnorm+nnls/1", intervals=fitted.intervals(), implied=implied, peaks=peaks)


def _knee(fitted: Fitted) -> float:
    """Tokens' worth of the weights term in a step of one token."""
    return float((fitted.floor_tokens**fitted.p + 1) ** (1 / fitted.p))


def _overheads(taken: Samples, kept: list[int]) -> dict[str, float]:
    """Medians in s: an empty launch, a step's wall time beyond the device's, a decode without graphs."""
    out = {"launch": float(fit.table(taken, "overhead", kept).median_s[0])}
    beyond = [
        wall - t_s
        for wall, t_s, step in zip(taken.wall_s, taken.t_s, taken.configurations, strict=True)
        if step.split == "fit"
    ]
    out["host_per_step"] = float(np.median(beyond))
    eager = fit.table(taken, "eager", kept)
    if eager.steps:
        graphs = fit.table(taken, "fit", kept)
        by = dict(zip([s.spec for s in graphs.steps], graphs.median_s.tolist(), strict=True))
        extra = [t - by[s.spec] for s, t in zip(eager.steps, eager.median_s.tolist(), strict=True)]
        out["eager_decode"] = float(np.median(extra))
    return out
