"""``python -m sim curve``: its files, its table, its figure; and the picture of Figure 9."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from reports import canvas, curve_figure, mooncake
from reports import curve as report
from sim.cli import main
from sim.config import load_config
from sim.studies.curve_sampled import CurveStudy, log_spaced, study
from tests.refusing import Cli
from tests.reports.drawn import points
from tests.sim.small import write_seven, write_small_mooncake
from workloads.errors import InputError
from workloads.formats.mooncake import MooncakeTrace

CONFIG = """\
name: small
workload: {kind: trace, format: mooncake, path: small.jsonl}
systems:
  tail: {kind: cache, cache: {kind: ids, capacity_blocks: 100}}
  radix: {kind: cache, cache: {kind: radix, capacity_tokens: 20000}}
  blocks: {kind: cache, cache: {kind: block, block_size: 16, capacity_blocks: 3200}}
  endless: {kind: cache, cache: {kind: ids}}
  engine: {kind: engine, model: llama-3-8b, hardware: h200}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_small_mooncake(tmp_path / "small.jsonl")
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def _study(config: Path, block_size: int | None = None, rate: float | None = None) -> CurveStudy:
    return study(load_config(config), block_size, rate, lambda part, done, total: None)


def _text(studied: CurveStudy) -> str:
    console = Console(width=110)
    with console.capture() as capture:
        console.print(report.table(studied))
    return " ".join(capture.get().split())


