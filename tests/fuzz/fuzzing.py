"""Many inputs, each from the seed and its number alone."""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.fuzz.case import Input, Outcome
from tests.fuzz.material import Material
from tests.fuzz.targets import TARGETS, Target


@dataclass
class Found:
    """An input that something is wrong with."""

    number: int
    target: str
    case: Input
    outcome: Outcome


@dataclass
class Fuzzed:
    """What came of many inputs."""

    seed: int
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many inputs of a target ended how."""
    time_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """CPU time by target."""
    found: list[Found] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """How many there were."""
        return self.ends.total()

    def roots(self) -> dict[str, list[Found]]:
        """What was found, by its cause."""
        roots: dict[str, list[Found]] = {}
        for one in self.found:
            roots.setdefault(one.outcome.root, []).append(one)
        return roots

    def table(self) -> str:
        """A line for each target."""
        lines = [f"{'target':<14}{'ran':>8}{'refused':>9}{'stopped':>9}{'wrong':>7}{'CPU s':>8}"]
        for name in dict.fromkeys(target for target, _ in self.ends):
            counts = [self.ends[name, end] for end in ("ran", "refused", "stopped")]
            wrong = sum(one.target == name for one in self.found)
            lines.append(
                f"{name:<14}{counts[0]:>8}{counts[1]:>9}{counts[2]:>9}{wrong:>7}{self.time_s[name]:>8.1f}"
            )
        return "\n".join(lines)


def drawn(
    seed: int, number: int, material: Material, targets: list[Target] = TARGETS
) -> tuple[Target, Input]:
    """The input of that number: always the same one."""
    draw = Random(f"{seed}/{number}")
    target = draw.choices(targets, [target.weight for target in targets])[0]
    return target, target.draw(draw, material)


def fuzz(
    seed: int,
    numbers: range,
    home: Path,
    targets: list[Target] = TARGETS,
    tell: Callable[[Fuzzed, Found | None], None] = lambda fuzzed, found: None,
    material: Material | None = None,
) -> Fuzzed:
    """Run the inputs of these numbers, in folders below ``home``; Ctrl-C ends it with what there is."""
    fuzzed, material = Fuzzed(seed), material or Material(home / "material")
    for number in numbers:
        start = time.process_time()
        target, case = drawn(seed, number, material, targets)
        try:
            outcome = run_one(case, home)
        except KeyboardInterrupt:
            break
        fuzzed.ends[target.name, outcome.end] += 1
        fuzzed.time_s[target.name] += time.process_time() - start
        found = Found(number, target.name, case, outcome) if outcome.wrong else None
        if found is not None:
            fuzzed.found.append(found)
        tell(fuzzed, found)
        if outcome.end == "stopped":
            gc.collect()
    return fuzzed


def run_one(case: Input, home: Path) -> Outcome:
    """Run ``case`` in a folder of its own that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(dir=home))
    try:
        return case.run(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
