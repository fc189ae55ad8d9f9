"""``python -m workloads``: describe and convert."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from sim import load_config, run
from tests.chats import workload
from tests.refusing import Cli, refused
from tests.workloads.other_files import ALL
from tests.workloads.test_one_chat import CLOSED, shared
from tests.workloads.two_sessions import tokens, turns
from workloads.command_line import call
from workloads.describing import describe
from workloads.errors import InputError
from workloads.formats.own import OwnTrace
from workloads.registry import FORMATS
from workloads.trace import Trace
from workloads.writing import WRITERS


def small_chat(sessions: int) -> Trace:
    """A generated chat."""
    return workload({}, sessions=sessions).build(3, Path())


def _said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def test_describe(tool: Cli, tmp_path: Path) -> None:
    """Counts, span, rate, reuse, the common beginning, and how the file was read."""
    path = ALL["openai_messages"](tmp_path)
    said = _said(tool("describe", path, "--format", "openai_messages"))
    assert "log.jsonl: 6 requests of 2 sessions in 65 s, 0.09231 a second" in said
    sent, got = sum(t.input_tokens for t in turns()), sum(t.output_tokens for t in turns())
    assert f"{sent:,} input tokens, {got:,} output tokens" in said
    assert "turns of a session 3 3 3 3 3 3" in said
    assert f"common beginning: {tokens(turns()[0].messages[0][1])} tokens, 100.0% of the requests" in said
    assert "- log.jsonl: recorded times: 6 requests in 65 s" in said


def test_ideal_hits_are_those_of_an_endless_cache(tool: Cli, tmp_path: Path) -> None:
    """Token by token, counted by hand from the conversation."""
    path = ALL["openai_messages"](tmp_path)
    found = json.loads(tool("describe", path, "--json", "--format", "openai_messages").stdout)
    trace: Trace = FORMATS["openai_messages"](kind="trace", format="openai_messages", path=path).build(
        0, tmp_path
    )
    hits = sum(
        max((shared(trace, trace.prompt[i], trace.reply[j]) for j in range(i)), default=0)
        for i in range(len(trace))
    )
    assert found["ideal_hit_tokens"] == hits
    assert found["ideal_hit_rate"] == pytest.approx(hits / sum(trace.input_tokens), rel=1e-12)
    assert "reuse_curve" not in found and found["notes"] == trace.notes


def test_describe_lengths_only(tool: Cli, tmp_path: Path) -> None:
    """No rate of hits is made up."""
    said = _said(tool("describe", ALL["azure"](tmp_path)))
    assert "format azure, by the fields of the file" in said and "seen before" not in said
    found = json.loads(tool("describe", tmp_path / "t.csv", "--json").stdout)
    assert found["ideal_hit_rate"] is None and found["ideal_hit_tokens"] is None


def test_lengths_only_give_no_hit_rate(tmp_path: Path) -> None:
    """Nor do runs of systems on such a trace."""
    ALL["azure"](tmp_path)
    systems = {"e": {"kind": "engine", "model": "llama-3-8b", "hardware": "h200"}}
    config = {"name": "t", "workload": {"kind": "trace", "path": "t.csv"}, "systems": systems}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    entry = run(load_config(tmp_path / "c.yaml")).summary()["systems"]["e"]
    assert entry["cache"]["prefix_cache_hit_rate"] is None and entry["cache"]["request_hit_rate"] is None
    assert any("lengths only" in note for note in entry["notes"])


def test_describe_figure(tool: Cli, tmp_path: Path) -> None:
    """A picture; where it cannot be written, one message."""
    path = ALL["mooncake"](tmp_path)
    assert "Figure: f.png" in _said(tool("describe", path, "--figure", "f.png"))
    assert (tmp_path / "f.png").read_bytes()[1:4] == b"PNG"
    done = tool("describe", path, "--figure", "no/f.png")
    assert done.returncode == 2 and "no/f.png: cannot be written" in done.stderr
    (tmp_path / "folder").mkdir()
    done = tool("describe", path, "--figure", "folder")
    assert done.returncode == 2 and "folder: cannot be written" in done.stderr
    assert not (tmp_path / "folder.png").exists()


def test_settings(tool: Cli, tmp_path: Path) -> None:
    """Of the format, dotted, and bad lines to pass over."""
    path = ALL["sharegpt"](tmp_path)
    done = tool("describe", path)
    assert done.returncode == 2 and "the file has no times; allowed: arrival:" in done.stderr
    arrival = ("--set", "arrival.process=poisson", "--set", "arrival.rate_per_s=0.5")
    assert "6 requests of 2 sessions" in _said(tool("describe", path, *arrival))
    other = ALL["mooncake"](tmp_path)
    other.write_text(other.read_text() + "{cut\n")
    assert "t.jsonl:7: not JSON" in tool("describe", other).stderr
    assert "1 bad line was skipped" in _said(tool("describe", other, "--skip-bad-lines", "1"))
    for wrong, said in (
        (("--set", "block_size"), "--set block_size: allowed: KEY=VALUE"),
        (("--set", "size=5", "--format", "mooncake"), "unknown key 'size'"),
        (("--set", "size=[5"), "--set size=[5: not YAML: expected"),
        (("--format", "moon"), "format = 'moon'; did you mean 'mooncake'? allowed: agent_text_logs"),
    ):
        done = tool("describe", other, "--skip-bad-lines", "1", *wrong)
        assert done.returncode == 2 and said in done.stderr, done.stderr


@pytest.mark.parametrize("kind", sorted(set(ALL)))
def test_the_projects_own_file_holds_everything(tmp_path: Path, kind: str) -> None:
    """Every column comes back, and so does the content."""
    settings = {"arrival": CLOSED} if kind == "sharegpt" else {}
    path = ALL[kind](tmp_path)
    config = {"kind": "trace", "format": kind, "path": str(path)} | settings
    trace: Trace = FORMATS[kind].model_validate(config).build(0, tmp_path)
    out = tmp_path / "trace.parquet"
    WRITERS["parquet"](trace, out, None)
    again = OwnTrace(kind="trace", format="prefixsim", path=out).build(0, tmp_path)
    for name in Trace.__slots__:
        if name not in ("content", "_chains", "_message_tree", "_by_message", "_largest"):
            assert getattr(again, name) == getattr(trace, name), name
    assert (again.content.parent, again.content.end) == (trace.content.parent, trace.content.end)


def test_generated_chats_are_kept_too(tmp_path: Path) -> None:
    """With turns that wait and segments of several messages."""
    trace = small_chat(sessions=5)
    WRITERS["parquet"](trace, tmp_path / "t.parquet", None)
    again = OwnTrace(kind="trace", format="prefixsim", path=tmp_path / "t.parquet").build(0, tmp_path)
    assert (again.follower, again.think_s) == (trace.follower, trace.think_s)
    assert again.input_tokens == trace.input_tokens
    assert describe(again).ideal_hit_tokens == describe(trace).ideal_hit_tokens


@pytest.mark.parametrize("kind", ["openai_messages", "claude_code", "tokens"])
def test_tokens_keep_every_hit(tool: Cli, tmp_path: Path, kind: str) -> None:
    """Converted to token ids and read again: the same lengths and the same common prefixes."""
    path = ALL[kind](tmp_path)
    done = tool("convert", path, "out.jsonl", "--to", "tokens", "--format", kind)
    assert "out.jsonl: 6 requests as tokens" in _said(done)
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert min(min(row["tokens"]) for row in written) == 0
    first: Trace = FORMATS[kind](kind="trace", format=kind, path=path).build(0, tmp_path)
    second: Trace = FORMATS["tokens"](kind="trace", format="tokens", path=tmp_path / "out.jsonl").build(
        0, tmp_path
    )
    assert (second.input_tokens, second.output_tokens) == (first.input_tokens, first.output_tokens)
    assert (second.arrival_s, second.turn) == (first.arrival_s, first.turn)
    for i in range(6):
        for j in range(6):
            ends = (first.prompt[i], first.reply[j]), (second.prompt[i], second.reply[j])
            assert shared(first, *ends[0]) == shared(second, *ends[1])


@pytest.mark.parametrize(
    ("kind", "size"), [("mooncake", 512), ("openai_messages", 16), ("lmcache_hashes", 64)]
)
def test_mooncake_keeps_whole_blocks(tmp_path: Path, kind: str, size: int) -> None:
    """The common prefix of two prompts in blocks; sessions and times are there."""
    path = ALL[kind](tmp_path)
    first: Trace = FORMATS[kind](kind="trace", format=kind, path=path).build(0, tmp_path)
    said = WRITERS["mooncake"](first, tmp_path / "out.jsonl", size)
    assert "times are rounded to milliseconds" in said
    second: Trace = FORMATS["mooncake"](
        kind="trace", format="mooncake", path=tmp_path / "out.jsonl", block_size=size
    ).build(0, tmp_path)
    assert second.input_tokens == first.input_tokens and second.arrival_s == first.arrival_s
    assert second.turn == first.turn
    for i in range(6):
        for j in range(6):
            whole = shared(first, first.prompt[i], first.prompt[j])
            if i != j:  # a partial last block is no part of a longer prompt's
                whole -= whole % size
            assert shared(second, second.prompt[i], second.prompt[j]) == whole


def test_waiting_turns_become_delays(tmp_path: Path) -> None:
    """In Mooncake's form a turn that waits for a reply has AIPerf's delay."""
    trace = small_chat(sessions=4)
    WRITERS["mooncake"](trace, tmp_path / "out.jsonl", 16)
    again: Trace = FORMATS["mooncake"](
        kind="trace", format="mooncake", path=tmp_path / "out.jsonl", block_size=16, time_unit="ms"
    ).build(0, tmp_path)
    assert sorted(again.input_tokens) == sorted(trace.input_tokens)
    waits = [
        round(think, 3) for think, at in zip(trace.think_s, trace.arrival_s, strict=True) if at is None
    ]
    kept = [think for think, at in zip(again.think_s, again.arrival_s, strict=True) if at is None]
    assert sorted(kept) == pytest.approx(sorted(waits), abs=1e-9)


def test_runs_pass_over_bad_lines_too(cli_here: Cli, tmp_path: Path) -> None:
    """``python -m sim run`` and ``check`` take the same option, and the note reaches the table."""
    path = ALL["mooncake"](tmp_path)
    path.write_text(path.read_text() + "{cut\n")
    systems = {"c": {"kind": "cache", "cache": {"kind": "ids"}}}
    config = {"name": "t", "workload": {"kind": "trace", "path": "t.jsonl"}, "systems": systems}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    assert "t.jsonl:7: not JSON" in cli_here("check", "c.yaml").stderr
    assert "valid, 6 requests" in cli_here("check", "c.yaml", "--skip-bad-lines", "1").stderr
    done = cli_here("run", "c.yaml", "--skip-bad-lines", "1")
    assert "1 bad line was skipped" in " ".join(done.stdout.split())


def test_a_folder_is_found_beside_the_configuration(cli_here: Cli, tmp_path: Path) -> None:
    """The configuration that a run writes names it from anywhere."""
    folder = tmp_path / "deep"
    folder.mkdir()
    ALL["claude_code"](folder)
    systems = {"c": {"kind": "cache", "cache": {"kind": "block", "block_size": 16}}}
    config = {"name": "t", "workload": {"kind": "trace", "path": "projects"}, "systems": systems}
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    done = cli_here("run", folder / "c.yaml", "--quiet")
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "runs" / "t" / "config.yaml").read_text())
    assert written["workload"]["path"] == str((folder / "projects").resolve())


def test_conversions_that_cannot_be(tool: Cli, tmp_path: Path) -> None:
    """One message, exit code 2, nothing half-written."""
    path = ALL["mooncake"](tmp_path)
    for args, said in (
        (("out", "--to", "csv"), "--to csv: allowed: parquet, mooncake, tokens"),
        (("no/out",), "no/out: cannot be written"),
        (
            (tmp_path.parent,),
            f"{tmp_path.parent}: cannot be written: a folder; allowed: the name of a file",
        ),
        (("/",), "/: cannot be written: a folder"),
        (("x" * 256,), "xxx: cannot be written: "),
        (("t.jsonl/out",), "t.jsonl/out: cannot be written: no such folder"),
        (
            ("out", "--set", "arrival=1", "--set", "arrival.speed=2"),
            "arrival = 1 has no settings of its own",
        ),
        (("out", "--to", "mooncake", "--block-size", "100"), "a multiple of 512, the blocks of t.jsonl"),
    ):
        done = tool("convert", path, *args)
        assert done.returncode == 2 and said in done.stderr, done.stderr
        assert [file.name for file in tmp_path.iterdir()] == ["t.jsonl"]


def test_own_files_that_are_none(tmp_path: Path) -> None:
    """Another Parquet file, another version, columns that contradict each other."""
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "t.parquet"

    def build() -> Trace:
        return OwnTrace(kind="trace", format="prefixsim", path=path).build(0, tmp_path)

    path.write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"t.parquet: no Parquet file"):
        build()
    parquet.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(InputError, match=r"version None of 1 rows; allowed: one row of version 1"):
        build()
    WRITERS["parquet"](small_chat(sessions=2), path, None)
    table = parquet.read_table(path)
    broken = table.set_column(0, "prompt", pa.array([[10**6] * 3]))
    parquet.write_table(broken.replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(InputError, match=r"contradicts itself"):
        build()
    for name, values in (("turn", [1]), ("think_s", [float("nan")] * 3), ("follower", [-7, -1, -1])):
        broken = table.set_column(table.column_names.index(name), name, pa.array([values]))
        parquet.write_table(broken.replace_schema_metadata(table.schema.metadata), path)
        with pytest.raises(InputError, match=r"contradicts itself"):
            build()
    for about in (b"{cut", b"\xff", b"[]", b"[" * 10**5):
        parquet.write_table(table.replace_schema_metadata({"prefixsim": about}), path)
        with pytest.raises(InputError, match=r"t.parquet: no Parquet file|version None of 1 rows"):
            build()


def test_the_command_itself() -> None:
    """Help is there without loading anything heavy."""
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "workloads", "--help"], capture_output=True, text=True, check=True
    )
    assert "describe" in done.stdout and "convert" in done.stdout


def test_refused_as_by_every_command(tool: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that would move the cursor is written out; a lack of memory is one line too."""
    refused(
        tool,
        tmp_path,
        "describe",
        "\x1b[2J.jsonl",
        said=("error: ", "\\x1b[2J.jsonl': allowed: text of one"),
    )
    app = typer.Typer()

    @app.command()
    def large() -> None:
        raise MemoryError

    with pytest.raises(SystemExit) as end:
        call(app, "large", [])
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: not enough memory; make the workload smaller\n"
