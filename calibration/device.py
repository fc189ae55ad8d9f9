"""The machine that is measured: what it calls itself, and what its best product and copy reach."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from calibration.runner import GIB, Runner
from sim.hardware.evidence import Hardware

REPEATS = 5


def describe(runner: Runner) -> Hardware:
    """Names and sizes of the runner's device, with its measured peaks."""
    device = runner.device
    cuda = device.type == "cuda"
    cpu = _cpu()
    properties = torch.cuda.get_device_properties(device) if cuda else None
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Hardware(
        device=name(device),
        memory_gib=round((properties.total_memory if properties else pages) / GIB, 1),
        cpu=cpu,
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        sm_count=properties.multi_processor_count if properties else None,
        driver=_driver(),
        cuda=torch.version.cuda if cuda else None,
        gemm_tflops=round(_gemm_tflops(runner), 4),
        copy_gb_per_s=round(_copy_gb_per_s(runner), 2),
    )


def _gemm_tflops(runner: Runner) -> float:
    """Best rate of square products, 2 n^3 FLOP each, of a few sizes."""
    best = 0.0
    for n in (2048, 4096, 8192) if runner.device.type == "cuda" else (512, 1024):
        a, b = (torch.randn(n, n, device=runner.device).to(runner.decoder.dtype) for _ in range(2))
        for _ in range(REPEATS):
            best = max(best, 2 * n**3 / runner.time(lambda a=a, b=b: a @ b)[0] / 1e12)  # type: ignore[misc]
    return best


def _copy_gb_per_s(runner: Runner) -> float:
    """Best rate of copying half of the KV pool's first gigabyte, read plus written bytes."""
    flat = runner.decoder.pool.data.flatten()
    half = min(flat.numel(), GIB // flat.element_size()) // 2
    best = 0.0
    for _ in range(REPEATS):
        t_s = runner.time(lambda: flat[:half].copy_(flat[half : 2 * half]))[0]
        best = max(best, 2 * half * flat.element_size() / t_s / 1e9)
    return best


def name(device: torch.device) -> str:
    """What the device calls itself."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text(encoding="utf-8").splitlines() if info.is_file() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown CPU"


def _driver() -> str | None:
    version = Path("/proc/driver/nvidia/version")
    found = (
        re.search(r"\d+\.\d+(\.\d+)?", version.read_text(encoding="utf-8")) if version.is_file() else None
    )
    return found[0] if found else None
