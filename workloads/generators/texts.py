"""Texts that several prompts contain: documents, templates, examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from workloads.lengths import Distribution, Exponential, whole
from workloads.popularity import zipf_shares
from workloads.schema import Schema
from workloads.seeds import stream
from workloads.trace import Trace


class Texts(Schema):
    """``count`` texts of ``tokens`` each; rank i is asked for with a share ~ i^-zipf (0: all alike)."""

    count: int = Field(default=1000, ge=1, le=1_000_000)
    """How many texts there are."""
    tokens: Distribution = Exponential(distribution="exponential", mean=1000)
    """Length of each text, in tokens."""
    zipf: float = Field(default=1.0, ge=0, le=10)
    """How unlike they are in popularity: rank i has a share in proportion to i^-zipf; 0: all alike."""

    def lengths(self, seed: int, key: str) -> list[int]:
        """The length of each text, the most popular one first."""
        return whole(self.tokens.sample(stream(seed, key), self.count), f"workload.{key}.tokens")

    def shares(self) -> NDArray[np.float64]:
        """How often each one is asked for."""
        return zipf_shares(self.count, self.zipf)


class Library:
    """Where texts stand in the content tree: a text behind the same content is the same content."""

    def __init__(self, trace: Trace, lengths: Sequence[int]) -> None:
        self._content = trace.content
        self._lengths = lengths
        self._placed: dict[tuple[int, int], int] = {}

    def behind(self, at: int, texts: Sequence[int]) -> int:
        """The segment at which ``texts`` end when they stand behind the segment ``at``, in this order."""
        for text in texts:
            key = at, text
            if key not in self._placed:
                self._placed[key] = self._content.append(at, self._lengths[text])
            at = self._placed[key]
        return at
