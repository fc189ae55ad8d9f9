"""The first run of README and front page, the ten turns, and how many profiles ship."""

from __future__ import annotations

from functools import cache
from typing import Any

from reports import rows, units
from sim import load_config, run
from sim.hardware.profile import load
from sim.hardware.shipped import FOLDER
from tests.docs.examples import ROOT
from tests.docs.made import Made, Sentences, percent


@cache
def summary(config: str, *settings: str) -> Any:
    """The summary of a shipped configuration."""
    return run(load_config(ROOT / "configs" / config, list(settings))).summary()


def _quickstart() -> dict[str, str]:
    found = summary("quickstart.yaml")
    table = {row.label: row for row in rows.compare(found, "vllm-h200")}
    heldout = load(FOLDER / "h200.llama-3.1-8b.tp1.yaml").heldout
    assert heldout is not None
    return {
        "requests": f"{found['requests']:,}",
        "inside": units.percent(1 - found["window"]["outside_ratio"]).replace("%", " %"),
        "tokens": table["prompt tokens computed"].saved_share.replace("%", " %"),
        "off": percent(heldout.errors.mape),
        **{
            f"{name}_{side}": text.removesuffix(" ms")
            for name, label in (("p50", "TTFT p50"), ("p99", "TTFT p99"), ("tpot", "TPOT mean"))
            for side, text in (("off", table[label].without), ("on", table[label].with_cache))
        },
    }


def _ten_turns() -> dict[str, str]:
    time, cost = summary("spec/4-ten-turns.yaml")["claims"]
    return {"time": percent(time["derived_saved"]), "cost": percent(cost["derived_saved"])}


def _profiles() -> dict[str, str]:
    return {"count": str(len(list(FOLDER.glob("*.yaml"))))}


MADE: dict[str, Made] = {
    "first run": Sentences(
        "README.md",
        "python -m sim run quickstart",
        _quickstart,
        (
            "\n{requests} chat requests on one H200, of which those that arrive in the steady part of "
            "the run are measured ({inside})",
            "the cache computes {tokens} fewer prompt tokens",
            "the median time to first token falls from {p50_off} to {p50_on} ms",
            "its p99 from {p99_off} to {p99_on} ms, and a token takes {tpot_on} instead of {tpot_off} ms",
            "measured tables of an H200, {off} off in a typical iteration",
        ),
    ),
    "front page": Sentences(
        "docs/index.md",
        "python -m sim run quickstart",
        _quickstart,
        ("two new chats a second on one H200, {requests} requests in all",),
    ),
    "ten turns": Sentences("README.md", "spec/", _ten_turns, ("turns out to be\n{time} and {cost}.",)),
    "ten turns, claims": Sentences(
        "docs/claims.md",
        "configs/spec/4-ten-turns.yaml",
        _ten_turns,
        ("ten equal turns save {time} of the tokens and {cost} of the input bill",),
    ),
    "profiles": Sentences("README.md", "docs/calibration.md", _profiles, ("({count} profiles ship)",)),
}
