"""``python -m sim serve``: starts, serves, writes a run when it is told to stop, refuses bad input."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sim import experiment
from sim.config import load_config
from tests.refusing import Cli
from tests.server.test_real import config_file

BODY = {"model": "m", "prompt": "The same words again and again. " * 20, "max_tokens": 3}

LINEAR = "systems.engine.latency={kind: linear, token_s: 0.001}"


@contextmanager
def command(root: Path, folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "sim", "serve", "served.yaml", "--port", "0", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watch = threading.Timer(120, process.kill)
    watch.start()
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert found is not None
        yield process, found[0]
    finally:
        watch.cancel()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def rest_of(process: subprocess.Popen[str]) -> str:
    """What the command prints until it ends."""
    assert process.stdout is not None
    out = process.stdout.read()
    process.wait(timeout=100)
    return out


def test_it_writes_a_run_when_it_is_stopped(root: Path, tmp_path: Path) -> None:
    config_file(tmp_path)
    options = ("--system", "engine", "--speed", "inf", "--out", "run", "--set", LINEAR)
    with command(root, tmp_path, *options) as (process, url):
        for _ in range(3):
            assert httpx.post(f"{url}/v1/completions", json=BODY).status_code == 200
        process.send_signal(signal.SIGINT)
        out = rest_of(process)
    assert process.returncode == 0, out
    assert "four characters" in out and "Report: run/report.html" in out
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.yaml", "summary.json", "requests.parquet", "report.html", "traffic.parquet"} <= names
    records = experiment.run(load_config(tmp_path / "run" / "config.yaml")).runs["engine"].records
    assert records.cache_read_input_tokens.tolist() == [0, 144, 144]


def test_nothing_is_written_where_nobody_asked(root: Path, tmp_path: Path) -> None:
    config_file(tmp_path)
    with command(root, tmp_path, "--system", "engine", "--out", "run") as (process, url):
        assert httpx.get(f"{url}/health").status_code == 200
        process.send_signal(signal.SIGTERM)
        out = rest_of(process)
    assert process.returncode == 0 and "no request came" in out and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("--system is missing", "engine, api")),
        (("--system", "none"), ("--system none", "allowed: engine, api")),
        (("--system", "api", "--speed", "fast"), ("--speed 'fast'", "allowed: 1, 10", "inf")),
        (("--system", "api", "--speed", "0"), ("--speed '0'", "inf")),
        (("--system", "api", "--host", "0.0.0.0"), ("--host 0.0.0.0 without a key", "--api-key")),
        (("--system", "api", "--port", "99999"), ("--port", "65535")),
        (("--system", "api", "--tokenizer", "none.json"), ("none.json",)),
        (
            ("--system", "api", "--set", "server.replies.tokens=-1"),
            ("server.replies.tokens = -1", "at least 0"),
        ),
        (
            ("--system", "api", "--set", "server.replies.kind=recorded"),
            ("server.replies", "path of a JSONL file"),
        ),
        (("--system", "api", "--set", "server.fault={}"), ("unknown key 'fault'", "did you mean 'faults'")),
        (
            ("--system", "api", "--set", "systems.api={kind: cache, cache: {kind: ideal}}"),
            ("no service times",),
        ),
    ],
)
def test_bad_input_is_one_message(
    cli_here: Cli, tmp_path: Path, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    config_file(tmp_path)
    done = cli_here("serve", "served.yaml", *options)
    assert done.returncode == 2, done.stdout + done.stderr
    assert all(word in done.stderr.replace("\n", " ") for word in words), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["served.yaml"]
