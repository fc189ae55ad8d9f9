"""Naive message caches: lists of entries in order of use, searched and shortened one by one."""

from __future__ import annotations

LAYERS = ("system", "conversation", "recent")


def message_hits(
    lists: list[list[str]], lengths: dict[str, int], match: str, capacity: int, reply: bool
) -> list[int]:
    """Hit tokens per request of a store of ``capacity`` tokens, entries (message list, tokens)."""
    stored: list[tuple[tuple[str, ...], int]] = []

    def use(entry: tuple[str, ...], tokens: int) -> None:
        if (entry, tokens) in stored:
            stored.remove((entry, tokens))
        elif tokens > capacity:
            return
        stored.append((entry, tokens))

    expected = []
    for prompt in lists:
        whole = tuple(prompt)
        full = (*whole, "reply") if reply else whole
        total = sum(lengths[name] for name in whole)
        known = {entry for entry, _ in stored}
        if match == "whole":
            expected.append(total if whole in known else 0)
            use(whole, total)
            if reply:
                use(full, total + lengths["reply"])
        else:
            hit = 0
            for n in range(1, len(whole) + 1):
                if whole[:n] not in known:
                    break
                hit += lengths[whole[n - 1]]
            expected.append(hit)
            for n in range(len(full), 0, -1):
                use(full[:n], lengths[full[n - 1]])
        while sum(tokens for _, tokens in stored) > capacity:
            stored.pop(0)
    return expected


def layered_hits(
    lists: list[tuple[str, ...]],
    times: list[float],
    lengths: dict[str, int],
    lifetimes: tuple[int | None, ...],
    capacities: tuple[int | None, ...],
) -> list[dict[str, int]]:
    """Hit tokens per request and layer; each layer is a list of (message list, last use)."""
    layers: list[list[tuple[tuple[str, ...], float]]] = [[], [], []]
    expected = []
    for at, whole in zip(times, lists, strict=True):
        found: dict[str, int] = {}
        for n in range(1, len(whole) + 1):
            homes = []
            for i, entries in enumerate(layers):
                expired = [e for e in entries if e[0] == whole[:n] and lifetimes[i] is not None]
                for entry in expired:
                    if at - entry[1] > (lifetimes[i] or 0):
                        entries.remove(entry)
                if any(entry == whole[:n] for entry, _ in entries):
                    homes.append(LAYERS[i])
                    break
            if not homes:
                break
            found[homes[0]] = found.get(homes[0], 0) + lengths[whole[n - 1]]
        expected.append(found)
        full = (*whole, "reply")
        for n in range(len(full), 0, -1):
            home = 0 if n == 1 else 2 if n >= len(whole) else 1
            size = lengths[full[n - 1]]
            was_there = any(entry == full[:n] for entry, _ in layers[home])
            for entries in layers:
                entries[:] = [e for e in entries if e[0] != full[:n]]
            if was_there or size <= (capacities[home] or size):
                layers[home].append((full[:n], at))
        for i, entries in enumerate(layers):
            while sum(lengths[entry[-1]] for entry, _ in entries) > (capacities[i] or 10**9):
                entries.pop(0)
    return expected
