"""From Python: configurations as mappings, results as tables and figures, the public names."""

from __future__ import annotations

import doctest
import json
import math
from pathlib import Path
from typing import Any

import pytest

import sim
from sim import InputError, Result, load_config, run
from tests.refusing import Cli
from tests.sim.bad import GOOD

ROOT = Path(__file__).parents[2]
SYSTEMS = {
    "engine": {"kind": "engine", "model": "llama-3-8b", "hardware": "h200"},
    "small": {"kind": "cache", "cache": {"kind": "block", "capacity_blocks": 4}},
    "large": {"kind": "cache", "cache": {"kind": "block"}},
}


@pytest.fixture(scope="module")
def result() -> Result:
    """Of an engine and two caches."""
    workload: Any = GOOD["workload"]
    return run(load_config(GOOD | {"systems": SYSTEMS, "workload": workload | {"sessions": 200}}))


def test_a_result_fits_on_a_line(result: Result) -> None:
    """As Python shows it; notebooks show its table."""
    assert repr(result) == f"Result('bad', {len(result.trace):,} requests, systems: engine, small, large)"


def test_a_mapping_is_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as from a file; overrides hold, the mapping stays, paths are of the current folder."""
    monkeypatch.chdir(tmp_path)
    mapping: Any = {**GOOD, "seed": 3}
    config = load_config(mapping, ["workload.sessions=7"])
    assert (config.seed, config.folder) == (3, tmp_path)
    assert mapping["workload"]["sessions"] == 3
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml())
    assert load_config(path) == config


def test_seeds_are_run_as_by_the_command(tmp_path: Path, cli_here: Cli) -> None:
    """Figures are means over the seeds with their intervals, whoever asks, for a mapping too."""
    mapping: Any = {**GOOD, "seed": 1, "seeds": 3}
    summary = run(mapping).summary()
    alone = [run({**GOOD, "seed": 1 + i}).summary() for i in range(3)]
    means = [each["systems"]["one"]["mean_ttft_ms"] or 0.0 for each in alone]
    assert summary["systems"]["one"]["mean_ttft_ms"] == pytest.approx(sum(means) / 3, rel=1e-12)
    (tmp_path / "x.yaml").write_text(json.dumps(mapping))
    assert json.loads(cli_here("run", "x.yaml", "--json").stdout) == json.loads(json.dumps(summary))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sed": 1}, "configuration: file: unknown key 'sed' (did you mean 'seed'?)"),
        ({"seed": -1}, "configuration: seed = -1: allowed: at least 0"),
        ({"systems": {"one": {"kind": "engin"}}}, "systems.one: kind = 'engin'; did you mean 'engine'?"),
        ({"systems": {"one": {"kind": "engine", "model": "x"}}}, "model = 'x' is not in the catalogue"),
    ],
)
def test_a_bad_mapping(change: dict[str, Any], said: str) -> None:
    """The same messages as for a file."""
    with pytest.raises(InputError) as error:
        load_config(GOOD | change)
    assert said in str(error.value)


def test_tables_are_those_of_the_summary(result: Result) -> None:
    """Every figure of every system, what is saved with its bounds, the ranking."""
    summary = result.summary()
    table, savings = result.table(), result.savings()
    for name in SYSTEMS:
        for row, entry in (
            (name, summary["systems"][name]),
            (f"{name}/no-cache", summary["no_cache"][name]),
        ):
            assert table.loc[row, "completed"] == entry["completed"]
            assert table.loc[row, "cache.prefix_cache_hit_rate"] == entry["cache"]["prefix_cache_hit_rate"]
        saved = summary["savings"][name]["computed_prompt_tokens"]
        assert savings.loc[(name, "computed_prompt_tokens"), "saved_ratio"] == saved["saved_ratio"]
    intervals = summary["intervals"]
    assert intervals is not None
    bounds = intervals["savings"]["large"]["computed_prompt_tokens"]["saved_ratio"]
    of_large: Any = savings.xs("large").T.to_dict()
    of_tokens = of_large["computed_prompt_tokens"]
    assert (of_tokens["low"], of_tokens["high"]) == bounds
    assert math.isnan(of_large["p50_ttft_ms"]["low"])


def test_compare_ranks_by_any_figure(result: Result) -> None:
    """By what the configuration says, or by another figure against another system."""
    summary = result.summary()
    assert summary["comparison"] is not None
    assert list(result.compare().index) == [row["system"] for row in summary["comparison"]["rows"]]
    ranked = result.compare(by="computed_prompt_tokens", baseline="small")
    assert ranked.index[-1] == "small" and ranked.loc["small", "difference_ratio"] == 0
    assert ranked["computed_prompt_tokens"].is_monotonic_increasing
    with pytest.raises(InputError, match="did you mean 'mean_ttft_ms'"):
        result.compare(by="mean_tft_ms")
    with pytest.raises(InputError, match="baseline = 'x'; allowed: engine, small, large"):
        result.compare(baseline="x")


def test_a_result_shows_itself(result: Result) -> None:
    """The answer and a row per system, nothing of a name read as markup; of one system with and without."""
    shown = result._repr_html_()
    assert shown.startswith("<p><strong>") and shown.count("<tr>") == 1 + len(SYSTEMS)
    alone = run(load_config(GOOD | {"systems": {"engine": SYSTEMS["engine"]}}))._repr_html_()
    assert "<th>without cache</th><th>with cache</th>" in alone and "prompt tokens computed" in alone


def test_figures_draw_themselves(result: Result, tmp_path: Path) -> None:
    """As SVG for notebooks, as files, and with one message where there is nothing to draw."""
    for drawing in (
        result.ttft_figure("engine"),
        result.tokens_figure("large"),
        result.gpu_time_figure("engine"),
    ):
        assert drawing._repr_svg_().lstrip().startswith("<?xml") and "<svg" in drawing._repr_svg_()
    drawing.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    for refused, said in (
        (lambda: result.ttft_figure("small"), "has no times"),
        (lambda: result.gpu_time_figure("small"), "holds no GPU"),
        (lambda: result.ttft_figure(), "which system\\? allowed: engine, small, large"),
        (lambda: result.ttft_figure("tiny"), "no such system"),
        (lambda: drawing.save("a.pdf"), "ends in .svg or .png"),
    ):
        with pytest.raises(InputError, match=said):
            refused()


def test_public_names() -> None:
    """The public surface is this list, every name on it exists, and `dir` shows no other."""
    assert sim.__all__ == ["Config", "InputError", "Result", "load_config", "run"]
    for name in sim.__all__:
        assert getattr(sim, name).__name__ == name
    assert dir(sim) == sorted(sim.__all__)


def test_examples_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page on the Python API, run as it stands."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    test = doctest.DocTestParser().get_doctest(page, {}, "python.md", None, 0)
    said: list[str] = []
    done = doctest.DocTestRunner().run(test, out=said.append)
    assert done.attempted > 10 and not done.failed, "".join(said)
    assert (tmp_path / "tokens.svg").exists()
