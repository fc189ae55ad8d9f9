"""``python -m workloads generate | anonymise``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim.caches.ideal import IdealConfig
from sim.caches.message import MessageConfig
from sim.studies.curve import blocks_of, exact
from tests.refusing import Cli, refused
from tests.workloads.other_files import ALL
from workloads.anonymising import anonymised
from workloads.checking import check
from workloads.formats.own import OwnTrace, write
from workloads.generators.chat import ChatWorkload
from workloads.registry import FORMATS
from workloads.trace import NONE, Trace

WORKLOAD: dict[str, Any] = {"kind": "chat", "sessions": 20, "arrival": {"rate_per_s": 1}}


def _own(path: Path) -> Trace:
    trace = OwnTrace(kind="trace", format="prefixsim", path=path).build(0, path.parent)
    check(trace)
    return trace


def test_generate(tool: Cli, tmp_path: Path) -> None:
    """The requests of an experiment, or of a workload alone; its own seed unless one is given."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"name": "t", "seed": 4, "workload": WORKLOAD}))
    (tmp_path / "w.yaml").write_text(yaml.safe_dump(WORKLOAD))
    said = tool("generate", "c.yaml", "c.parquet").stdout
    expected = ChatWorkload.model_validate(WORKLOAD).build(4, tmp_path)
    assert f"c.parquet: {len(expected):,} requests as parquet" in said
    assert _own(tmp_path / "c.parquet").prompt == expected.by_message.prompt
    tool("generate", "w.yaml", "w.parquet", "--seed", "4")
    assert (tmp_path / "w.parquet").read_bytes() == (tmp_path / "c.parquet").read_bytes()
    tool("generate", "w.yaml", "v.parquet", "--set", "turns=1")
    assert len(_own(tmp_path / "v.parquet")) == 20
    tool("generate", "w.yaml", "m.jsonl", "--to", "mooncake", "--block-size", "16")
    assert "hash_ids" in (tmp_path / "m.jsonl").read_text()


def test_what_cannot_be_generated(tool: Cli, tmp_path: Path) -> None:
    """File, key and what is allowed; nothing is written."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(WORKLOAD | {"turn": 3}))
    (tmp_path / "n.yaml").write_text("name: x\n")
    (tmp_path / "b.yaml").write_text("{")
    refused(tool, tmp_path, "generate", "c.yaml", "o", said=("c.yaml: workload:", "unknown key 'turn'"))
    refused(tool, tmp_path, "generate", "n.yaml", "o", said=("n.yaml: no workload; allowed",))
    refused(tool, tmp_path, "generate", "b.yaml", "o", said=("b.yaml",))
    refused(tool, tmp_path, "generate", "absent.yaml", "o", said=("absent.yaml: No such file",))
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"seed": "x", "workload": WORKLOAD}))
    refused(tool, tmp_path, "generate", "s.yaml", "o", said=("s.yaml: seed = 'x'; allowed",))


def _hits(trace: Trace) -> list[Any]:
    """Of an unlimited cache of tokens request by request, of messages, and of LRU at any size."""
    found: list[Any] = []
    for kind in (IdealConfig(kind="ideal"), MessageConfig(kind="message")):
        if kind.kind == "message" and not trace.messages:
            continue
        cache = kind.replay(trace, "cache")
        found.append([cache.serve(i, at).hit_tokens for at, i in trace.instant_order()])
    blocks = blocks_of(trace, None if trace.named_blocks is not None else 4)
    found.append(exact(blocks).hit_tokens(range(1, 200)).tolist())
    return found


@pytest.mark.parametrize("kind", sorted(set(ALL) - {"azure", "burstgpt", "vllm_bench"}))
def test_anonymised_traces_have_the_same_hits(tmp_path: Path, kind: str) -> None:
    """Of every format; and nothing of what named somebody is left."""
    arrival = {"arrival": {"process": "closed_loop", "concurrency": 2}} if kind == "sharegpt" else {}
    config = {"kind": "trace", "format": kind, "path": ALL[kind](tmp_path)} | arrival
    trace = FORMATS[kind].model_validate(config).build(0, tmp_path)
    copy = anonymised(trace)
    check(copy)
    assert _hits(copy) == _hits(trace)
    assert sorted(copy.input_tokens) == sorted(trace.input_tokens)
    write(copy, tmp_path / "anonymised.parquet")
    again = _own(tmp_path / "anonymised.parquet")
    assert (again.origin, again.request_ids, again.lines) == ("anonymised", None, None)
    assert not {"alpha", "beta"} & set(re.findall(r"\w+", repr(again)))
    assert _hits(again) == _hits(trace)


def test_what_anonymised_traces_keep() -> None:
    """Sessions, tenants, priorities, waits, sub-agents, models: as many, and in the same places."""
    config = WORKLOAD | {"tenants": 3, "habits": {"system_prompt": "clock"}}
    trace = ChatWorkload.model_validate(config).build(1, Path())
    trace.models = ["secret" if tenant else "other" for tenant in trace.tenant]
    trace.session = [100 - session for session in trace.session]
    trace.parents, trace.tool_turns = {100: 99}, {1, 5}
    copy, order = anonymised(trace), [i for _, i in trace.instant_order()]
    check(copy)
    assert copy.models is not None and set(copy.models) == {"model-1", "model-2"}
    for mine, old in (
        (copy.session, trace.session),
        (copy.tenant, trace.tenant),
        (copy.models, trace.models),
    ):
        assert len(set(zip(mine, (old[i] for i in order), strict=True))) == len(set(old))
    assert copy.tool_turns == {order.index(1), order.index(5)}
    assert len(copy.parents) == 1
    for place, i in enumerate(order):
        after = trace.follower[i]
        assert copy.follower[place] == (NONE if after == NONE else order.index(after))
        assert copy.think_s[place] == trace.think_s[i] and copy.turn[place] == trace.turn[i]
    starts = [at for at in copy.arrival_s if at is not None]
    assert min(starts) == 0 and _hits(copy) == _hits(trace)


def test_the_command_says_what_is_kept(tool: Cli, tmp_path: Path) -> None:
    """And what is not."""
    path = ALL["openai_messages"](tmp_path)
    said = tool("anonymise", path, "a.parquet").stdout
    assert "a.parquet: 6 requests as parquet" in said and "- anonymised: kept: lengths" in said
    assert "replaced by numbers" in said and "log.jsonl" not in said
