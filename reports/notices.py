"""What a reader of a run's page has to know, once each and only of what it concerns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from reports import units
from sim.results.summary import Summary

NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
"""A number by itself, none that is part of a name or version."""
TYPICAL = re.compile(r"typically ([\d.]+) ?%")
EXACT = "Bills of hosted APIs are exact: what the published prices say of every call."
SHOWN_NAMES = 4


def typical(summary: Summary) -> str:
    """How far off uncalibrated times are, as the end of a sentence; empty where nothing says so."""
    return _off(summary, calibrated=False)


def exact(summary: Summary) -> str:
    """What is exact in the figures, and how far off measured times are."""
    said = []
    if any(entry["cost"]["pricing"] == "provider" for entry in summary["systems"].values()):
        said.append(EXACT)
    if any(entry["calibrated"] for entry in summary["systems"].values()):
        said.append(
            f"Times of own GPUs are estimates from measured iterations{_off(summary, calibrated=True)}."
        )
    return " ".join(said)


def _off(summary: Summary, *, calibrated: bool) -> str:
    found = [
        float(match[1])
        for entry in summary["systems"].values()
        if entry["calibrated"] is calibrated
        for note in entry["notes"]
        if (match := TYPICAL.search(note))
    ]
    if not found:
        return ""
    low, high = (f"{value:g}" for value in (min(found), max(found)))
    return f", an iteration typically {low if low == high else f'{low} to {high}'} % off"


def sorted_notes(summary: Summary) -> tuple[list[tuple[str, str]], dict[str, list[str]]]:
    """Notes that several systems share, each once with whom it concerns; and the others of each system.

    With one system all notes are its own.
    """
    systems = summary["systems"]
    concerned: dict[str, list[str]] = {}
    for name, entry in systems.items():
        for note in dict.fromkeys(entry["notes"]):
            concerned.setdefault(note, []).append(name)
    shared = {note: names for note, names in concerned.items() if len(names) > 1 or len(systems) == 1}
    own = {
        name: [note for note in dict.fromkeys(entry["notes"]) if note not in shared]
        for name, entry in systems.items()
    }
    return [(whom(names, len(systems)), note) for note, names in shared.items()], own


def merged(said: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Texts, each once with whom it concerns; those in which one number differs are one, with its range.

    >>> merged([("a", "1.3% of the time"), ("b", "0.9% of the time"), ("a", "hits only")])
    {'0.9 to 1.3% of the time': ['a', 'b'], 'hits only': ['a']}
    """
    alike: dict[str, dict[str, list[str]]] = {}
    for name, text in said:
        alike.setdefault(NUMBER.sub("#", text), {}).setdefault(text, []).append(name)
    out: dict[str, list[str]] = {}
    for texts in alike.values():
        numbers = list(zip(*(NUMBER.findall(text) for text in texts), strict=True))
        differ = [place for place, shown in enumerate(numbers) if len(set(shown)) > 1]
        if len(differ) != 1:
            out.update(texts)
            continue
        ordered = sorted(numbers[differ[0]], key=lambda number: float(number.replace(",", "")))
        first = next(iter(texts))
        place = list(NUMBER.finditer(first))[differ[0]]
        text = f"{first[: place.start()]}{ordered[0]} to {ordered[-1]}{first[place.end() :]}"
        out[text] = list(dict.fromkeys(name for names in texts.values() for name in names))
    return out


def whom(names: list[str], of: int) -> str:
    """Whom of so many systems a text concerns; empty where there is only one."""
    if of == 1:
        return ""
    if len(names) == of:
        return "All systems"
    shown = [units.printable(name) for name in names[:SHOWN_NAMES]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def counted(summary: Summary) -> str:
    """How many warnings there are, and what about: '2 warnings about 1 system: overloaded (2)'."""
    kinds: Counter[str] = Counter()
    systems = 0
    for name, entry in summary["systems"].items():
        found = [*entry["warnings"], *summary["no_cache"][name]["warnings"]]
        systems += bool(found)
        kinds.update(kind(text) for text in found)
    kinds.update("the run as a whole" for _ in summary["warnings"])
    total = kinds.total()
    about = (
        f" about {systems} system{'s' * (systems != 1)}" if systems and len(summary["systems"]) > 1 else ""
    )
    listed = ", ".join(f"{what} ({count})" for what, count in kinds.most_common())
    return f"{total} warnings{about}: {listed}"


KINDS = {
    "overloaded": "overloaded",
    "get no reply": "requests without a reply",
    "not settled": "hit rate not settled",
    "full only after": "cache filled late",
    "still filling": "cache still filling",
    "are few for": "few requests for percentiles",
    "no request arrives": "nothing measured",
}
"""What a warning is about, by words in it."""


def kind(text: str) -> str:
    """What a warning is about, in few words.

    >>> kind("its cache is still filling at the end: ..."), kind("something else")
    ('cache still filling', 'other')
    """
    return next((said for words, said in KINDS.items() if words in text), "other")
