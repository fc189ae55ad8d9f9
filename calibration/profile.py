"""Profile of a model on a device: the time of one engine iteration as a function of its batch.

The simulator reads profiles and nothing else about speed. This module never imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, ValidationError

from workloads.errors import InputError


class Coefficients(BaseModel):
    """Seconds per unit of each quantity of an iteration (docs/models.md derives the form).

    For a batch of B sequences with T new tokens in all, sequence i having h_i tokens in KV and n_i
    new ones:

        t = step + (floor^p + (token * T)^p)^(1/p) + sequence * B
            + pair * sum over prefills of n_i * (h_i + (n_i + 1) / 2)
            + prefill_kv * sum over prefills of (h_i + n_i) + prefill * (number of prefills)
            + decode_kv * sum over decodes of (h_i + 1)

    ``p`` = None stands for the limit: the larger of ``floor`` and ``token * T``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: NonNegativeFloat = Field(default=0, description="s per iteration")
    floor: NonNegativeFloat = Field(default=0, description="s to read the weights once")
    token: NonNegativeFloat = Field(default=0, description="s of compute per new token")
    p: float | None = Field(default=None, ge=1, description="sharpness of the knee between the two")
    sequence: NonNegativeFloat = Field(default=0, description="s per sequence in the batch")
    pair: NonNegativeFloat = Field(default=0, description="s per causal (new, earlier) token pair")
    prefill_kv: NonNegativeFloat = Field(default=0, description="s per KV token read in a prefill")
    prefill: NonNegativeFloat = Field(default=0, description="s per prefill in the batch")
    decode_kv: NonNegativeFloat = Field(default=0, description="s per KV token read in a decode")


class Profile(BaseModel):
    """Coefficients and where they come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["kvprofile/1"] = Field(default="kvprofile/1", alias="schema")
    id: str
    calibrated: bool = Field(description="measured on the device, not derived from a datasheet")
    source: str
    coefficients: Coefficients


def load(path: Path) -> Profile:
    """Read a profile file (YAML or JSON); InputError names file, key, value and what is allowed."""
    try:
        raw = yaml.safe_load(path.read_text())
        return Profile.model_validate(raw)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file; allowed: a profile in YAML") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "file"
        raise InputError(f"{path}: {key} = {str(first['input'])[:60]}: {first['msg']}") from None
