# ruff: noqa: E501 (a file in a line)
"""Axes of a sweep: how they are written, and the grid that they make."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.studies.axes import grid, parse
from workloads.errors import InputError


def _grid(*settings: str, file: Path | None = None) -> tuple[list[str], list[tuple[str, tuple[str, ...]]]]:
    fixed, axes = parse(settings, file)
    return fixed, [(str(point), point.assignments) for point in grid(axes)]


def test_a_comma_makes_an_axis() -> None:
    """Brackets, braces and quotes keep a value whole; one value is no axis; the last axis is fastest."""
    fixed, points = _grid(
        "a.x=1,2", "name=b", "list=[1, 2]", "r=random,{kind: prefix, cache_threshold: 0.5}"
    )
    assert fixed == ["name=b", "list=[1, 2]"]
    prefix = "{kind: prefix, cache_threshold: 0.5}"
    assert points == [
        ("x = 1, r = random", ("a.x=1", "r=random")),
        (f"x = 1, r = {prefix}", ("a.x=1", f"r={prefix}")),
        ("x = 2, r = random", ("a.x=2", "r=random")),
        (f"x = 2, r = {prefix}", ("a.x=2", f"r={prefix}")),
    ]
    assert _grid("q='a,b'") == (["q='a,b'"], [("as configured", ())])


def test_ranges() -> None:
    """Whole numbers from the first to the last, beside single ones."""
    _, points = _grid("n=1..3,8")
    assert [assignments for _, assignments in points] == [("n=1",), ("n=2",), ("n=3",), ("n=8",)]


def test_labels_are_values() -> None:
    """Numbers are numbers, so that a figure can be drawn over them."""
    _, (axis,) = parse(["a=1,2.5,1e3,x,true,null"], None)
    assert [setting.label for setting in axis.settings] == [1, 2.5, 1000.0, "x", True, "null"]


def test_keys_that_move_together(tmp_path: Path) -> None:
    """A file of axes: points by label, each with the keys that it sets; and lists of one key."""
    path = tmp_path / "axes.yaml"
    path.write_text(
        "gpu:\n  big: {s.hardware: h200, s.price: {gpu_hour_usd: 3}}\n  small: {s.hardware: l4}\nn: [1, a]\n"
    )
    _, points = _grid(file=path)
    big = ("s.hardware=h200", 's.price={"gpu_hour_usd": 3}')
    assert points == [
        ("gpu = big, n = 1", (*big, "n=1")),
        ("gpu = big, n = a", (*big, "n=a")),
        ("gpu = small, n = 1", ("s.hardware=l4", "n=1")),
        ("gpu = small, n = a", ("s.hardware=l4", "n=a")),
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["a=1,,2"], "--set a=1,,2: a value is missing beside a comma"),
        (["a=1,2", "a=3,4"], "a is set by two axes; allowed: one"),
        (["a=1,1"], "axis a: 1 is given twice; allowed: once"),
        (["seeds=1,2"], "seeds is no axis: every point has the same seeds; allowed: --seeds N"),
        (["seed=1,2"], "seed is no axis: every point has the same seeds; allowed: --seeds N"),
        (["a=3..1"], "--set a=3..1: allowed: LOW..HIGH"),
        (["a=1..1000000"], "--set a=1..1000000: allowed: LOW..HIGH, up to 100,000 numbers"),
    ],
)
def test_refused(settings: list[str], said: str) -> None:
    with pytest.raises(InputError, match="^" + said.replace(".", r"\.").replace("+", r"\+")):
        parse(settings, None)


@pytest.mark.parametrize("text", ["gpu: 3\n", "gpu: []\n", "gpu: {}\n", "gpu: {big: h200}\n"])
def test_files_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "axes.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"axes\.yaml: gpu: allowed: a list of values of the key gpu, or"):
        parse([], path)


def test_too_many() -> None:
    """Refused before the first point is read."""
    _, axes = parse(["a=1..1000", "b=1..1000"], None)
    with pytest.raises(InputError, match="1,000,000 combinations of the axes; allowed: up to 100,000"):
        next(iter(grid(axes)))
