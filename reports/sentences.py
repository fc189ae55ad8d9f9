"""What caching did for a system, in one plain sentence made from the numbers."""

from __future__ import annotations

from typing import Any

from reports import comparison, units
from reports.rows import UNCHANGED, is_replay, saved_bounds, sizes
from sim.results.summary import Bounds, SavedFigure, Saving, Summary, WeighedClaim
from sim.results.summary_cost import Regret

QUANTITIES = {
    "computed_tokens": "computed prompt tokens",
    "prefill_time": "prefill time",
    "input_cost": "the bill for prompts",
    "cost": "the whole bill",
    "ttft": "mean time to first token",
}


def sentence(summary: Summary, system: str) -> str:
    """One sentence on tokens, time and money saved; it says so where nothing is saved."""
    saved = summary["savings"][system]
    if not summary["systems"][system]["sessions"]:
        return "No request was measured."
    parts = [
        _tokens(saved["computed_prompt_tokens"], _share_bounds(summary, system, "computed_prompt_tokens"))
    ]
    objects = summary["systems"][system]["cost"].get("bill", {}).get("cache_object_tokens")
    if objects:
        parts.append(f"but making cache objects computes {units.tokens(objects)} tokens")
    if is_replay(summary["systems"][system]):
        parts.append("a replay has no times")
    else:
        parts.append(_change("the median TTFT", saved["p50_ttft_ms"], _time_pair))
        parts.append(_change("GPU busy time", saved["gpu_busy_seconds"]))
    bill = saved["cost_usd_total"]
    if summary["systems"][system]["cost"]["pricing"] == "gpu_hours":
        parts.append(_change("the bill for the GPU-hours held", bill))
    elif summary["systems"][system]["cost"]["pricing"] == "provider":
        parts.append(_change("the provider's bill", bill, _usd_pair))
        parts.append(_regret(summary["systems"][system].get("regret")))
    else:
        parts.append(_change("the bill at token prices", bill, _usd_pair))
    before, after = (summary[part][system] for part in ("no_cache", "systems"))
    if before["failed"] or after["failed"]:
        completed = units.count_of(before["completed"]), units.count_of(after["completed"])
        parts.append(
            "only completed requests are counted, {} without and {} with the cache".format(*completed)
        )
    return "; ".join(part for part in parts if part) + "."


def answer(summary: Summary) -> str:
    """What a run's page says first: the best system and what its cache saves."""
    names = list(summary["systems"])
    compared = summary["comparison"]
    if compared is None:
        return sentence(summary, names[0])
    return f"{comparison.sentence(summary)}{_saving(summary, compared['rows'][0]['system'])}"


def _saving(summary: Summary, system: str) -> str:
    """What the cache of the best system saves; empty where nothing is known of it."""
    figure = summary["savings"][system]["computed_prompt_tokens"]
    if not summary["systems"][system]["sessions"] or figure["saved_ratio"] is None:
        return ""
    if not figure["saved_ratio"]:
        return " Its cache saves no prompt tokens."
    bounds = _share_bounds(summary, system, "computed_prompt_tokens")
    tokens = units.bounded(figure["saved_ratio"], bounds, units.percent)
    out = f" Its cache saves {tokens} of the prompt tokens"
    bill = summary["savings"][system]["cost_usd_total"]["saved_ratio"]
    if (
        bill is not None
        and summary["systems"][system]["cost"]["pricing"] != "gpu_hours"
        and abs(bill) >= UNCHANGED
    ):
        share = units.bounded(
            abs(bill), sizes(_share_bounds(summary, system, "cost_usd_total")), units.percent
        )
        out += f" and {share} of the bill" if bill > 0 else f", and adds {share} to the bill"
    return out + "."


def _share_bounds(summary: Summary, system: str, key: SavedFigure) -> Bounds:
    """The interval of a saved share; None where it has none."""
    _, of_share = saved_bounds(summary, system, key)
    return of_share


def _tokens(figure: Saving, bounds: Bounds) -> str:
    without, with_cache = figure["without"], figure["with"]
    assert without is not None and with_cache is not None
    if not figure["saved_ratio"]:
        return f"Caching saves no prompt tokens: all {units.tokens(without)} are computed"
    less = units.bounded(figure["saved_ratio"], bounds, units.percent)
    return (
        f"Caching computes {less} fewer prompt tokens ({units.tokens(with_cache)} instead of "
        f"{units.tokens(without)})"
    )


def _change(what: str, figure: Saving, pair: Any = None) -> str:
    without, with_cache, ratio = figure["without"], figure["with"], figure["saved_ratio"]
    if without is None or with_cache is None or ratio is None:
        return ""
    if abs(ratio) < UNCHANGED:
        return f"{what} does not change"
    verb = "falls" if ratio > 0 else "rises"
    if pair is not None:
        before, after = pair(without, with_cache)
        if before != after:
            return f"{what} {verb} from {before} to {after}"
    return f"{what} {verb} by {units.percent(abs(ratio))}"


def _regret(regret: Regret | None) -> str:
    """How far the strategy is from the best one for this trace."""
    if regret is None or regret["regret_ratio"] is None:
        return ""
    if regret["regret_ratio"] < UNCHANGED:
        return "no other strategy for marks and lifetimes is cheaper"
    more = units.percent(regret["regret_ratio"])
    return f"that is {more} more than the best strategy ({regret['best_strategy']})"


def _time_pair(without_ms: float, with_ms: float) -> tuple[str, str]:
    before, after = units.times_ms(without_ms, with_ms)
    return before, after


def _usd_pair(without: float, with_cache: float) -> tuple[str, str]:
    return units.usd(without), units.usd(with_cache)


def claim_figures(claim: WeighedClaim) -> str:
    """The claimed saving beside the derived one."""
    quantity = QUANTITIES.get(claim["quantity"], claim["quantity"].replace("_", " "))
    derived = claim["derived_saved"]
    found = "no figure can be derived" if derived is None else f"{units.percent(derived)} derived"
    return f"saving in {quantity}: {units.percent(claim['claimed_saved'])} claimed, {found} from this trace"


def claim_verdict(claim: WeighedClaim) -> str:
    """Whether the claim holds, in words."""
    if claim["derived_saved"] is None:
        return "not decided"
    return "holds" if claim["holds"] else "does not hold"
