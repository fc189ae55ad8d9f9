"""Profile of a model on a device: the time of one engine iteration as a function of its batch.

The simulator reads profiles and nothing else about speed. This module never imports torch.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from sim.hardware.dense import DenseDecoder
from sim.hardware.origin import Origin, Serves, Tables
from sim.hardware.parallel import Parallel
from workloads.documents import read_yaml
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.shown import shown

SERVERS = "TPOT of real servers 5 to 7 % for the models measured most, others more (docs/validation.md)"
"""How far the times of tables were off public measurements (``python -m benchmarks.server_aggregates``)."""


class Part(Schema):
    """A part of a profile."""


Seconds = Annotated[float, Field(ge=0, le=1e6)]
"""Of an iteration, or of a token or a sequence in it."""


class Window(Part):
    """KV of which a token sees the last ``tokens`` only, or those of its chunk of so many."""

    tokens: PositiveInt
    chunked: bool = False
    pair: Seconds = Field(default=0, description="s per (new, seen) token pair of a prefill")
    prefill_kv: Seconds = Field(default=0, description="s per KV token read in a prefill")
    decode_kv: Seconds = Field(default=0, description="s per KV token read in a decode")


class Coefficients(Part):
    """Seconds per unit of each quantity of an iteration (docs/models.md derives the form).

    For a batch of B sequences with T new tokens in all, sequence i having h_i tokens in KV and n_i
    new ones:

        t = step + c(T) * (read^p + (token * T)^p)^(1/p) + sequence * B
            with read = floor + experts * (1 - (1 - touched)^T)
            + sum over k of hinges[k] * min(T, k) + sum over k of sequence_hinges[k] * min(B, k)
            + pair * sum over prefills of n_i * (h_i + (n_i + 1) / 2)
            + rectangle * sum over prefills of n_i * (h_i + n_i)
            + prefill_kv * sum over prefills of (h_i + n_i) + prefill * (number of prefills)
            + decode_kv * sum over decodes of (h_i + 1) + uneven * D * (longest h_i - mean h_i)
            + beside * D + beside_token * D * P + beside_kv * sum over decodes of (h_i + 1)
            + link * T

    with D decodes, and with the three of ``beside`` only in iterations that also have prefills, of P new
    tokens together. ``pair``, ``prefill_kv`` and ``decode_kv`` come again for each of ``windows``, with
    what is seen of h_i: in a prefill exactly, in decodes as if each had their mean. ``p`` = None stands
    for the limit: the larger of ``read`` and ``token * T``. An expert is read if one of T tokens is sent
    to it: with 8 of 128 each, 8 for one token and 51 for 8 tokens, on average (routed evenly).

    Decodes beside a prefill cost more than alone where one kernel does both: it cuts their single query up
    like a chunk of a prompt. Decodes of uneven lengths keep few processors busy with the longest of them:
    with contexts of 100, 100 and 400 tokens, D * (longest - mean) is 3 * (400 - 200) = 600 tokens. While
    the batch stays the same it does not change, so a run of decode iterations keeps its closed form.

    c(T) corrects the weights' term for how well products of T rows fill the GPU: ``correction`` has it at
    some T, between them it is a line in log T, beyond them constant; 1 without.

    Asynchronous scheduling hides the host's work behind the GPU's; without it ``host_step`` and
    ``host_sequence`` are added to ``step`` and ``sequence``.

    ``request`` and ``depth`` are no part of an iteration: the client sees each reply begin and end later by
    ``request`` and by ``depth`` times what the reply's tokens take on average.
    """

    step: Seconds = Field(default=0, description="s per iteration")
    floor: Seconds = Field(default=0, description="s to read the weights once")
    experts: Seconds = Field(default=0, description="s to read all routed experts once")
    touched: float = Field(default=0, ge=0, le=1, description="share of the experts that one token needs")
    token: Seconds = Field(default=0, description="s of compute per new token")
    p: float | None = Field(default=None, ge=1, le=15, description="sharpness of the knee between the two")
    correction: dict[PositiveInt, PositiveFloat] = Field(
        default={}, description="factor of the weights' term at so many new tokens"
    )
    sequence: Seconds = Field(default=0, description="s per sequence in the batch")
    pair: Seconds = Field(default=0, description="s per causal (new, earlier) token pair")
    rectangle: Seconds = Field(
        default=0, description="s per (new, any) token pair, where a dense mask computes them all"
    )
    prefill_kv: Seconds = Field(default=0, description="s per KV token read in a prefill")
    prefill: Seconds = Field(default=0, description="s per prefill in the batch")
    decode_kv: Seconds = Field(default=0, description="s per KV token read in a decode")
    decode_pair: Seconds = Field(
        default=0,
        description="s of compute per (new, KV token) pair of a decode that verifies drafts, where that is "
        "longer than reading",
    )
    hinges: dict[PositiveInt, Seconds] = Field(
        default={}, description="s per new token up to the k-th: small products run other kernels (CPU)"
    )
    sequence_hinges: dict[PositiveInt, Seconds] = Field(
        default={}, description="s per sequence up to the k-th: the output head's product is small too"
    )
    uneven: Seconds = Field(
        default=0, description="s per KV token by which the decodes fall short of the longest of them"
    )
    beside: Seconds = Field(default=0, description="s per decode beside prefills, more than alone")
    beside_token: Seconds = Field(
        default=0, description="s per decode beside prefills and new prompt token in the iteration"
    )
    beside_kv: Seconds = Field(
        default=0, description="s per KV token read in a decode beside prefills, more than alone"
    )
    link: Seconds = Field(
        default=0, description="s per new token of what GPUs send to each other; its latency is in step"
    )
    host_step: Seconds = Field(
        default=0, description="s per iteration of the host's work, where no step is scheduled ahead"
    )
    host_sequence: Seconds = Field(
        default=0, description="s per sequence of the host's work, where no step is scheduled ahead"
    )
    request: Seconds = Field(
        default=0, description="s per request that its client sees and that no iteration takes"
    )
    depth: float = Field(
        default=0, ge=0, le=100, description="steps after its own in which a client sees a token"
    )
    windows: list[Window] = Field(default=[], description="layers that see a part of the context only")

    def synchronous(self) -> Coefficients:
        """Those of an engine that schedules a step when the one before is over."""
        whole = {"step": self.step + self.host_step, "sequence": self.sequence + self.host_sequence}
        return self.model_copy(update={**whole, "host_step": 0.0, "host_sequence": 0.0})


def _ordered(ends: tuple[int, int]) -> tuple[int, int]:
    if ends[0] > ends[1]:
        raise ValueError("allowed: [least, most]")
    return ends


Range = Annotated[tuple[NonNegativeInt, NonNegativeInt], AfterValidator(_ordered)]


class Domain(Part):
    """The box of iterations that was measured; predictions outside of it are extrapolated."""

    tokens: Range = Field(description="new tokens in the iteration")
    sequences: Range = Field(description="sequences in the iteration")
    cached: Range = Field(description="tokens in KV before a prefill")
    kv_tokens: Range = Field(description="tokens in KV after the iteration, all sequences together")

    def covers(self, tokens: int, sequences: int, cached: int, kv_tokens: int) -> bool:
        """Whether an iteration lies in the box; ``cached`` is that of its longest prefill."""
        return (
            self.tokens[0] <= tokens <= self.tokens[1]
            and self.sequences[0] <= sequences <= self.sequences[1]
            and self.cached[0] <= cached <= self.cached[1]
            and self.kv_tokens[0] <= kv_tokens <= self.kv_tokens[1]
        )


class Hardware(Part):
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


class Software(Part):
    """What ran on it."""

    torch: str
    attention_backend: str
    rejected_backends: dict[str, str] = Field(default={}, description="why each other one was not taken")
    cuda_graphs: bool
    block_size: PositiveInt = Field(description="tokens of a KV block")


class Protocol(Part):
    """How it was measured."""

    clock: Literal["cuda_event", "cpu_time"]
    grid: Literal["gpu", "cpu", "tiny"]
    passes: PositiveInt
    rejected_passes: list[int]
    drift: list[float] = Field(description="sentinels of each pass against their median, relative")
    max_drift: NonNegativeFloat
    configurations: PositiveInt
    seed: int = Field(ge=0, lt=2**32)


class SamplesFile(Part):
    """The file with every single sample, beside the profile."""

    file: str
    sha256: str


class Errors(Part):
    """Relative errors of predictions; ``bias`` is their mean, ``sum_err`` the error of the sum."""

    n: PositiveInt
    mape: NonNegativeFloat
    p90: NonNegativeFloat
    p99: NonNegativeFloat
    max: NonNegativeFloat
    bias: float
    sum_err: float


class Heldout(Part):
    """Errors on configurations that the fit never saw, beside those of simpler models."""

    errors: Errors
    by_family: dict[str, Errors]
    baselines: dict[str, Errors]
    noise_floor: float = Field(
        default=math.nan,
        allow_inf_nan=True,
        description="mean disagreement of two halves of the passes, relative; NaN of one or none",
    )


class Fit(Part):
    """How the coefficients were found and what they imply."""

    form: Literal["pnorm+nnls/1"]
    intervals: dict[str, tuple[float, float]] = Field(description="90 %, bootstrap")
    implied: dict[str, float] = Field(description="rates that follow: TFLOP/s and GB/s")
    peaks: dict[str, float] = Field(description="what the rates were held against")


class Transfer(Part):
    """A line through copies of KV blocks: ``latency_s`` + bytes / rate."""

    path: Literal["h2d", "d2h", "gather"]
    layout: Literal["contiguous", "scattered"]
    latency_s: float
    per_block_s: float
    gb_per_s: float | None = Field(default=None, description="None: more blocks took no longer")


class BenchFit(Part):
    """How a profile was fitted to what a server took, and how well it meets that and what was held out."""

    file: str = Field(description="its name; of a server's metrics where they were had")
    sha256: str | None = None
    split: str = Field(description="which requests were fitted and which held out")
    fitted_requests: PositiveInt
    heldout_requests: PositiveInt
    parameters: dict[str, float]
    fitted_errors: dict[str, float] = Field(description="relative errors, as in `TTFT mean`")
    heldout_errors: dict[str, float]


class Profile(Part):
    """Coefficients and where they come from; what follows ``coefficients`` exists if measured."""

    schema_: Literal["kvprofile/1"] = Field(default="kvprofile/1", alias="schema")
    id: str
    calibrated: bool = Field(description="measured on the device, not derived from a datasheet")
    origin: Origin = "stated"
    source: str
    coefficients: Coefficients
    created: str | None = None
    tool_version: str | None = None
    model: DenseDecoder | None = None
    serves: Serves | None = Field(
        default=None, description="of what the times are, where not measured here"
    )
    tables: Tables | None = None
    typical_error: NonNegativeFloat | None = Field(
        default=None,
        description="mean size of an iteration's relative error, where it is not measured",
    )
    tensor_parallel: int = Field(default=1, ge=1, description="GPUs that work together as one")
    domain: Domain | None = None
    hardware: Hardware | None = None
    software: Software | None = None
    protocol: Protocol | None = None
    samples: SamplesFile | None = None
    fit: Fit | None = None
    heldout: Heldout | None = None
    bench: BenchFit | None = None
    transfer: list[Transfer] = Field(default=[])
    overhead_s: dict[str, float] = Field(
        default={},
        description="seconds of: an empty launch, host work of a step beside the device's",
    )

    def note(self) -> str:
        """Where the times come from, and how far off they are."""
        if not self.calibrated:
            typical = self.typical_error
            error = "" if typical is None else f"; an iteration is typically {typical:.0%} off"
            return f"uncalibrated: times are not measured but computed ({self.id}){error}"
        where = f"times are {self.origin}"
        if self.tables is not None:
            tables = self.tables
            where += f" from {tables.source} {tables.version} ({tables.tables}; {tables.licence})"
        elif self.origin == "measured":
            where += f" on {self.id}"
        elif self.origin == "fitted":
            where = f"times are {self.source}"  # fitted to what, and how well
        else:
            where += f": {self.source}"
        if self.heldout is None:
            return where
        errors, what = self.heldout.errors, "off" if self.tables is None else "off the tables"
        error = f"an iteration is typically {errors.mape:.1%} {what}, bias {errors.bias:+.1%}"
        return f"{where}; {error}" if self.tables is None else f"{where}; {error}; {SERVERS}"

    @property
    def parallel(self) -> Parallel:
        """The GPUs whose times these are."""
        return Parallel(tensor=self.tensor_parallel) if self.serves is None else self.serves.parallel

    def to_yaml(self) -> str:
        """The file's text: keys in order, nothing that is absent."""
        data: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return yaml.safe_dump(data, sort_keys=False, width=100)


def load(path: Path) -> Profile:
    """Read a profile file (YAML or JSON); InputError names file, key, value and what is allowed."""
    try:
        return Profile.model_validate(read_yaml(path, "a profile in YAML"))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "profile"
        raise InputError(f"{path}: {key} = {shown(first['input'])}: {first['msg']}") from None
