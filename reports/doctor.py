"""What the doctor found, as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports import units
from sim.doctor.causes import BEGINNINGS, CAUSES
from sim.doctor.outcome import Diagnosis, Expected, WhatIf

SHOWN = 12
"""So many changes, versions and sessions are told at a terminal."""
KINDS = ("client", "upper bound", "other answers")
"""Kinds of changes in the order in which they are told."""
NOTHING_USD = 0.005
"""Changes that move less than that are not told."""


def in_short(diagnosis: Diagnosis) -> str:
    """What caching saved, what was lost, and the one thing to change."""
    billed, lost = diagnosis["billed_usd"], diagnosis["lost_usd"]
    first = (
        f"Caching saved {units.usd(diagnosis['saved_usd'])}: the input of {diagnosis['calls']:,} calls was "
        f"billed {units.usd(billed)} instead of {units.usd(diagnosis['uncached_usd'])}; "
        f"{units.usd(lost)} ({units.percent(diagnosis['lost_share'])}) was lost to misses."
    )
    return f"{first} {_one_thing(diagnosis)}"


def _one_thing(diagnosis: Diagnosis) -> str:
    mine = [one for one in in_order(diagnosis["what_if"]) if one["kind"] == "client"]
    best = next((one for one in mine if holds(one)), None)
    if best is not None:
        return f"The one thing to change: {best['change']} (saves {saving(best)})."
    if mine and mine[0]["interval"] is None and mine[0]["usd"] > 0:
        best = mine[0]
        return f"Best for this one session: {best['change']} (saves {saving(best)}, without an interval)."
    if not diagnosis["what_if"]:
        worst = next((one for one in diagnosis["causes"] if one["cause"] not in BEGINNINGS), None)
        return "" if worst is None else f"Most of it: {worst['cause']}, {CAUSES[worst['cause']].text}."
    return "No change that was tried surely saves anything."


def holds(one: WhatIf) -> bool:
    """Whether a change saves something in all of its interval."""
    return one["usd"] > NOTHING_USD and one["interval"] is not None and one["interval"][0] > 0


def saving(one: WhatIf) -> str:
    """Dollars saved with their interval."""
    if one["interval"] is None:
        return units.usd(one["usd"])
    low, high = one["interval"]
    return f"{units.usd(one['usd'])}, 95 %: {units.usd(low)} to {units.usd(high)}"


def how_exact(diagnosis: Diagnosis) -> list[str]:
    """How far the rules reproduce the bill."""
    calls, billed, error = diagnosis["calls"], diagnosis["billed_usd"], diagnosis["absolute_error_usd"]
    exact, near = diagnosis["exact"], diagnosis["within_1_percent"]
    lines = [
        f"{exact:,} of {calls:,} calls exact ({exact / calls:.1%}), {near:,} within 1 % of the prompt "
        f"({near / calls:.1%}); {diagnosis['given']:,} of them begin a thread and are taken as billed",
        f"input billed {units.usd(billed)}, by the rules {units.usd(diagnosis['predicted_usd'])}; "
        f"differences added up {units.usd(error)}" + (f" ({error / billed:.1%})" if billed else ""),
    ]
    lines += [expectation(one) for one in diagnosis["expected"]]
    if "invoice" in diagnosis:
        lines += list(_reconciled(diagnosis))
    return lines


def expectation(one: Expected) -> str:
    """A half of the lanes by the losses of the other."""
    return (
        f"with losses as an expectation fitted on the other half: {one['lanes']:,} lanes billed "
        f"{units.usd(one['billed_usd'])}, expected {units.usd(one['expected_usd'])} "
        f"({one['expected_error']:+.1%}; by the rules alone {one['rules_error']:+.1%})"
    )


def _reconciled(diagnosis: Diagnosis) -> Iterator[str]:
    invoice = diagnosis["invoice"]
    difference = invoice["difference_usd"]
    yield (
        f"invoice {units.usd(invoice['invoice_usd'])}: input {units.usd(invoice['input_usd'])}, output "
        f"{units.usd(invoice['output_usd'])} as far as it is logged, {units.usd(difference)} not in the log"
    )
    least = invoice["unlogged_at_least_usd"]
    if difference < 0:
        yield "the log comes to more than the invoice: other prices, credits, or calls of another account"
    elif least:
        yield (
            f"calls that were not logged wrote at least {units.usd(least)} of it: logged calls read what "
            "no logged call had written; the rest is output, or calls that left no trace"
        )
    else:
        yield "no logged call read what an unlogged one wrote: the log bounds such calls in no way"


def table(diagnosis: Diagnosis) -> RenderableType:
    """Everything, the sentence first."""
    parts: list[RenderableType] = [Text(in_short(diagnosis), "bold"), Text("")]
    parts += [Text(line) for line in how_exact(diagnosis)]
    parts += [Text(""), _causes(diagnosis)]
    if diagnosis["what_if"]:
        mine = [one for one in diagnosis["what_if"] if one["kind"] != KINDS[-1]]
        others = [one for one in diagnosis["what_if"] if one["kind"] == KINDS[-1]]
        parts += [Text(""), _what_if("What to change, by replay", mine)]
        parts += [Text(""), _what_if("What would change answers too", others)]
    lost = [one for one in diagnosis["lost_alive"] if one["lost"]]
    if lost:
        parts += [Text(""), _alive(diagnosis)]
    for title, entries in (
        ("By session", diagnosis["by_session"][:5]),
        ("By project", diagnosis["by_project"][:5]),
        ("Over time", diagnosis["by_day"][-SHOWN:]),
    ):
        if len(entries) > 1:
            parts += [Text(""), _groups(title, entries)]
    parts += [Text(f"note: {note}", "dim") for note in diagnosis["notes"]]
    return Group(*parts)


def _grid(title: str, *columns: str) -> Table:
    out = Table(title=Text(title, "bold"), title_justify="left", pad_edge=False, box=None)
    for number, column in enumerate(columns):
        last = number == len(columns) - 1
        out.add_column(column, justify="left" if last else "right", overflow="fold", no_wrap=not last)
    return out


def _causes(diagnosis: Diagnosis) -> Table:
    out = _grid("Why less was read than there was", "USD", "calls", "tokens", "cause")
    for cause in diagnosis["causes"]:
        reason = f" [{cause['provider_reason']}]" if cause["provider_reason"] else ""
        out.add_row(
            units.usd(cause["usd"]),
            f"{cause['calls']:,}",
            units.tokens(cause["tokens"]),
            Text(f"{cause['cause']}: {CAUSES[cause['cause']].text}{reason}"),
        )
    return out


def _what_if(title: str, changes: Sequence[WhatIf]) -> Table:
    out = _grid(title, "saves", "95 % from", "to", "change")
    for one in in_order(changes):
        low, high = one["interval"] or (None, None)
        out.add_row(
            units.usd(one["usd"]),
            "" if low is None else units.usd(low),
            "" if high is None else units.usd(high),
            Text(one["change"] + verdict(one), "" if one["usd"] > 0 else "dim"),
        )
    return out


def in_order(changes: Sequence[WhatIf]) -> list[WhatIf]:
    """Changes that move something: what a client can do, then bounds, then what changes answers."""
    moving = [one for one in changes if abs(one["usd"]) >= NOTHING_USD]
    return sorted(moving, key=lambda one: (KINDS.index(one["kind"]), -one["usd"]))


def verdict(one: WhatIf) -> str:
    """What is said behind a change: that it costs more, that nothing is sure, what it rests on."""
    if one["usd"] < 0:
        return ": costs more"
    kind = " (upper bound)" if one["kind"] == "upper bound" else ""
    return kind if holds(one) or one["interval"] is None else f"{kind}: not sure to save"


def _alive(diagnosis: Diagnosis) -> Table:
    out = _grid("Lost inside the lifetime", "USD", "lost", "of calls", "share", "version, turn")
    for one in diagnosis["lost_alive"][:SHOWN]:
        out.add_row(
            units.usd(one["usd"]),
            f"{one['lost']:,}",
            f"{one['calls']:,}",
            units.percent(one["share"]),
            Text(f"{one['client']}, {one['turn']}"),
        )
    return out


def _groups(title: str, entries: Sequence[object]) -> Table:
    out = _grid(title, "lost", "of bill", "calls", "which, worst cause")
    for one in entries:
        assert isinstance(one, dict)
        out.add_row(
            units.usd(one["lost_usd"]),
            units.percent(one["lost_share"]),
            f"{one['calls']:,}",
            Text(units.printable(", ".join(filter(None, (one["name"], one["worst"]))))),
        )
    return out
