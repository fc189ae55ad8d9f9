"""``failures`` of an engine system: which replicas die, and when."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from workloads.errors import InputError
from workloads.schema import MOST_S, Schema


class FailureConfig(Schema):
    """Replica ``replica`` (from 0) dies at ``at_s`` and comes back cold at ``back_s``, or never."""

    replica: int = Field(ge=0)
    """Number of the replica, from 0."""
    at_s: float = Field(ge=0, le=MOST_S)
    """When it dies, s."""
    back_s: float | None = Field(default=None, gt=0, le=MOST_S)
    """When it is back, with an empty cache, s; left out: never."""

    @model_validator(mode="after")
    def _back_later(self) -> FailureConfig:
        if self.back_s is not None and self.back_s <= self.at_s:
            raise ValueError(f"back_s ({self.back_s:g}) must be later than at_s ({self.at_s:g})")
        return self


def require_order(failures: Sequence[FailureConfig], replicas: int, key: str) -> None:
    """InputError for a failure of a replica that there is not, or that is down already."""
    up_s: dict[int, float] = {}
    for i, failure in enumerate(failures):
        if failure.replica >= replicas:
            raise InputError(
                f"{key}.failures.{i}.replica = {failure.replica}; allowed: 0 to {replicas - 1}"
            )
        if failure.at_s < up_s.get(failure.replica, 0.0):
            raise InputError(
                f"{key}.failures.{i}.at_s = {failure.at_s:g}: replica {failure.replica} is down then; "
                "allowed: failures of one replica in order, each after its return"
            )
        up_s[failure.replica] = failure.back_s if failure.back_s is not None else float("inf")
