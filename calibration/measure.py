"""Timing a plan: passes in random order, one repetition each, every sample written as it is taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calibration import samples
from calibration.device import describe
from calibration.model import Work
from calibration.plan import GRIDS, Configuration, plan, schedule, sentinels
from calibration.runner import Runner
from calibration.samples import Samples
from sim.hardware.evidence import Software
from workloads.errors import InputError
from workloads.seeds import stream

Progress = Callable[[str, int, int], None]
"""Called with (what goes on, samples done, samples in all)."""
SAME = ("model", "device", "dtype", "grid", "seed", "passes", "clock", "software")
"""Header entries in which an interrupted measurement and the one that goes on must agree."""
LAUNCHES = 100
BUFFER_BLOCKS = 128


class Bench:
    """Times configurations on a runner; KV blocks rotate, so that none finds its own in a cache."""

    def __init__(self, runner: Runner, seed: int) -> None:
        self._runner = runner
        pool = runner.decoder.pool
        self._order = stream(seed, "blocks").permutation(pool.blocks)
        self._at = 0
        self._tokens = stream(seed, "tokens")
        self._host: torch.Tensor | None = None
        self._one = torch.zeros(1, device=pool.data.device)

    def time(self, configuration: Configuration) -> tuple[float, float]:
        """Seconds by the runner's clock and by the wall."""
        if configuration.split == "transfer":
            return self._copy(configuration)
        if configuration.split == "overhead":
            return self._launch()
        size = self._runner.decoder.pool.block_size
        work = [Work(h, n, self._blocks(-(-(h + n) // size))) for h, n in configuration.spec]
        tokens = self._tokens.integers(self._runner.model.vocab_size, size=configuration.tokens)
        timed = self._runner.step(work, tokens, eager=configuration.split == "eager")
        return timed.t_s, timed.wall_s

    def _blocks(self, count: int) -> np.ndarray[Any, Any]:
        places = np.arange(self._at, self._at + count) % len(self._order)
        self._at = (self._at + count) % len(self._order)
        return self._order[places]

    def _copy(self, configuration: Configuration) -> tuple[float, float]:
        """All layers of some blocks between the pool and the host, or gathered within the device."""
        path, layout = configuration.family.split()
        count = configuration.spec[0][1]
        data = self._runner.decoder.pool.data
        host = self._buffer(data, count)
        if layout == "contiguous":
            first = self._at % (data.shape[2] - count)
            self._at = (self._at + count) % len(self._order)
            index = torch.arange(first, first + count, device=data.device)
        else:
            index = torch.from_numpy(self._blocks(count)).to(data.device)

        def there() -> None:
            for layer in range(data.shape[0]):
                part = host[layer]
                if layout == "contiguous":
                    data[layer, :, first : first + count].copy_(part, non_blocking=True)
                else:
                    data[layer].index_copy_(1, index, part.to(data.device, non_blocking=True))

        def back() -> None:
            for layer in range(data.shape[0]):
                part = data[layer]
                some = (
                    part[:, first : first + count]
                    if layout == "contiguous"
                    else part.index_select(1, index)
                )
                host[layer].copy_(some, non_blocking=True)

        def gather() -> None:
            for layer in range(data.shape[0]):
                data[layer].index_select(1, index)

        t_s, wall_s, _ = self._runner.time({"h2d": there, "d2h": back, "gather": gather}[path])
        return t_s, wall_s

    def _buffer(self, data: torch.Tensor, count: int) -> torch.Tensor:
        """Host memory for ``count`` blocks of each layer in one piece, kept from one copy to the next.

        Beside a GPU it is page-locked: what is not, or not in one piece, is copied twice. Its content is
        the pool's, which is random, as drawing billions of numbers on the host takes a while.
        """
        layers, both, blocks, *block = data.shape
        each = layers * both * math.prod(block)
        if self._host is None or self._host.numel() < count * each:
            most = min(max(count, BUFFER_BLOCKS), blocks)
            self._host = torch.empty(most * each, dtype=data.dtype, pin_memory=data.is_cuda)
            self._host.copy_(data.flatten()[: most * each])
        return self._host[: count * each].view(layers, both, count, *block)

    def _launch(self) -> tuple[float, float]:
        """One smallest possible operation, averaged over a hundred."""

        def many() -> None:
            for _ in range(LAUNCHES):
                self._one.add_(1)

        t_s, wall_s, _ = self._runner.time(many)
        return t_s / LAUNCHES, wall_s / LAUNCHES


def header(runner: Runner, grid: str, seed: int, passes: int, hardware_name: str | None) -> dict[str, Any]:
    """What a samples file says about itself: all that a fit needs to know beside the rows."""
    hardware = describe(runner)
    choice = runner.decoder.attention
    software = Software(
        torch=torch.__version__,
        attention_backend=choice.backend.name,
        rejected_backends=choice.rejected,
        cuda_graphs=runner.graphs is not None,
        block_size=choice.block_size,
    )
    return {
        "model": runner.model.model_dump(),
        "device": hardware.device,
        "dtype": runner.model.dtype,
        "grid": grid,
        "seed": seed,
        "passes": passes,
        "clock": runner.clock,
        "kv_tokens": runner.decoder.pool.blocks * runner.decoder.pool.block_size,
        "hardware": hardware.model_dump(),
        "software": software.model_dump(),
        "hardware_name": hardware_name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def measure(
    runner: Runner,
    path: Path,
    *,
    grid: str,
    seed: int,
    passes: int,
    progress: Progress,
    hardware_name: str | None = None,
) -> Samples:
    """Take all samples that ``path`` does not hold yet, and read them all back.

    An interrupted measurement goes on at the sample where it stopped; a file of another measurement is
    an InputError and stays as it is.
    """
    mine = header(runner, grid, seed, passes, hardware_name)
    done: list[Configuration] = []
    if path.exists():
        before = samples.read(path)
        require_same(path, before.header, mine)
        mine, done = before.header, before.configurations
    else:
        samples.begin(path, mine)
    todo = list(_timetable(mine, runner.graphs is not None))
    for number, (was, (_, planned)) in enumerate(zip(done, todo, strict=False), start=2):
        if was != planned:
            raise InputError(f"{path}:{number}: {was} is not in this place of the plan; allowed: {planned}")
    bench = Bench(runner, seed + len(done))
    _warm_up(bench, mine, runner)
    with path.open("a", encoding="utf-8") as file:
        for i in range(len(done), len(todo)):
            number, configuration = todo[i]
            progress(f"pass {number + 1} of {passes}", i, len(todo))
            t_s, wall_s = bench.time(configuration)
            file.write(samples.row(configuration, number, t_s, wall_s))
            file.flush()
    progress("measured", len(todo), len(todo))
    return samples.read(path)


def require_same(path: Path, was: dict[str, Any], now: dict[str, Any]) -> None:
    """InputError if two headers describe different measurements."""
    for key in SAME:
        if was.get(key) != now[key]:
            raise InputError(
                f"{path}: a measurement with {key} = {str(was.get(key))[:80]}, not "
                f"{str(now[key])[:80]}; allowed: the same, or another --out"
            )


def _timetable(head: dict[str, Any], graphs: bool) -> Iterator[tuple[int, Configuration]]:
    grid, seed = GRIDS[head["grid"]], head["seed"]
    configurations = plan(grid, seed, head["kv_tokens"], eager=graphs)
    for number in range(head["passes"]):
        for configuration in schedule(configurations, sentinels(grid), seed, number):
            yield number, configuration


def _warm_up(bench: Bench, head: dict[str, Any], runner: Runner) -> None:
    """On a GPU everything once, so that kernels are chosen and loaded; on a CPU the sentinels."""
    grid = GRIDS[head["grid"]]
    warm = sentinels(grid)
    if runner.device.type == "cuda":
        warm += plan(grid, head["seed"], head["kv_tokens"], eager=runner.graphs is not None)
    for configuration in warm:
        bench.time(configuration)
