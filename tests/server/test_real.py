"""The SDKs in front of the simulator itself: usage is that of the records, and of the worked examples."""

from __future__ import annotations

import asyncio
from math import inf
from pathlib import Path
from typing import Any

import anthropic
import numpy as np
import openai
import pytest

from sim import experiment
from sim.config import load_config
from sim.server.opening import open_system
from sim.server.recording import TRAFFIC, result_of
from sim.server.system import LiveSystem
from tests.server.conftest import anthropic_client, openai_client
from tests.server.running import Up, up
from tests.server.test_connections import eventually
from workloads.formats import own

CONFIG = """
name: served
seed: 3
workload: {kind: script, messages: {a: 1, b: 1}, requests: [{prompt: [a], reply: b, at_s: 0}]}
systems:
  engine:
    kind: engine
    latency: {kind: constant, iteration_s: 0.01}
    memory: {kv_blocks: 4000}
    cache: {kind: block, block_size: BLOCK}
    price: {input_usd_per_1m: 10, cached_input_usd_per_1m: 1, output_usd_per_1m: 0}
  api: {kind: provider, provider: anthropic, model: claude-sonnet-5, caching: {mode: explicit}}
"""


def config_file(folder: Path, block_size: int = 16) -> Path:
    path = folder / "served.yaml"
    path.write_text(CONFIG.replace("BLOCK", str(block_size)))
    return path


def serving(path: Path, system: str) -> Any:
    return up(lambda: open_system(load_config(path), system, inf))


def said(name: str, tokens: int) -> str:
    """A text that makes a message of so many tokens, its marker among them."""
    return (name * 4 * tokens)[: 4 * (tokens - 1)]


class Chat:
    """A chat through the SDK that resends its history, as the source's client does."""

    def __init__(self, client: openai.OpenAI, system_tokens: int) -> None:
        self.client = client
        self.messages: list[Any] = [{"role": "system", "content": said("s", system_tokens)}]
        self.usages: list[Any] = []

    def turn(self, name: str, user_tokens: int, reply_tokens: int) -> None:
        """What the user says and the marker of the reply are ``user_tokens``."""
        self.messages.append({"role": "user", "content": said(name, user_tokens - 1)})
        reply = self.client.chat.completions.create(
            model="m", messages=self.messages, max_tokens=reply_tokens, extra_body={"ignore_eos": True}
        )
        self.messages.append({"role": "assistant", "content": reply.choices[0].message.content})
        self.usages.append(reply.usage)


def test_two_short_turns(tmp_path: Path) -> None:
    """55 tokens, then 75 of which the engine computes 11: the reply's last token has no KV."""
    with serving(config_file(tmp_path, 1), "engine") as server, openai_client(server) as client:
        chat = Chat(client, 50)
        chat.turn("a", 5, 10)
        chat.turn("b", 10, 10)
    first, second = chat.usages
    assert (first.prompt_tokens, first.completion_tokens) == (55, 10)
    assert (second.prompt_tokens, second.prompt_tokens_details.cached_tokens) == (75, 64)


def test_a_bill(tmp_path: Path) -> None:
    """120 tokens are 0.0012 USD, then 190 would be 0.0019; with the cache 169 of them cost a tenth."""
    with serving(config_file(tmp_path, 1), "engine") as server, openai_client(server) as client:
        chat = Chat(client, 100)
        chat.turn("a", 20, 50)
        assert server.live.state().cost_usd == pytest.approx(0.0012, rel=1e-12)
        chat.turn("b", 20, 50)
        assert chat.usages[1].prompt_tokens == 190
        cached = chat.usages[1].prompt_tokens_details.cached_tokens
        assert cached == 169, "170 but for the last token of the reply"
        bill = 0.0012 + cached * 1e-6 + (190 - cached) * 1e-5
        assert server.live.state().cost_usd == pytest.approx(bill, rel=1e-12)
    summary = result_of(server.live, tmp_path).figures()
    assert summary["no_cache"]["engine"]["cost"]["cost_usd_total"] == pytest.approx(0.0012 + 0.0019)
    assert summary["systems"]["engine"]["cost"]["cost_usd_total"] == pytest.approx(bill)


