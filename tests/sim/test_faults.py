"""Faults at the edges: each is one clear message and exit code 2, or runs right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sim.fleet import sampling
from tests.refusing import Cli, refused
from tests.sim.bad import GOOD, written

HOSTED = "systems.one={kind: provider, provider: anthropic, model: claude-opus-5"
FREE = HOSTED + ", latency: {base_s: 0, per_uncached_token_s: 0, per_cached_token_s: 0, hit_base_s: 0}}"
FINE = "systems.one={kind: engine, latency: {kind: constant, iteration_s: 1e-9}, memory: {kv_blocks: 99}}"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["workload.sessions=0x" + "f" * 4000], "...: not YAML: an integer of over 100 digits"),
        (["seed=0x" + "f" * 4000], "...: not YAML: an integer of over 100 digits"),
        (["workload.arrival.rate_per_s=1e305"], "workload.arrival.rate_per_s = 1e+305"),
        (
            ["workload={kind: trace, format: mooncake, path: 2}"],
            "workload.path = 2: allowed: a path",
        ),
        (
            [FINE, "workload.think_time_s=1e8"],
            "systems.one: an iteration at 1e+08 s is shorter than what a 64-bit clock tells",
        ),
        (
            [
                "workload={kind: script, messages: {a: 5}}",
                "workload.requests=[{prompt: [a], session: 9223372036854775808}]",
            ],
            "workload.requests.0.session = 9223372036854775808",
        ),
    ],
)  # fmt: skip
def test_refused(cli_here: Cli, tmp_path: Path, settings: list[str], said: str) -> None:
    """The key, the value, what is allowed."""
    sets = [part for setting in settings for part in ("--set", setting)]
    refused(cli_here, tmp_path, "run", written(tmp_path), *sets, said=(said,))


def test_names_of_several_lines(cli_here: Cli, tmp_path: Path) -> None:
    """A message with such a name would have several lines; a setting may have them."""
    said = ("error: 'a\\nerror: all is well': allowed: text of one line, up to 4096 characters\n",)
    refused(cli_here, tmp_path, "check", "a\nerror: all is well", said=said)
    assert (
        cli_here("check", written(tmp_path), "--set", "systems.one.engine={\nmax_num_seqs: 3}").returncode
        == 0
    )
    refused(
        cli_here,
        tmp_path,
        "check",
        written(tmp_path),
        "--set",
        "name=a\nb",
        said=("error: --set name=a b: ",),
    )


def test_too_many_samples(cli_here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The horizon is known only at the end: the series is refused where it has grown too long."""
    monkeypatch.setattr(sampling, "MOST_SAMPLES", 1000)
    sets = ("--set", "workload.think_time_s=60", "--set", "systems.one.sample_s=0.001")
    said = "systems.one: sample_s = 0.001: over 1,000 samples by 1 s; allowed: a longer interval"
    refused(cli_here, tmp_path, "run", written(tmp_path), *sets, said=(said,))


def test_a_profile_with_a_date_that_does_not_exist(cli_here: Cli, tmp_path: Path, root: Path) -> None:
    """PyYAML's own ValueError, with file and line."""
    good = next((root / "calibration" / "profiles").glob("*.yaml")).read_text()
    lines = ["created: 2026-13-01" if x.startswith("created:") else x for x in good.splitlines()]
    (tmp_path / "p.yaml").write_text("\n".join(lines))
    line = lines.index("created: 2026-13-01") + 1
    setting = "systems.one={kind: engine, latency: {profile: p.yaml}, memory: {kv_blocks: 99}}"
    said = f"p.yaml:{line}: not YAML: month must be in 1..12"
    refused(cli_here, tmp_path, "run", written(tmp_path), "--set", setting, said=(said,))


def test_claims_on_a_first_token_that_takes_no_time(cli_here: Cli, tmp_path: Path) -> None:
    """Nothing to save of nothing."""
    claims = "claims=[{system: one, quantity: ttft, saved: 0.5, source: x}]"
    done = cli_here("run", written(tmp_path), "--out", "o", "--set", FREE, "--set", claims)
    assert done.returncode == 0 and "the first token takes no time here" in " ".join(done.stdout.split())
    assert json.loads((tmp_path / "o/summary.json").read_text())["claims"][0]["derived_saved"] is None


def test_names_are_no_markup(cli_here: Cli, tmp_path: Path) -> None:
    """A tier called as rich would write the end of a style."""
    tiers = "cache: {kind: tiered, tiers: [{name: gpu}, {name: '[/x]', gb_per_s: 1}]}"
    engine = f"systems.one={{kind: engine, model: llama-3-8b, hardware: h200, {tiers}}}"
    memory = "systems.one.memory.kv_blocks=40"
    done = cli_here("run", written(tmp_path), "--out", "o", "--set", engine, "--set", memory)
    assert done.returncode == 0 and "[/x]" in done.stdout


def test_nothing_measured(cli_here: Cli, tmp_path: Path) -> None:
    """A warm-up beyond the last arrival, on a provider: figures of an empty set are null."""
    done = cli_here("run", written(tmp_path), "--out", "o", "--set", HOSTED + "}", "--set", "warmup_s=1e6")
    assert done.returncode == 0
    figures = json.loads((tmp_path / "o/summary.json").read_text())["systems"]["one"]
    assert figures["sessions"] == 0 and figures["cache"]["prefix_cache_hit_rate"] is None
    assert done.stdout.startswith("No request was measured.")


def test_the_world_outside(cli: Cli, tmp_path: Path) -> None:
    """A terminal that can show few letters, a plotting backend that does not exist."""
    claims = 'claims=[{system: one, quantity: computed_tokens, saved: 0.5, source: "日本"}]'
    env = {"PYTHONIOENCODING": "cp1252", "MPLBACKEND": "nope"}
    done = cli("run", written(tmp_path), "--out", "o", "--set", claims, env=env)
    assert done.returncode == 0, done.stderr
    assert "\\u65e5\\u672c" in done.stdout
    assert "日本" in (tmp_path / "o/summary.json").read_text("utf-8") or "\\u65e5" in (
        tmp_path / "o/summary.json"
    ).read_text("utf-8")


def test_a_signal_to_end(tmp_path: Path, root: Path) -> None:
    """SIGTERM: exit code 143, and no file of a run that did not end."""
    long = {**GOOD, "workload": {**GOOD["workload"], "sessions": 2_000_000}}  # type: ignore[dict-item]
    path = written(tmp_path, json.dumps(long))
    command = [sys.executable, "-m", "sim", "run", str(path), "--out", "o"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143 and said == ""
    assert [file.name for file in tmp_path.iterdir()] == ["bad.yaml"]