def _labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_command(cli: Cli, cli_here: Cli, config: Path, tmp_path: Path) -> None:
    """Two files in runs/NAME, a table, and where the files are; --quiet prints nothing."""
    done = cli_here("curve", config)
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "runs" / "small"
    assert sorted(path.name for path in folder.iterdir()) == ["curve.csv", "curve.html", "curve.png"]
    for said in ("LRU hit rate by cache size: small", "Working set", "tail", "runs/small/curve.png"):
        assert said in done.stdout
    quiet = cli("curve", config, "--quiet", "--out", "out", env={"PYTHONHASHSEED": "7"})
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    for name in report.FILES:
        assert (folder / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sample", "0"], "--sample 0.0: allowed: above 0, up to 1"),
        (["--block-size", "0"], "--block-size 0: allowed: at least 1 token"),
        (["--block-size", "999999"], "no prompt has a block of 999999 tokens"),
        (["--set", "systems.tail.cache.kind=nonsense"], "systems.tail.cache"),
        (["--set", "workload.path=empty.jsonl"], "empty.jsonl: no requests"),
    ],
)
def test_bad_input(
    config: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One message, exit code 2, no files."""
    (config.parent / "empty.jsonl").write_text("")
    monkeypatch.chdir(config.parent)
    monkeypatch.setattr("sys.argv", ["sim", "curve", str(config), *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert said.out == "" and message in said.err
    assert not (config.parent / "runs").exists()


def test_csv_has_every_step(config: Path, tmp_path: Path) -> None:
    """Few changes: a row at each of them, and at the capacities of the experiment's own caches."""
    studied = _study(config)
    curve = studied.curve
    with report.write(studied, tmp_path / "out")[0].open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == report.COLUMNS
    listed = {int(row["capacity_blocks"]): row for row in rows}
    assert list(listed) == sorted(listed) and {1, 100, 39, curve.full_blocks} <= set(listed)
    before = 0
    for capacity in range(1, curve.full_blocks + 1):
        hits = int(curve.hit_tokens([capacity])[0])
        assert capacity in listed or hits == before
        before = hits
    row = listed[100]
    assert int(row["capacity_tokens"]) == 51_200
    assert int(row["hit_blocks"]) == curve.hit_blocks([100])[0]
    assert float(row["hit_rate_tokens"]) == pytest.approx(curve.rate_tokens([100])[0], abs=1e-9)
    assert float(row["hit_rate_blocks"]) == pytest.approx(curve.rate_blocks([100])[0], abs=1e-9)


def test_long_csv_is_log_spaced(config: Path) -> None:
    """More changes than rows: log-spaced capacities, the ends and the own ones among them."""
    curve = _study(config, block_size=1).curve
    at = report.capacities(curve, [12_345, 0], most=50).tolist()
    assert len(at) <= 51 and at[0] == 1 and curve.full_blocks in at and 12_345 in at
    assert set(log_spaced(curve.full_blocks, 50).tolist()) <= set(at)


def test_failed_write_keeps_the_old_files(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files or neither, and nothing else left behind."""
    studied, folder = _study(config), tmp_path / "out"
    report.write(studied, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(path: Path, content: bytes) -> int:
        if path.name == "curve.png":
            raise OSError(28, "No space left on device")
        return writes(path, content)

    writes = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left"):
        report.write(_study(config, block_size=16), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.fixture
def seven(config: Path) -> CurveStudy:
    """8,672 tokens in 18 blocks of 7 ids; 5 hits with room for 3 blocks, 6 with 4, 8 with 5, 11 in all."""
    write_seven(config.parent / "seven.jsonl")
    own = "systems={own: {kind: cache, cache: {kind: ids, capacity_blocks: 4}}}"
    return study(
        load_config(config, ["workload.path=seven.jsonl", own]), None, None, lambda part, done, total: None
    )


def test_figures_by_hand(seven: CurveStudy) -> None:
    """File, table and notes, in blocks and in tokens of 512 to the block."""
    rows = {row[0]: row[1:] for row in report.rows(seven)}
    assert rows[3] == (1536, 5, "0.277777778", 2560, "0.295202952")
    assert rows[4] == (2048, 6, "0.333333333", 3072, "0.354243542")
    assert rows[5] == (2560, 8, "0.444444444", 4096, "0.472324723")
    text = _text(seven).replace("│ ", "")
    assert "50% 4 2,048 35.4%" in text and "100% 7 3,584 61.9%" in text
    assert "Most hits: 61.9% of 8,672 prompt tokens, 61.1% of 18 blocks." in text
    assert "Working set: 7 distinct blocks" in text
    assert "own 2,048 35.4% 35.4%" in text


def test_figure_by_hand(seven: CurveStudy) -> None:
    """Tokens below, blocks above; both rates and the own cache where they belong."""
    figure = curve_figure.figure(seven)
    (axes,) = figure.axes
    tokens, blocks = (dict(zip(*points(line), strict=True)) for line in axes.get_lines()[:2])
    assert tokens[4 * 512] == pytest.approx(3072 / 8672) and tokens[5 * 512] == pytest.approx(4096 / 8672)
    assert blocks[4 * 512] == pytest.approx(6 / 18) and blocks[5 * 512] == pytest.approx(8 / 18)
    own = dict(zip(*points(axes.get_lines()[2]), strict=True))
    assert own == pytest.approx({4 * 512: 3072 / 8672})
    figure.canvas.draw()
    (above,) = axes.child_axes
    assert [512 * blocks for blocks in above.get_xlim()] == pytest.approx(list(axes.get_xlim()))


def test_errors_are_rounded_up() -> None:
    """A rate that is 0.00121 off is no less than 0.13 percentage points off."""
    assert [report._points(error) for error in (0.00121, 0.0012, 0.0)] == ["0.13", "0.12", "0.00"]


def test_points(config: Path) -> None:
    """Replays with a capacity are points, in tokens; LRU over the trace's ids lies on the curve."""
    studied = _study(config)
    points = {point.system: point for point in studied.points}
    capacities = {name: point.capacity_tokens for name, point in points.items()}
    assert capacities == {"tail": 51_200, "radix": 20_000, "blocks": 51_200}
    assert points["tail"].hit_rate == studied.curve.rate_tokens([100])[0]


def test_table(config: Path) -> None:
    """Shares of the most hits, what blocks are, and the replays beside the curve."""
    text = _text(_study(config))
    assert "50%" in text and "100%" in text
    assert "the trace's own ids of 512 tokens" in text
    assert "Replays of the experiment" in text and "endless" not in text
    other = _text(_study(config, block_size=64, rate=0.5))
    assert "all full blocks of 64 tokens of the prompts; no replies" in other
    assert "Sampled at 0.5" in other and "measured against the exact curve" in other


def test_table_of_an_estimated_error(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the exact curve would take too long the error is an estimate, and called so."""
    monkeypatch.setattr("sim.studies.curve_sampled.EXACT_USES", 0)
    studied = _study(config, rate=0.5)
    assert studied.sample is not None and studied.sample.truth is None
    assert "estimated from the sample" in _text(studied)
    assert "by tokens (exact)" not in _labels(curve_figure.figure(studied))


def test_figure(config: Path) -> None:
    """A logarithmic axis with units, both rates, every replay's name; the exact curve beside a sample."""
    figure = curve_figure.figure(_study(config))
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("capacity, tokens", "hit rate")
    replays = "replay of the experiment, by tokens"
    assert _labels(figure) == ["by tokens", "by blocks", "KV memory today: engine", replays]
    assert {text.get_text() for text in axes.texts} == {"tail", "radix", "blocks"}
    assert canvas.png(figure)[:4] == b"\x89PNG"
    sampled = curve_figure.figure(_study(config, rate=0.5))
    assert _labels(sampled)[:3] == [
        "by tokens (sample, rate 0.5)",
        "by blocks (sample, rate 0.5)",
        "by tokens (exact)",
    ]


def test_figure_of_a_cache_smaller_than_a_block(config: Path) -> None:
    """A point left of the curve is still inside the panel."""
    loaded = load_config(config, ["systems.blocks.cache={kind: ids, capacity_blocks: 1}"])
    figure = curve_figure.figure(study(loaded, 4096, None, lambda part, done, total: None))
    assert figure.axes[0].get_xlim()[0] == 512


def test_picture_of_figure_9(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published vertices over both estimates and the plain curve; the one in docs is small."""
    write_small_mooncake(tmp_path / "small.jsonl")
    trace = MooncakeTrace(
        kind="trace", format="mooncake", path=tmp_path / "small.jsonl", time_unit="ms"
    ).build(0, tmp_path)
    monkeypatch.setattr(mooncake, "ESTIMATED", 3)
    figure = mooncake.mooncake_figure_9(trace)
    assert _labels(figure) == [
        "estimate, capacity in tokens",
        "estimate, capacity in blocks",
        "whole blocks of 512 tokens (exact)",
        "published (Figure 9)",
    ]
    mooncake.save_mooncake_figure_9(trace, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"
    assert (root / "docs/figures/mooncake-figure-9.png").stat().st_size < 120_000