def test_a_chat_of_ten_turns_hits_what_the_block_cache_hits(tmp_path: Path) -> None:
    """... and the recorded traffic, run again, hits the same in the same order."""
    with serving(config_file(tmp_path), "engine") as server, openai_client(server) as client:
        chats = [Chat(client, 100) for _ in range(2)]
        for turn in range(10):
            for number, chat in enumerate(chats):
                chat.turn("abcdefghij"[turn] + str(number), 30 + turn, 40)
        live: LiveSystem = server.live
    hits = [chat.usages[turn].prompt_tokens_details.cached_tokens for turn in range(10) for chat in chats]
    expected, before = [], 0
    for turn in range(10):
        prompt = 100 + sum(30 + t for t in range(turn + 1)) + 40 * turn
        expected += [before // 16 * 16, (before or 99) // 16 * 16]
        before = prompt + 40 - 1
    assert hits == expected
    written = result_of(live, tmp_path)
    own.write(written.trace, tmp_path / TRAFFIC)
    again = experiment.run(written.config).runs["engine"].records
    assert again.cache_read_input_tokens.tolist() == hits
    records = written.runs["engine"].records
    for name in ("first_token_s", "finished_s"):
        assert np.argsort(getattr(again, name)).tolist() == np.argsort(getattr(records, name)).tolist()
    (tmp_path / "again.yaml").write_text(written.config.to_yaml())
    block = "systems={block: {kind: cache, cache: {kind: block, block_size: 16}}}"
    cache = experiment.run(load_config(tmp_path / "again.yaml", [block])).runs["block"].records
    assert cache.cache_read_input_tokens.tolist() == hits


@pytest.mark.parametrize("stream", [False, True])
def test_usage_is_that_of_the_records(tmp_path: Path, stream: bool) -> None:
    usages: list[Any] = []
    with serving(config_file(tmp_path), "engine") as server, openai_client(server) as client:
        for number in range(12):
            messages: Any = [
                {"role": "system", "content": "Common words. " * 40},
                {"role": "user", "content": f"{number % 5} asks " * (10 * number + 1)},
            ]
            if stream:
                with client.chat.completions.create(
                    model="m", messages=messages, stream=True, stream_options={"include_usage": True}
                ) as chunks:
                    usages.append(list(chunks)[-1].usage)
            else:
                usages.append(client.chat.completions.create(model="m", messages=messages).usage)
    records = server.live.records()
    assert [usage.prompt_tokens for usage in usages] == records.input_tokens.tolist()
    assert [usage.completion_tokens for usage in usages] == records.output_tokens.tolist()
    cached = [usage.prompt_tokens_details.cached_tokens for usage in usages]
    assert cached == records.cache_read_input_tokens.tolist() and sum(cached) > 1000


def test_usage_of_a_hosted_api_is_that_of_its_bill(tmp_path: Path) -> None:
    """Marks reach Anthropic's rules: what is written once is read until it expires."""
    usages: list[anthropic.types.Usage] = []
    system: Any = [
        {"type": "text", "text": "Rules. " * 4000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]
    with serving(config_file(tmp_path), "api") as server, anthropic_client(server) as client:
        for number in range(3):
            messages: Any = [{"role": "user", "content": f"Question {number}"}]
            reply = client.messages.create(model="m", max_tokens=20, system=system, messages=messages)
            usages.append(reply.usage)
    marked = 1 + 7 * 4000 // 4
    assert [usage.cache_creation_input_tokens for usage in usages] == [marked, 0, 0]
    assert [usage.cache_read_input_tokens for usage in usages] == [0, marked, marked]
    creation = usages[0].cache_creation
    assert creation is not None and creation.ephemeral_1h_input_tokens == marked
    records = server.live.records()
    assert records.cache_read_input_tokens.tolist() == [0, marked, marked]
    total = [
        u.input_tokens + (u.cache_creation_input_tokens or 0) + (u.cache_read_input_tokens or 0)
        for u in usages
    ]
    assert total == records.input_tokens.tolist()


def test_diagnostics_are_answered_from_the_tree(tmp_path: Path) -> None:
    """A new word in the system prompt, behind 1,000 tokens that stay: what it cost is what was marked."""
    with serving(config_file(tmp_path), "api") as server, anthropic_client(server) as client:

        def ask(rules: str, before: str | None) -> Any:
            mark: Any = {"type": "ephemeral"}
            return client.messages.create(
                model="m", max_tokens=2, messages=[{"role": "user", "content": "Well?"}],
                system=[{"type": "text", "text": rules, "cache_control": mark}],
                diagnostics={"previous_message_id": before},
            )  # fmt: skip

        first = ask("Rule. " * 4000, None)
        same = ask("Rule. " * 4000, first.id)
        other = ask("Rule. " * 3000 + "Other" + "Rule. " * 1000, first.id)
    assert first.diagnostics is None and same.diagnostics is None
    reason = other.diagnostics.cache_miss_reason
    assert reason.type == "system_changed" and other.usage.cache_read_input_tokens == 0
    assert reason.cache_missed_input_tokens == 1 + 6000
    assert server.live.shared_tokens(0, 2) == 1 + 4500


def test_a_stream_that_is_given_up_frees_its_blocks(tmp_path: Path) -> None:
    path = config_file(tmp_path)
    live: list[LiveSystem] = []

    def make() -> LiveSystem:
        live.append(open_system(load_config(path), "engine", 1.0))
        return live[0]

    with up(make) as server, openai_client(server) as client:
        server_: Up[LiveSystem] = server
        stream = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hello"}], stream=True, max_tokens=5000,
            extra_body={"ignore_eos": True},
        )  # fmt: skip
        for _ in zip(range(3), stream, strict=False):
            pass
        assert server_.live.state().kv_usage > 0
        stream.close()
        eventually(lambda: server_.live.state().aborted == 1)
        eventually(lambda: server_.live.state().running == 0)  # at the end of the step under way
        assert server_.live.state().kv_usage == 0
    assert live[0].records().status.tolist() == ["aborted"]


def test_time_goes_on_from_where_it_is_when_the_latency_changes(tmp_path: Path) -> None:
    """A factor of a thousandth: 0.05 s of the wall clock are 50 simulated ones; before, they were 0.05."""

    async def run() -> None:
        live = open_system(load_config(config_file(tmp_path)), "engine", 1.0)
        time_passes = asyncio.create_task(live.run())
        await asyncio.sleep(0.01)
        before = live.now_s
        live.slow_down(0.001)
        assert before <= live.now_s
        changed = live.now_s
        await asyncio.sleep(0.05)
        assert live.now_s - changed >= 40
        live.slow_down(1000.0)
        slow = live.now_s
        await asyncio.sleep(0.05)
        assert slow <= live.now_s < slow + 10
        live.stop()
        await time_passes

    asyncio.run(run())
