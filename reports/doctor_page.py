"""What the doctor found, as a page and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from reports import doctor_figures, files, units
from reports.doctor import how_exact, in_order, in_short, verdict
from reports.frame import Part, Row, study
from reports.inline import Image, image
from sim.doctor.causes import CAUSES
from sim.doctor.outcome import Diagnosis, GroupEntry

FILES = ("doctor.html", "doctor.json")
ROWS = 20
SAVES = ("change", "saves", "95 % from", "to")
DEFINITIONS = (
    (
        "Exact, by the rules",
        "Each call is predicted from the calls of its thread before it, by the provider's published rules. "
        "A call is exact if read, write and plain input all equal the bill to the token.",
    ),
    (
        "Lost",
        "Tokens that the call before had left and that were not read: what writing them cost above reading "
        "them. First calls of threads have nothing before them and are not counted as lost.",
    ),
    (
        "Cause and the provider's word",
        "The first cause that holds, in the order: what the client changed, then time, then what nothing "
        "foretells. In brackets the reason that the provider's own diagnosis would name.",
    ),
    (
        "What to change",
        "The same calls replayed with one thing changed, beside a replay of what was done; both by the "
        "rules, so losses that no rule foretells are in neither. Intervals: sessions drawn again with "
        "repetition.",
    ),
    (
        "Nothing leaves the machine",
        "The page has sizes, times and dollars. No text of the log is kept or shown; sessions and projects "
        "are numbered in the order of the log.",
    ),
)
"""Terms of the page and what they mean."""


def write(diagnosis: Diagnosis, folder: Path) -> list[Path]:
    """Write doctor.html and doctor.json into ``folder``, both or none; return their paths."""
    text = json.dumps(diagnosis, indent=1, allow_nan=False) + "\n"
    contents = (render(diagnosis), text)
    files.put(folder, {name: content.encode() for name, content in zip(FILES, contents, strict=True)})
    return [folder / name for name in FILES]


def render(diagnosis: Diagnosis) -> str:
    """The page as HTML5 text: the same log gives the same bytes."""
    return study(
        subject="what cache misses cost",
        name="Cache doctor",
        definitions=DEFINITIONS,
        about=(
            f"{diagnosis['calls']:,} billed calls of {diagnosis['sessions']:,} sessions "
            f"({diagnosis['lanes']:,} threads), held against the caching rules. "
            "Dollars are those of the input."
        ),
        answer=units.unbroken(in_short(diagnosis)),
        notes=[line[:1].upper() + line[1:] + "." for line in how_exact(diagnosis)] + diagnosis["notes"],
        parts=[part for part in _parts(diagnosis) if part.rows],
    )


def _parts(diagnosis: Diagnosis) -> Iterator[Part]:
    yield _changes(diagnosis)
    yield _causes(diagnosis)
    yield _elsewhere(diagnosis)
    yield _alive(diagnosis)
    yield from (
        _part(title, about, ("which", "lost", "of its bill", "billed", "calls"), _groups(entries), images)
        for title, about, entries, images in (
            (
                "Over time",
                "",
                diagnosis["by_day"],
                [image(one) for one in doctor_figures.of_time(diagnosis)],
            ),
            ("By session", "Those that lost most.", diagnosis["by_session"], []),
            ("By project", "", diagnosis["by_project"], []),
            ("By version of the client", "", diagnosis["by_version"], []),
        )
    )


def _part(
    title: str, about: str, headings: Sequence[str], rows: list[Row], images: Sequence[Image] = ()
) -> Part:
    return Part(title, about, images, headings, rows)


def _line(cells: Sequence[str], text: str, more: str = "", *, dim: bool = False) -> Row:
    """A row of a table: what it is about with its small print, then figures."""
    return Row((text, *cells), look="dim" if dim else "", small=more)


def _lines(diagnosis: Diagnosis, elsewhere: bool) -> list[Row]:
    """Changes with what they save: those of the client, or those that change answers too."""
    lines = []
    for one in in_order(diagnosis["what_if"]):
        if (one["kind"] == "other answers") == elsewhere:
            low, high = (
                ("", "") if one["interval"] is None else (units.usd(bound) for bound in one["interval"])
            )
            cells = (units.usd(one["usd"]), low, high)
            lines.append(_line(cells, one["change"] + verdict(one), one["note"], dim=one["usd"] < 0))
    return lines


def _elsewhere(diagnosis: Diagnosis) -> Part:
    return _part(
        "What would change answers too",
        "Other models, on their providers' terms or on own GPUs, and histories cut elsewhere: bills are "
        "compared, not answers.",
        SAVES,
        _lines(diagnosis, elsewhere=True),
    )


def _changes(diagnosis: Diagnosis) -> Part:
    return _part(
        "What to change",
        "Each by replay with that one thing changed, the best first: what a client can do, then bounds "
        "that none reaches. Negative ones cost more.",
        SAVES,
        _lines(diagnosis, elsewhere=False),
        [image(one) for one in doctor_figures.of_changes(diagnosis)],
    )


def _causes(diagnosis: Diagnosis) -> Part:
    rows = [
        _line(
            (units.usd(one["usd"]), f"{one['calls']:,}", units.tokens(one["tokens"])),
            one["cause"].replace("_", " ")
            + (f" [{one['provider_reason']}]" if one["provider_reason"] else ""),
            CAUSES[one["cause"]].text,
        )
        for one in diagnosis["causes"]
    ]
    said = [f"{one['reason']}: {one['said']:,}" for one in diagnosis["reasons"] if one["said"]]
    about = "In brackets what the provider's own diagnosis calls it."
    if said:
        about += f" It is in the log for {', '.join(said)} calls."
    return _part(
        "Why less was read than there was",
        about,
        ("cause", "USD", "calls", "tokens"),
        rows,
        [image(one) for one in doctor_figures.of_causes(diagnosis)],
    )


def _alive(diagnosis: Diagnosis) -> Part:
    rows = [
        _line(
            (units.usd(one["usd"]), f"{one['lost']:,}", f"{one['calls']:,}", units.percent(one["share"])),
            f"{one['client']}, {one['turn']} turns",
        )
        for one in diagnosis["lost_alive"][:ROWS]
    ]
    about = (
        "Calls whose prefix was there by the rules and was not found. A version of the client that stands "
        "out is a regression of the client or of the server."
    )
    lost = any(one["lost"] for one in diagnosis["lost_alive"])
    return _part(
        "Lost inside the lifetime",
        about,
        ("version, turn", "USD", "lost", "of calls", "share"),
        rows if lost else [],
    )


def _groups(entries: Sequence[GroupEntry]) -> list[Row]:
    if len(entries) < 2:
        return []
    return [
        _line(
            (
                units.usd(one["lost_usd"]),
                units.percent(one["lost_share"]),
                units.usd(one["billed_usd"]),
                f"{one['calls']:,}",
            ),
            one["name"],
            one["worst"].replace("_", " "),
        )
        for one in entries
    ]
