"""How many GPUs serve one model together, and what each kind of parallelism divides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parallel:
    """GPUs by what they divide among them; the names and meanings are vLLM's.

    - ``tensor`` GPUs divide every matrix and the KV heads; what has no heads to divide is copied.
    - ``pipeline`` stages hold consecutive layers each, with the KV of these.
    - ``data`` ranks hold the whole attention and a KV cache of their own each; experts are divided
      among the GPUs of all ranks.
    - ``expert`` of these GPUs hold whole experts; otherwise each holds a slice of every expert.

    DeepSeek-V3 on 8 GPUs with tensor 8 and expert 8: each holds an eighth of the attention's heads and
    32 of the 256 experts. With data 8 and expert 8 each holds the whole attention and 32 experts.
    """

    tensor: int = 1
    pipeline: int = 1
    expert: int = 1
    data: int = 1

    def __str__(self) -> str:
        """As in 8 (tensor 8, expert 8): all GPUs, and what each kind has if it is more than one."""
        parts = {"tensor": self.tensor, "pipeline": self.pipeline, "expert": self.expert, "data": self.data}
        several = ", ".join(f"{kind} {count}" for kind, count in parts.items() if count > 1)
        plain = self.gpus == self.tensor and self.expert == 1
        return f"{self.gpus}" if plain else f"{self.gpus} ({several})"

    @property
    def gpus(self) -> int:
        """All GPUs of one copy of the model."""
        return self.tensor * self.pipeline * self.data


ONE_GPU = Parallel()


def stages(layers: int, pipeline: int) -> list[range]:
    """The layers of each pipeline stage, as vLLM cuts them (``get_pp_indices``).

    What does not divide goes to the stages before the last, which has the output head as well.

    >>> [len(stage) for stage in stages(61, 4)]
    [15, 15, 16, 15]
    """
    sizes = [layers // pipeline] * pipeline
    for more in range(layers % pipeline):
        sizes[-(more + 2)] += 1
    found, first = [], 0
    for size in sizes:
        found.append(range(first, first + size))
        first += size
    return found
