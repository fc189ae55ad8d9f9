"""What each family of trace formats knows of one conversation: which prompt tokens were there before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from reports import canvas
from reports.canvas import Figure
from workloads import writing
from workloads.content import ROOT
from workloads.registry import FORMATS, WorkloadConfig
from workloads.trace import Trace

CHAT: dict[str, Any] = {
    "kind": "chat",
    "sessions": 1,
    "turns": 6,
    "user_tokens": 120,
    "reply_tokens": 300,
    "arrival": {"rate_per_s": 1},
}
BLOCK_TOKENS = 512
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@canvas.styled
def families() -> Figure:
    """The prompts of one chat, written in a format of each family and read again."""
    figure = Figure(figsize=(6.8, 2.7), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for panel, (title, trace) in zip(axes, _read_again().items(), strict=True):
        prompts = np.array(trace.input_tokens)
        turns = np.arange(1, len(trace) + 1)
        if trace.lengths_only:
            panel.bar(turns, prompts, 0.7, color=canvas.IDLE, label="nobody knows")
        else:
            known = np.array(_known_tokens(trace))
            panel.bar(turns, known, 0.7, color=canvas.CACHED, label="there before")
            panel.bar(turns, prompts - known, 0.7, bottom=known, color=canvas.COMPUTED, label="new")
        panel.set(title=title, xlabel="turn", xticks=turns)
        panel.yaxis.set_major_formatter(canvas.plain())
        panel.grid(visible=False, axis="x")
        panel.legend(loc="upper left", fontsize=7.5)
    axes[0].set(ylabel="prompt tokens", ylim=(0, 1.3 * prompts.max()))
    return figure


def _read_again() -> dict[str, Trace]:
    """The conversation as the importers of three formats see it."""
    chat = TypeAdapter[Any](WorkloadConfig).validate_python(CHAT).build(1, Path())
    with TemporaryDirectory() as name:
        ids, blocks, lengths = (Path(name, file) for file in ("ids.jsonl", "blocks.jsonl", "lengths.csv"))
        writing.tokens(chat, ids)
        writing.mooncake(chat, blocks, BLOCK_TOKENS)
        _lengths(chat, lengths)
        return {
            "texts or token ids": _import("tokens", ids),
            f"ids of {BLOCK_TOKENS}-token blocks": _import("mooncake", blocks, block_size=BLOCK_TOKENS),
            "lengths only": _import("azure", lengths),
        }


def _import(kind: str, path: Path, **settings: Any) -> Trace:
    config = {"kind": "trace", "format": kind, "path": path} | settings
    trace: Trace = FORMATS[kind].model_validate(config).build(0, path.parent)
    return trace


def _lengths(trace: Trace, path: Path) -> None:
    """In Azure's form."""
    rows = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for at_s, i in trace.instant_order():
        at = FIRST + timedelta(seconds=at_s)
        rows.append(f"{at:%Y-%m-%d %H:%M:%S.%f}0,{trace.input_tokens[i]},{trace.output_tokens[i]}")
    path.write_text("\n".join(rows), encoding="utf-8")


def _known_tokens(trace: Trace) -> list[int]:
    """For each request the leading tokens of its prompt that earlier prompts and replies have."""
    content, known = trace.content, {ROOT}
    found = []
    for prompt, reply in zip(trace.prompt, trace.reply, strict=True):
        found.append(max((content.end[at] for at in content.path(prompt) if at in known), default=0))
        known.update(content.path(reply))
    return found
