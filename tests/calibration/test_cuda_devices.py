"""Every step on tensors that say they are on a GPU: fakes without content, so no GPU is needed.

Shapes, dtypes and devices of whole forward passes, graphs' buffers and copies of blocks: an operation that
mixes host and device fails here as it would there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (it comes with the test extra)")

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from calibration.attention import Backend, Choice, Sdpa, Varlen
from calibration.graphs import DecodeGraph
from calibration.measure import Bench
from calibration.model import Decoder, KvPool, Step, Work
from calibration.plan import GRIDS, plan
from sim.hardware import catalogue

LLAMA = catalogue.dense("llama-3-8b", Path()).model_copy(update={"num_hidden_layers": 2})
CUDA = torch.device("cuda")
WORK = [
    Work(1000, 1, np.arange(4)),
    Work(3000, 1, list(range(20, 32))),
    Work(0, 700, np.arange(40, 43)),
    Work(2048, 5, np.arange(50, 59)),
]
BACKENDS: dict[str, Callable[[], Backend]] = {
    "varlen-paged": lambda: Varlen(paged=True, whole=True),
    "varlen-gather": lambda: Varlen(paged=False),
    "sdpa": lambda: Sdpa(32, 8, torch.bfloat16),
}
aten = torch.ops.aten


class WithoutGuard(TorchFunctionMode):
    """What torch's Python bindings do under a guard of the device, which needs CUDA, without one."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.__getitem__:
            return _at(*args)
        if func is Tensor.__setitem__:
            value = args[2]
            return aten.copy_(_at(*args[:2]), value if isinstance(value, Tensor) else torch.tensor(value))
        if func is Tensor.copy_:
            return aten.copy_(*args, **kwargs)
        if func is Tensor.contiguous:
            return aten.clone(args[0], memory_format=torch.contiguous_format)
        if func is Tensor.long:
            return aten._to_copy(args[0], dtype=torch.int64)
        if func is torch.empty and kwargs.pop("pin_memory", False):
            return torch.empty(*args, **kwargs)
        return func(*args, **kwargs)


def _at(x: Tensor, index: Any) -> Tensor:
    dim = 0
    for part in index if isinstance(index, tuple) else (index,):
        if part is None:
            x, dim = aten.unsqueeze(x, dim), dim + 1
        elif isinstance(part, slice):
            x, dim = aten.slice(x, dim, part.start, part.stop), dim + 1
        elif isinstance(part, Tensor):
            x = aten.index(x, [None] * dim + [part])
        else:
            x = aten.select(x, dim, int(part))
    return x


@pytest.fixture(autouse=True)
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tensors anywhere, without content; no generator of the GPU, which content would need."""
    monkeypatch.setattr("calibration.model._random", lambda seed, device: None)
    with FakeTensorMode(allow_non_fake_inputs=True), WithoutGuard():
        yield


def _decoder(backend: Backend) -> Decoder:
    pool = KvPool(LLAMA, 200, 256, torch.bfloat16, CUDA)
    pool.fill(0)
    return Decoder(LLAMA, Choice(backend, 256, {}), pool, longest=5000)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_mixed_step(name: str) -> None:
    """Logits of each sequence, on the device, in the model's dtype."""
    decoder = _decoder(BACKENDS[name]())
    step = decoder.prepare(WORK, np.arange(707))
    logits = decoder.forward(step)
    assert (logits.device.type, logits.dtype) == ("cuda", torch.bfloat16)
    assert logits.shape == (4, LLAMA.vocab_size) and logits.argmax(-1).device.type == "cuda"


def test_a_mix_of_devices_is_found() -> None:
    """What the other tests rest on: rows of a step left on the host do not pass."""
    decoder = _decoder(Varlen(paged=True))
    step = decoder.prepare(WORK, np.arange(707))
    step.last = torch.arange(4)
    with pytest.raises(RuntimeError, match=r"device|cpu"):
        decoder.forward(step)


class NotCaptured(DecodeGraph):
    """A graph whose replay does nothing."""

    def _capture(self, decoder: Decoder, step: Step) -> Any:
        logits = decoder.forward(step)
        return lambda: None, logits


def test_a_graphs_buffers() -> None:
    """They are all on the device, and a step goes into them."""
    with torch.inference_mode():
        graph = NotCaptured(_decoder(Varlen(paged=True)), 8, 5000)
        logits = graph.run(WORK[:2], [3, 4])
    buffers = [graph._inputs, graph._table, graph._used, logits]
    assert {buffer.device.type for buffer in buffers} == {"cuda"}
    assert logits.shape == (2, LLAMA.vocab_size)


def test_copies_of_blocks() -> None:
    """Every transfer of the plan; what is copied to or from the host is in one piece there."""
    decoder = _decoder(Varlen(paged=True))
    runner: Any = SimpleNamespace(decoder=decoder, model=LLAMA, time=lambda call: (1.0, 1.0, call()))
    bench = Bench(runner, seed=0)
    transfers = [c for c in plan(GRIDS["gpu"], 0, 50_000, eager=True) if c.split == "transfer"]
    for configuration in transfers:
        assert bench.time(configuration) == (1.0, 1.0)
        host = bench._buffer(decoder.pool.data, configuration.spec[0][1])
        assert host.device.type == "cpu" and host[1].is_contiguous()
        assert host.shape[2] == configuration.spec[0][1]
