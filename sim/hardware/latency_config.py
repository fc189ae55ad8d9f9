"""The ``latency:`` section of an engine: where its iteration times come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from sim.hardware import profile as profiles
from sim.hardware import shipped
from sim.hardware.catalogue import Gpu, Model
from sim.hardware.coefficients import Coefficients, Seconds
from sim.hardware.origin import Serves
from sim.hardware.parallel import ONE_GPU, Parallel
from sim.hardware.profile import Profile
from sim.hardware.roofline import MBU, MFU, roofline, typical_error
from workloads.errors import InputError
from workloads.formats.files import find_file
from workloads.schema import Schema


class Roofline(Schema):
    """Datasheet figures of the GPU, at the given fractions of its compute and bandwidth.

    The defaults are least wrong against measured tables; 1 is what the hardware could do at best.
    """

    kind: Literal["roofline"] = "roofline"
    mfu: float = Field(default=MFU, ge=1e-3, le=1)
    """Fraction of the GPU's peak compute that is reached."""
    mbu: float = Field(default=MBU, ge=1e-3, le=1)
    """Fraction of the GPU's memory bandwidth that is reached."""

    def profile(
        self, model: Model | None, gpu: Gpu | None, key: str, folder: Path, parallel: Parallel = ONE_GPU
    ) -> Profile:
        """The roofline of ``model`` on ``gpu``; InputError if the system names no such pair."""
        if model is None or gpu is None:
            raise InputError(
                f"{key}.latency: a roofline needs model and hardware; allowed: both of them, or "
                "latency of kind profile, constant or linear"
            )
        try:
            profile = roofline(model, gpu, self.mfu, self.mbu, parallel)
            if (self.mfu, self.mbu) == (MFU, MBU):
                return profile.model_copy(update={"typical_error": typical_error(model)})
            return profile
        except ValidationError as error:
            first = error.errors()[0]
            what = ".".join(map(str, first["loc"]))
            raise InputError(
                f"{key}.latency: the roofline of {model.name} on {gpu.name} has {what} = "
                f"{first['input']:g} s; allowed: at most 1e+06"
            ) from None


class Automatic(Schema):
    """The profile that ships for the model on these GPUs, or else a roofline."""

    kind: Literal["auto"] = "auto"

    def profile(
        self, model: Model | None, gpu: Gpu | None, key: str, folder: Path, parallel: Parallel = ONE_GPU
    ) -> Profile:
        """What ships, if it is of the same arithmetic; InputError if the system names no model or GPU."""
        found = None
        if model is not None and gpu is not None:
            found = shipped.find(model, gpu, parallel)
        return found or Roofline().profile(model, gpu, key, folder, parallel)


class ProfileFile(Schema):
    """A profile file written by calibration; ``latency: {profile: FILE}``."""

    kind: Literal["profile"] = "profile"
    path: Path = Field(alias="profile")
    """The file; relative to the configuration's folder or the current one."""

    def profile(
        self, model: Model | None, gpu: Gpu | None, key: str, folder: Path, parallel: Parallel = ONE_GPU
    ) -> Profile:
        """Read the file, relative to the configuration's folder or the current one.

        InputError if it is a profile of another model than the system's.
        """
        path = find_file(self.path, folder)
        profile = profiles.load(path)
        if parallel != profile.parallel:
            raise InputError(
                f"{key}.latency.profile = {path}: measured on {profile.parallel} GPU(s) together, not on "
                f"{parallel}; allowed: {_options(profile.parallel)}, or another profile"
            )
        if profile.serves is not None:
            _require_served(profile.serves, model, gpu, f"{key}.latency.profile = {path}")
        shape = None if model is None else model.dense
        if (
            model is not None
            and profile.model is not None
            and (shape is None or not shape.same_shape(profile.model))
        ):
            raise InputError(
                f"{key}.latency.profile = {path}: measured for {profile.model.name} in "
                f"{profile.model.dtype}, not for {model.name} in {model.dtype}; allowed: a profile of "
                "that model, or no model in the system"
            )
        return profile


class ConstantTime(Schema):
    """Every iteration takes the same time: for queueing theory and replayed schedules."""

    kind: Literal["constant"]
    iteration_s: Seconds
    """Time of an iteration, s."""

    def profile(
        self, model: Model | None, gpu: Gpu | None, key: str, folder: Path, parallel: Parallel = ONE_GPU
    ) -> Profile:
        """The constant as a profile."""
        return _stated("constant time per iteration", Coefficients(step=self.iteration_s))


class LinearTime(Schema):
    """An iteration takes ``step_s`` plus ``token_s`` per new token: the textbook proportionality."""

    kind: Literal["linear"]
    token_s: Seconds
    """Time of each new token, s."""
    step_s: Seconds = 0.0
    """Time of an iteration beside that, s."""

    def profile(
        self, model: Model | None, gpu: Gpu | None, key: str, folder: Path, parallel: Parallel = ONE_GPU
    ) -> Profile:
        """The line as a profile."""
        return _stated("linear in new tokens", Coefficients(step=self.step_s, token=self.token_s))


def _stated(kind: str, coefficients: Coefficients) -> Profile:
    return Profile(
        schema="kvprofile/1",
        id=kind,
        calibrated=False,
        source="stated in the configuration",
        coefficients=coefficients,
    )


def _options(parallel: Parallel) -> str:
    """As a configuration says it."""
    parts = {
        "tensor_parallel": parallel.tensor,
        "pipeline_parallel": parallel.pipeline,
        "expert_parallel": parallel.expert,
        "data_parallel": parallel.data,
    }
    several = [f"{name} {count}" for name, count in parts.items() if count > 1]
    return ", ".join(several) or "tensor_parallel 1"


def _require_served(serves: Serves, model: Model | None, gpu: Gpu | None, where: str) -> None:
    if model is not None and not serves.is_same_model(model):
        raise InputError(
            f"{where}: its times are of {serves.model} in {serves.dtype} ({serves.quantization}), not of "
            f"{model.name} in {model.dtype} ({model.quantization}); allowed: a profile of that model, or "
            "no model in the system"
        )
    if gpu is not None and serves.gpu != gpu.name:
        raise InputError(
            f"{where}: its times are of {serves.gpu}, not of {gpu.name}; allowed: a profile of that GPU, "
            "or no hardware in the system"
        )


def _fill_kind(value: Any) -> Any:
    if isinstance(value, dict) and "kind" not in value:
        kind = "profile" if "profile" in value else "roofline" if value else "auto"
        return {"kind": kind, **value}
    return value


Latency = Annotated[
    Annotated[Automatic | Roofline | ProfileFile | ConstantTime | LinearTime, Field(discriminator="kind")],
    BeforeValidator(_fill_kind),
]
