"""``python -m sim habits``: its files, its table, its page and figures."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from reports import habit_figures, habits_console, units
from reports import habits as report
from sim.config import load_config
from sim.studies.habits import HabitStudy, costs_more, study
from tests.refusing import Cli
from tests.reports.drawn import lengths

CONFIG = """\
name: small
workload:
  kind: chat
  sessions: 10
  arrival: {process: poisson, rate_per_s: 1.0}
  turns: 6
  think_time_s: 3
  system_prompt: {tokens: 640}
  user_tokens: 50
  reply_tokens: 100
systems:
  priced: {kind: cache, cache: {kind: block}, price: {input_usd_per_1m: 10, cached_input_usd_per_1m: 1}}
  unpriced: {kind: cache, cache: {kind: block}}
  gpu: {kind: engine, model: llama-3-8b, hardware: h200, price: {gpu_hour_usd: 3.5}, latency: {mfu: 1}}
  hosted: {kind: provider, provider: anthropic, model: claude-opus-5}
  uncached: {kind: provider, provider: anthropic, model: claude-opus-5, caching: {mode: off}}
habit_pairs:
  clock: {good: {system_prompt: fixed}, bad: {system_prompt: clock}}
  window: {good: {history: append}, bad: {history: {kind: window, turns: 1}}}
  edit: {good: {history: append}, bad: {history: edit}}
