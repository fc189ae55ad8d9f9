"""Logs as tables (CSV, Parquet), and tokenizers."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.one_chat import WRITERS
from tests.workloads.two_sessions import Row
from workloads.checking import check
from workloads.errors import InputError
from workloads.formats.times import seconds
from workloads.registry import FORMATS
from workloads.trace import Trace


def _build(kind: str, path: Path, **settings: Any) -> Trace:
    config = {"kind": "trace", "format": kind, "path": str(path)} | settings
    trace: Trace = FORMATS[kind].model_validate(config).build(0, path.parent)
    check(trace)
    return trace


def _rows(path: Path) -> list[Row]:
    text = path.read_text()
    rows: list[Row] = json.loads(text) if text.startswith("[") else list(map(json.loads, text.splitlines()))
    return rows


def _csv(path: Path, rows: list[Row]) -> Path:
    names = list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in rows:
            texts = {
                key: json.dumps(value) if isinstance(value, dict | list) else value
                for key, value in row.items()
            }
            writer.writerow(texts)
    return path


@pytest.mark.parametrize("kind", ["litellm", "langfuse"])
def test_csv(tmp_path: Path, kind: str) -> None:
    """Objects are JSON in their cells; numbers are text."""
    log = WRITERS[kind][1](tmp_path)
    first, second = _build(kind, log), _build(kind, _csv(tmp_path / "t.csv", _rows(log)))
    assert (first.input_tokens, first.output_tokens) == (second.input_tokens, second.output_tokens)
    assert (first.arrival_s, first.content.parent) == (second.arrival_s, second.content.parent)


def test_columns_without_raw_usage(tmp_path: Path) -> None:
    """The spend log's own counts, where nothing better is there."""
    rows = _rows(WRITERS["litellm"][1](tmp_path))
    for row in rows:
        row["metadata"], row["proxy_server_request"], row["response"] = {}, {}, {}
    trace = _build("litellm", _csv(tmp_path / "t.csv", rows))
    assert len(trace) == 6 and any("6 of 6 calls have no text" in note for note in trace.notes)


def test_parquet(tmp_path: Path) -> None:
    """As LangSmith's bulk exports, whose times are timestamps."""
    import pyarrow as pa
    from pyarrow import parquet

    log = WRITERS["langsmith"][1](tmp_path)
    rows = _rows(log)
    for row in rows:
        for key in ("inputs", "outputs", "extra"):
            row[key] = json.dumps(row.get(key, {}))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    first, second = _build("langsmith", log), _build("langsmith", tmp_path / "t.parquet")
    assert (first.input_tokens, first.arrival_s) == (second.input_tokens, second.arrival_s)
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"t.parquet: no Parquet file"):
        _build("langsmith", tmp_path / "t.parquet")


@pytest.mark.parametrize(
    "written",
    ["2026-11-28T09:30:00.5Z", "2026-11-28 09:30:00.500000 UTC", "2026-11-28T10:30:00.5000001+01:00",
     "2026-11-28 09:30:00.5", 1795858200.5, 1795858200500, "1795858200.5", 1795858200500000000],
)  # fmt: skip
def test_times(written: object) -> None:
    """One instant, as different logs write it."""
    assert seconds(written, "t", "x") == 1795858200.5


@pytest.mark.parametrize("written", ["soon", True, -1, float("nan"), [], "nan"])
def test_times_that_are_none(written: object) -> None:
    """Named with key, value and what is allowed."""
    with pytest.raises(InputError, match="allowed: a time such as"):
        seconds(written, "t", "x")


def test_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    """A file that is absent or none, or a package that is not installed: one message each."""
    log = WRITERS["sglang_requests"][1](tmp_path)
    with pytest.raises(InputError, match=r"absent.json: no such file"):
        _build("sglang_requests", log, tokenizer="absent.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    installed = importlib.util.find_spec("tokenizers") is not None
    said = r"no tokenizer \(" if installed else r"tokenizers is not installed; allowed: pip install"
    with pytest.raises(InputError, match=said):
        _build("sglang_requests", log, tokenizer="tokenizer.json")


def test_tokenizer(tmp_path: Path) -> None:
    """It counts what no log has counted: here words."""
    tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers is not installed")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    rows = [{"messages": [{"role": "user", "content": "a b c"}, {"role": "assistant", "content": "d e"}]}]
    (tmp_path / "t.jsonl").write_text(json.dumps(rows[0]) + "\n")
    arrival = {"process": "closed_loop", "concurrency": 1}
    trace = _build("openai_messages", tmp_path / "t.jsonl", tokenizer="tokenizer.json", arrival=arrival)
    assert (trace.input_tokens, trace.output_tokens) == ([3], [2])
    assert any("counted by the tokenizer" in note for note in trace.notes)


def test_a_tokenizer_that_lacks_tokens(tmp_path: Path) -> None:
    """It is read, and fails at the first text: one message too."""
    pytest.importorskip("tokenizers", reason="the package tokenizers is not installed")
    log = WRITERS["sharegpt"][1](tmp_path)
    (tmp_path / "tokenizer.json").write_text(
        '{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "x"}}'
    )
    arrival = {"process": "closed_loop", "concurrency": 1}
    with pytest.raises(InputError, match=r"tokenizer.json: no tokenizer of every text \("):
        _build("sharegpt", log, tokenizer="tokenizer.json", arrival=arrival)
