"""Formats in which quantised matrices lie in memory: bits of a value, and its scales."""

from __future__ import annotations

from dataclasses import dataclass

from sim.hardware.weights import Compute


@dataclass(frozen=True, slots=True)
class Format:
    """``bits`` per value, a scale for each group of values, and what products with it compute in."""

    bits: float
    compute: Compute = "16"
    group: int = 0
    """Values along the input that share a scale; 0: a scale per row."""
    rows: int = 1
    """Rows that share a scale as well (blocks)."""
    scale_bytes: float = 2
    zero_bits: int = 0
    """Of a zero point for each scale."""
    index_bytes: int = 0
    """Of an index for each input (GPTQ's order)."""

    def bytes(self, outputs: int, inputs: int) -> float:
        """Of a matrix with its scales and zero points.

        >>> 8 * Format(4, group=128, zero_bits=4).bytes(128, 1024) / (128 * 1024)
        4.15625
        """
        scales = -(-outputs // self.rows) * (-(-inputs // self.group) if self.group else 1)
        beside = scales * (self.scale_bytes + self.zero_bits / 8) + inputs * self.index_bytes
        return outputs * inputs * self.bits / 8 + beside


FP8_TENSOR = Format(8, "8", rows=10**9, scale_bytes=8)
FP8_CHANNEL = Format(8, "8", scale_bytes=4)
FP8_BLOCKS = Format(8, "8", group=128, rows=128, scale_bytes=4)
INT8 = Format(8, "8", scale_bytes=4)
NVFP4 = Format(4, "4", group=16, scale_bytes=1)
NVFP4_WEIGHTS = Format(4, "16", group=16, scale_bytes=1)
MXFP4 = Format(4, "16", group=32, scale_bytes=1)
MXFP8 = Format(8, "8", group=32, scale_bytes=1)
W4A16 = Format(4, group=128, scale_bytes=2)
W4A8 = Format(4, "8", group=128, scale_bytes=2)
NF4 = Format(4, group=64, scale_bytes=4)
BNB_INT8 = Format(8, scale_bytes=4)

MODELOPT: dict[str, Format] = {
    "FP8": FP8_TENSOR,
    "FP8_PER_CHANNEL_PER_TOKEN": FP8_CHANNEL,
    "FP8_PB_WO": FP8_BLOCKS,
    "NVFP4": NVFP4,
    "W4A16_NVFP4": NVFP4_WEIGHTS,
    "NVFP4_AWQ": NVFP4,
    "MXFP4": MXFP4,
    "MXFP8": MXFP8,
    "W4A16_AWQ": W4A16,
    "W4A8_AWQ": W4A8,
    "INT8_SQ": INT8,
}
"""ModelOpt's ``quant_algo`` names."""
