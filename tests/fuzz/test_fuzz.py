"""Random inputs in the default suite: always the same ones; ``make fuzz`` runs many more."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.fuzz.fuzzing import drawn, fuzz
from tests.fuzz.material import Material
from tests.fuzz.targets import TARGETS

SEED, INPUTS, PARTS = 20, 1500, 5


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """What inputs are made from; making it takes seconds."""
    return Material(tmp_path_factory.mktemp("material"))


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_breaks(tmp_path: Path, material: Material, part: int) -> None:
    """No traceback, no hang, no figure that cannot be, no unclear message, nothing half-written."""
    each = INPUTS // PARTS
    fuzzed = fuzz(SEED, range(part * each, (part + 1) * each), tmp_path, material=material)
    assert fuzzed.inputs == each
    assert not fuzzed.found, "\n".join(
        f"python -m tests.fuzz --seed {SEED} --input {one.number}: {one.outcome.wrong}: {one.outcome.root}"
        for one in fuzzed.found
    )
    ran = sum(count for (_, end), count in fuzzed.ends.items() if end == "ran")
    assert ran > each / 5, "most inputs are refused: the others show little"


def test_an_input_is_the_same_every_time(tmp_path: Path, material: Material) -> None:
    """Whatever was drawn before it, and wherever it is run."""
    other = Material(tmp_path)
    for number in range(40):
        target, case = drawn(3, number, material)
        assert (target, case) == drawn(3, number, other)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_targets_draw(material: Material, target: object) -> None:
    """Every target draws inputs that differ."""
    assert hasattr(target, "draw")
    drawn_ones = [str(target.draw(Random(number), material)) for number in range(8)]
    assert len(set(drawn_ones)) > 1
