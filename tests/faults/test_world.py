"""Pipes that close, letters that a terminal lacks, and a network that is never asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.faults.commands import ROOT
from tests.refusing import Cli
from tests.sim.bad import GOOD
from tests.sim.small import write_seven

PLAIN = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A locale of ASCII letters, which Python is kept from making a better one."""
NO_NETWORK = """
import os, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib.Request"):
        print("network:", event, arguments, file=sys.stderr)
        os._exit(77)

sys.addaudithook(refuse)
from calibration.cli import main as calibration
from sim.cli import main as sim
from workloads.cli import main as workloads
programs = {"sim": sim, "workloads": workloads, "calibration": calibration}
for line in sys.stdin.read().splitlines():
    program, *arguments = line.split()
    try:
        programs[program](arguments)
    except SystemExit as end:
        if end.code:
            print(line, file=sys.stderr)
            raise
"""


def _env(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def test_no_command_asks_the_network(tmp_path: Path) -> None:
    """Every command that is no server, in a process that ends at the first connection or look-up."""
    small = {**GOOD, "slo": {"ttft_ms": 500, "share": 0.5}}
    small["systems"] = {
        "own": {
            "kind": "engine",
            "latency": {"kind": "constant", "iteration_s": 0.1},
            "memory": {"kv_blocks": 99},
        },
        "hosted": {"kind": "provider", "provider": "anthropic", "model": "claude-opus-5"},
    }
    (tmp_path / "c.yaml").write_text(json.dumps(small))
    write_seven(tmp_path / "t.jsonl")
    profile = next((ROOT / "calibration" / "profiles").glob("*.yaml"))
    lines = [
        "sim run c.yaml --out a",
        "sim run c.yaml --out b --quiet",
        "sim check c.yaml",
        "sim curve c.yaml --out curve",
        "sim habits c.yaml --out habits --quiet",
        "sim capacity c.yaml --out capacity --precision 0.2 --quiet",
        "sim sweep c.yaml --out sweep --set workload.turns=1,2 --metric mean_ttft_ms --jobs 1",
        "sim search c.yaml --out search --set systems.own.replicas=1,2 --goal mean_ttft_ms --jobs 1 "
        "--system own",
        "sim compare a b",
        "sim rules anthropic",
        "sim breakeven anthropic --out breakeven",
        "sim models",
        "sim gpus",
        "sim memory llama-3.1-8b h200",
        "workloads describe t.jsonl",
        "workloads convert t.jsonl o.jsonl --to mooncake",
        "workloads anonymise t.jsonl o2.jsonl --to mooncake",
        "workloads generate c.yaml o.parquet",
        f"calibration show {profile}",
        f"calibration compare {profile} {profile}",
    ]
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK], input="\n".join(lines), cwd=tmp_path, env=_env(),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "network:" not in done.stderr


def test_a_pipe_that_closes(tmp_path: Path) -> None:
    """``sim run ... | head -1``: no traceback; what a run writes is whole or not there."""
    (tmp_path / "c.yaml").write_text(json.dumps(GOOD))
    command = [sys.executable, "-m", "sim", "run", "c.yaml", "--out", "o"]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            command, cwd=tmp_path, env=_env(), stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    assert done.returncode in (1, 2, 141) and done.stderr.count("error: ") <= 1
    names = {path.name for path in (tmp_path / "o").iterdir()} if (tmp_path / "o").exists() else set()
    assert len(names) in (0, 5)


def test_a_locale_of_few_letters(cli_here: Cli, tmp_path: Path) -> None:
    """Files are UTF-8 whatever the locale, read and written; the terminal gets what it can show."""
    claims = [{"system": "one", "quantity": "computed_tokens", "saved": 0.5, "source": "\u65e5\u672c"}]
    text = json.dumps({**GOOD, "claims": claims}, ensure_ascii=False)
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    warned = ["-X", "warn_default_encoding"]
    for package in ("sim", "workloads", "reports"):
        warned += ["-W", f"error::EncodingWarning:{package}"]
    done = subprocess.run(
        [sys.executable, *warned, "-m", "sim", "run", "c.yaml", "--out", "plain"],
        cwd=tmp_path, env=_env(**PLAIN), capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and b"\\u65e5\\u672c" in done.stdout, done.stderr
    usual = cli_here("run", "c.yaml", "--out", "usual")
    assert usual.returncode == 0 and "\u65e5\u672c" in usual.stdout
    for name in ("summary.json", "config.yaml", "report.html", "requests.parquet"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "usual" / name).read_bytes(), name
    assert "\u65e5\u672c" in (tmp_path / "plain" / "report.html").read_text("utf-8")