"""


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> HabitStudy:
    path: Path = tmp_path_factory.mktemp("habits") / "config.yaml"
    path.write_text(CONFIG)
    return study(load_config(path), lambda part, done, total: None)


def _text(studied: HabitStudy, width: int) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(habits_console.table(studied))
    return capture.get()


def test_command(cli: Cli, cli_here: Cli, tmp_path: Path) -> None:
    """Files in runs/NAME, the same bytes whatever the hash seed and from the resolved configuration."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    done = cli_here("habits", "config.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "runs" / "small"
    assert sorted(path.name for path in folder.iterdir()) == sorted(report.FILES)
    for said in ("per 1,000 sessions: small", "system_prompt: fixed", "clock", "runs/small/habits.html"):
        assert said in done.stdout
    resolved = folder / "config.yaml"
    quiet = cli("habits", resolved, "--quiet", "--out", "out", env={"PYTHONHASHSEED": "7"})
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    for name in report.FILES:
        assert (folder / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_lines(studied: HabitStudy) -> None:
    """A good habit once, above all of its bad habits; amounts are those of the study."""
    lines = report.lines(studied, "priced")
    assert [(line.label, line.good) for line in lines] == [
        ("system_prompt: fixed", True),
        ("clock", False),
        ("history: append", True),
        ("window", False),
        ("edit", False),
    ]
    # 1,000 sessions of 6 prompts: 640 + 50, then 150 more each; a clock is 20 tokens in each.
    sent = sum(690 + 150 * turn for turn in range(6)) * 1000
    good, clock = lines[0], lines[1]
    assert good.tokens[1] == f"{sent / 1e6:.2f} M"
    assert clock.tokens[:3] == ("0%", f"{sent / 1e6 + 0.12:.2f} M", f"{sent / 1e6 + 0.12:.2f} M")
    assert clock.costs[2] == clock.costs[5] == f"${(sent + 120_000) / 1e5:.2f}"
    computed = studied.pairs["clock"].good["priced"]["computed_tokens"]
    assert clock.tokens[4] == f"{(sent + 120_000) / computed:.1f} x"
    assert good.tokens[3:] == ("", "", "")
    busy = report.lines(studied, "gpu")[1].costs
    own: Any = studied.pairs["clock"].bad["gpu"]
    assert busy[1] == f"{units.significant(own['gpu_busy_s'])} s"
    assert busy[2] == units.usd(own["cost_usd"]) != busy[4] == units.usd(own["cost_usd_busy"])
    assert clock.costs[3] == f"+${float(clock.costs[2][1:]) - float(good.costs[2][1:]):.2f}"


def test_cheaper_twin_and_small_amounts(studied: HabitStudy) -> None:
    """A window that sends much less is told as cheaper; from one dollar on cents are enough."""
    assert report.more_usd(39.086, 39.618) == "-$0.53"
    assert report.more_usd(39.6181, 39.618) == "$0.00"
    assert report.more_usd(0.00512, 0.005) == "+$0.000120"


@pytest.mark.parametrize("width", [80, 120])
def test_table_fits(studied: HabitStudy, width: int) -> None:
    """One table of 80 columns: a section per pair, in it a row per system, no cell cut."""
    text = _text(studied, width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    shown = text.partition("times comp.:")[0].splitlines()
    assert max(map(len, shown)) <= 80
    for name in ("clock instead of system_prompt: fixed", "window instead of", "edit instead of"):
        (at,) = (i for i, line in enumerate(shown) if line.startswith(name))
        rows = shown[at + 1 : at + 1 + len(studied.config.systems)]
        assert [row.split()[0] for row in rows] == list(studied.config.systems)
    assert "uncalibrated" in text


def test_table_tells_where_caching_off_is_cheaper(studied: HabitStudy) -> None:
    """Under a clock all tokens are written and none read: its dollars are marked, the good ones are not."""
    clock = studied.pairs["clock"]
    bad: Any = clock.bad["hosted"]
    good: Any = clock.good["hosted"]
    assert (
        bad["cost_usd"] > bad["cost_usd_without_cache"]
        and good["cost_usd"] < good["cost_usd_without_cache"]
    )
    rows = [line for line in _text(studied, 80).splitlines() if line.startswith("  hosted ")]
    cells = rows[0].split()
    assert cells[5:7] == [f"${good['cost_usd']:.2f}", f"${bad['cost_usd']:.2f}!"]
    assert cells[8:10] == [f"{bad['written_tokens'] / 1e6:.2f}", "M"]
    assert "! more than the same prompts with caching off" in _text(studied, 80)


def test_table_shows_times_where_there_is_room(studied: HabitStudy, tmp_path: Path) -> None:
    """Without prices the columns of dollars and writes go, and times to the first token come."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    unpriced = ["systems={gpu: {kind: engine, model: llama-3-8b, hardware: h200, latency: {mfu: 1}}}"]
    config = load_config(tmp_path / "config.yaml", unpriced)
    shown = _text(study(config, lambda part, done, total: None), 80).partition("times comp.:")[0]
    both: Any = studied.pairs["clock"]
    times = [units.significant(figures["gpu"]["mean_ttft_ms"]) for figures in (both.good, both.bad)]
    assert f"{times[0]} to {times[1]} ms" in shown and "dollars" not in shown and "written" not in shown
    assert "TTFT" not in _text(studied, 80)


def test_sentence(studied: HabitStudy) -> None:
    """The worst habit by computed tokens, with dollars at token prices, with times on a GPU."""
    priced, gpu = (report.sentence(studied, system) for system in ("priced", "gpu"))
    assert priced.startswith("Caching fails most under clock: 6.51 M tokens computed per 1,000 sessions")
    assert "$65.10 instead of $" in priced
    assert "to the first token on average instead of" in gpu
    assert report.sentence(studied, "unpriced").endswith("(system_prompt: fixed).")
    assert report.sentence(studied, "uncached") == "Nothing is read from a cache under any of these habits."


def test_sentence_on_writes_that_are_never_read(studied: HabitStudy) -> None:
    """How many habits make caching cost more than no caching, and the worst of them."""
    told = report.sentence(studied, "hosted")
    lost = [name for name, own in report.habits(studied, "hosted").items() if costs_more(own)]
    assert "clock" in lost and "system_prompt: fixed" not in lost
    own: Any = studied.pairs["clock"].bad["hosted"]
    share = own["cost_usd"] / own["cost_usd_without_cache"] - 1
    assert f"Costs more than caching off under {len(lost)} habits, most under " in told
    assert f"clock (+{share:.1%})." in told
    assert "Costs more" not in report.sentence(studied, "priced")


def test_matrix(studied: HabitStudy) -> None:
    """Every habit by every system with a price; GPUs by the hour with the dollars of their busy time."""
    systems, rows = report.matrix(studied)
    assert systems == ["priced", "gpu", "hosted", "uncached"]
    assert [line.label for line, _ in rows] == [line.label for line in report.lines(studied, "gpu")]
    clock, both = rows[1][1], studied.pairs["clock"].bad
    assert clock[0] == f"${both['priced']['cost_usd']:.2f}"
    assert clock[1] == f"${both['gpu']['cost_usd_busy']:.2f}"
    assert clock[2] == f"${both['hosted']['cost_usd']:.2f} !"
    assert clock[3] == f"${both['uncached']['cost_usd']:.2f}"


def test_overview_figure(studied: HabitStudy) -> None:
    """A cell for every habit and priced system: dollars against caching off."""
    figure = habit_figures.overview(studied).figure
    axes = figure.axes[0]
    assert _ticks(figure) == [line.label for line in report.lines(studied, "priced")]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["priced", "gpu", "hosted", "uncached"]
    own: Any = studied.pairs["clock"].bad["hosted"]
    share = own["cost_usd"] / own["cost_usd_without_cache"] - 1
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown[2, 1] == f"+{share:.0%}"
    assert shown[0, 1] == shown[3, 0] == "0%"


def test_written_tokens_in_the_figure(studied: HabitStudy) -> None:
    """Computed, written and read tokens add up to what was sent; without writes there are two parts."""
    parts = [lengths(bars) for bars in habit_figures.tokens(studied, "hosted").axes[0].containers]
    own: Any = studied.pairs["clock"].bad["hosted"]
    assert [part[1] for part in parts] == [
        own["prompt_tokens"] - own["written_tokens"],
        own["written_tokens"],
        0,
    ]
    assert len(habit_figures.tokens(studied, "priced").axes[0].containers) == 2


def test_page(studied: HabitStudy) -> None:
    """One self-contained page: every system, figures with captions, the mark on computed times."""
    page = report.render(studied)
    assert page.count("<figure ") == page.count("<figcaption>") == page.count("<svg ") == 10
    assert "Uncalibrated." in page
    for system in studied.config.systems:
        assert f'<details class="card" id="system-{system}">' in page
    assert report.sentence(studied, "priced") in html.unescape(page).replace("\u00a0", " ")


def _ticks(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_token_figure(studied: HabitStudy) -> None:
    """A bar for every habit, its parts adding up to the prompt tokens."""
    figure = habit_figures.tokens(studied, "priced")
    assert _ticks(figure) == [line.label for line in report.lines(studied, "priced")]
    computed, cached = (lengths(bars) for bars in figure.axes[0].containers)
    clock = studied.pairs["clock"].bad["priced"]
    assert (computed[1], cached[1]) == (clock["prompt_tokens"], 0)
    assert "prompt tokens per 1,000 sessions, millions" in figure.axes[0].get_xlabel()


def test_dollar_figure(studied: HabitStudy) -> None:
    """What each bad habit costs more; of GPUs by the hour the busy part, marked as uncalibrated."""
    figure = habit_figures.dollars(studied, "priced")
    more = [both.more("priced")["cost_usd"] for both in studied.pairs.values()]
    assert lengths(figure.axes[0].containers[0]) == more
    assert figure.axes[0].get_xlabel() == "more dollars, per 1,000 sessions"
    by_the_hour = habit_figures.dollars(studied, "gpu")
    busy = [both.more("gpu")["cost_usd_busy"] for both in studied.pairs.values()]
    assert lengths(by_the_hour.axes[0].containers[0]) == busy
    assert "GPU-hours busy (uncalibrated)" in by_the_hour.axes[0].get_xlabel()


def test_json(studied: HabitStudy, tmp_path: Path) -> None:
    """habits.json says which habits were compared and what they took."""
    paths = report.write(studied, tmp_path / "out")
    content = json.loads(paths[1].read_text())
    assert (content["sessions"], content["requests"], content["amounts_per_sessions"]) == (10, 60, 1000)
    window = content["habit_pairs"]["window"]
    assert window["habits"]["bad"] == {"history": {"kind": "window", "turns": 1}}
    good, bad = window["good"]["gpu"], window["bad"]["gpu"]
    assert window["more"]["gpu"]["computed_tokens"] == bad["computed_tokens"] - good["computed_tokens"]
