"""How the times of a profile were found, and how far they are off."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from workloads.schema import Schema


class Hardware(Schema):
    """The device that was measured."""

    device: str
    memory_gib: PositiveFloat
    cpu: str
    cores: PositiveInt
    threads: PositiveInt
    sm_count: int | None = None
    driver: str | None = None
    cuda: str | None = None
    gemm_tflops: PositiveFloat = Field(description="best of large matrix products, in the profile's dtype")
    copy_gb_per_s: PositiveFloat = Field(description="bytes read and written by a large copy on the device")


class Software(Schema):
    """What ran on it."""

    torch: str
    attention_backend: str
    rejected_backends: dict[str, str] = Field(default={}, description="why each other one was not taken")
    cuda_graphs: bool
    block_size: PositiveInt = Field(description="tokens of a KV block")


class Protocol(Schema):
    """How it was measured."""

    clock: Literal["cuda_event", "cpu_time"]
    grid: Literal["gpu", "cpu", "tiny"]
    passes: PositiveInt
    rejected_passes: list[int]
    drift: list[float] = Field(description="sentinels of each pass against their median, relative")
    max_drift: NonNegativeFloat
    configurations: PositiveInt
    seed: int = Field(ge=0, lt=2**32)


class SamplesFile(Schema):
    """The file with every single sample, beside the profile."""

    file: str
    sha256: str


class Errors(Schema):
    """Relative errors of predictions; ``bias`` is their mean, ``sum_err`` the error of the sum."""

    n: PositiveInt
    mape: NonNegativeFloat
    p90: NonNegativeFloat
    p99: NonNegativeFloat
    max: NonNegativeFloat
    bias: float
    sum_err: float


class Heldout(Schema):
    """Errors on configurations that the fit never saw, beside those of simpler models."""

    errors: Errors
    by_family: dict[str, Errors]
    baselines: dict[str, Errors]
    noise_floor: float = Field(
        default=math.nan,
        allow_inf_nan=True,
        description="mean disagreement of two halves of the passes, relative; NaN of one or none",
    )


class Fit(Schema):
    """How the coefficients were found and what they imply."""

    form: Literal["pnorm+nnls/1"]
    intervals: dict[str, tuple[float, float]] = Field(description="90 %, bootstrap")
    implied: dict[str, float] = Field(description="rates that follow: TFLOP/s and GB/s")
    peaks: dict[str, float] = Field(description="what the rates were held against")


class Transfer(Schema):
    """A line through copies of KV blocks: ``latency_s`` + bytes / rate."""

    path: Literal["h2d", "d2h", "gather"]
    layout: Literal["contiguous", "scattered"]
    latency_s: float
    per_block_s: float
    gb_per_s: float | None = Field(default=None, description="None: more blocks took no longer")


class BenchFit(Schema):
    """How a profile was fitted to what a server took, and how well it meets that and what was held out."""

    file: str = Field(description="its name; of a server's metrics where they were had")
    sha256: str | None = None
    split: str = Field(description="which requests were fitted and which held out")
    fitted_requests: PositiveInt
    heldout_requests: PositiveInt
    parameters: dict[str, float]
    fitted_errors: dict[str, float] = Field(description="relative errors, as in `TTFT mean`")
    heldout_errors: dict[str, float]
