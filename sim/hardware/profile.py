"""Profile of a model on a device: the time of one engine iteration, and where that comes from.

The simulator reads profiles and nothing else about speed. This module never imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, NonNegativeFloat, PositiveInt, ValidationError

from sim.hardware.coefficients import Coefficients, Domain
from sim.hardware.dense import DenseDecoder
from sim.hardware.evidence import (
    BenchFit,
    Fit,
    Hardware,
    Heldout,
    Protocol,
    SamplesFile,
    Software,
    Transfer,
)
from sim.hardware.origin import TABLES_OFF_SERVERS, Origin, Serves, Tables
from sim.hardware.parallel import Parallel
from workloads.documents import read_yaml
from workloads.errors import InputError
from workloads.in_words import first_problem
from workloads.schema import Schema


class Profile(Schema):
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
    tensor_parallel: PositiveInt | None = Field(
        default=None, description="GPUs that work together as one, where `serves` does not say it"
    )
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
            if self.origin == "fitted":
                return f"uncalibrated: times are {self.source}, which do not describe that run"
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
        error = (
            f"an iteration is typically {errors.mape:.1%} {what}, bias {round(errors.bias, 3) + 0.0:+.1%}"
        )
        return f"{where}; {error}" if self.tables is None else f"{where}; {error}; {TABLES_OFF_SERVERS}"

    @property
    def parallel(self) -> Parallel:
        """The GPUs whose times these are."""
        return self.serves.parallel if self.serves else Parallel(tensor=self.tensor_parallel or 1)

    def to_yaml(self) -> str:
        """The file's text: keys in order, nothing that is absent."""
        data: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return yaml.safe_dump(data, sort_keys=False, width=100)


def load(path: Path) -> Profile:
    """Read a profile file (YAML or JSON); InputError names file, key, value and what is allowed."""
    data = read_yaml(path, "a profile in YAML")
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error, data)}") from None
