"""The longest prefix that every group can serve, as vLLM 0.33.0 finds it
(``v1/core/kv_cache_coordinator.py``)."""

from __future__ import annotations

from sim.caches.groups.group import Group
from sim.caches.groups.kinds import Chunks, Full
from sim.caches.tables import MISS, BlockTable, Hit, covered_below, trailing


class Alike:
    """Groups of one kind: a block counts as cached only if each of them has it.

    With ``drops`` a draft model works on them: a match needs one block more, which is then dropped.
    """

    def __init__(self, groups: list[Group], drops: bool) -> None:
        self.kind = groups[0].kind
        self.numbers = [group.number for group in groups]
        self.drops = drops and self.kind.drops
        self._pool = groups[0].pool
        self._size = self._pool.block_size
        self.found: Hit | None = None
        """What the last lookup found, where there is one group and that is all it needs."""

    def longest(self, tables: list[BlockTable], tokens: int, drop: bool) -> int:
        """Blocks of the longest prefix of at most ``tokens`` tokens; with ``drop`` less the last one."""
        kind, size = self.kind, self._size
        self.found = None
        cap = tokens // size
        if isinstance(kind, Full):
            blocks = self._leading(tables, 0, cap)
        elif isinstance(kind, Chunks):
            blocks = self._leading(tables, kind.skipped_tokens(tokens) // size, cap)
        else:
            blocks = self._last_run(tables, cap, kind.last_blocks(size) + drop)
        return blocks - 1 if drop and blocks else blocks

    def hit(self, table: BlockTable, blocks: int) -> Hit:
        """What a group needs of a prefix of ``blocks`` blocks that all of these groups can serve."""
        if self.found is not None and self.found.blocks == blocks:
            return self.found
        size = self._size
        first = self.kind.skipped_tokens(blocks * size) // size
        hit = self._pool.leading(table.own_route(), first, blocks)
        assert hit.blocks == blocks
        return hit

    def _leading(self, tables: list[BlockTable], begin: int, cap: int) -> int:
        for number in self.numbers:
            hit = self._pool.leading(tables[number].own_route(), begin, cap)
            cap = hit.blocks or begin
        if not begin and len(self.numbers) == 1:
            self.found = hit
        return cap

    def _last_run(self, tables: list[BlockTable], cap: int, need: int) -> int:
        """The end of the last ``need`` cached blocks in a row; of fewer only at the beginning of the
        prompt."""
        resident, size, several = self._pool.resident, self._size, len(self.numbers) > 1
        end = pos = cap  # blocks pos .. end - 1 are cached
        while pos:
            low, apart, run = 0, False, None
            for number in self.numbers:
                found = covered_below(resident, tables[number].own_route(), size, pos)
                if found is None:
                    return 0
                lo, hi, run = found
                low = max(low, lo)
                if hi < pos:
                    end = pos = hi
                    apart = several  # the others have not been asked about what lies before
                    break
            if apart:
                continue
            if end - low >= need:
                if run is not None and pos == end and not several:
                    self.found = Hit(end, 0 if run.refs else need, [(run, end - need, end)])
                break
            pos = low
        return end


class Prefixes:
    """Finds prefixes for ``groups``; ``eagle`` says that a draft model works beside the model.

    A draft model works on full attention; where there is none, on all groups.
    """

    def __init__(self, groups: list[Group], eagle: bool) -> None:
        self._groups = groups
        self._pool = groups[0].pool
        self._size = self._pool.block_size
        names = dict.fromkeys(group.kind.name for group in groups)
        drafted = "full" if "full" in names else None
        alike = [
            Alike([group for group in groups if group.kind.name == name], eagle and drafted in (None, name))
            for name in names
        ]
        self._alike = sorted(alike, key=lambda one: not isinstance(one.kind, Full))
        self._has_full = isinstance(self._alike[0].kind, Full)
        self.is_plain = self._has_full and len(self._alike) == len(groups) == 2 and not eagle
        self._first, self._second = self._alike[0].numbers[0], self._alike[-1].numbers[0]
        self._need = self._alike[-1].kind.last_blocks(self._size)
        """Blocks that the last kind needs wherever a prefix ends; 0 if that depends on where."""

    def find(self, tables: list[BlockTable], known_tokens: int) -> Hit:
        """The longest prefix of the first ``known_tokens`` tokens; at least one token is left to compute.

        Each kind may shorten the candidate; where one did, the others are asked again until nobody does.
        """
        size = self._size
        if len(self._groups) == 1:
            (alone,) = self._alike
            return self._hit(tables, alone.longest(tables, known_tokens - 1, alone.drops), 0)
        tokens, longest, full = known_tokens - 1, 0, -1
        dropped: set[int] = set()
        while True:
            current = tokens
            for i, alike in enumerate(self._alike):
                if not i and full >= 0:  # what full attention found is only trimmed
                    current = min(current, full)
                    continue
                drop, upto = alike.drops and i not in dropped, current
                if drop:
                    upto = min(current + size, known_tokens // size * size)
                found = alike.longest(tables, upto, drop) * size
                if drop:
                    dropped.add(i)
                elif found < current:
                    dropped.clear()
                current = found
                if not i and self._has_full:
                    full = found
                longest = max(longest, current)
            if current >= tokens:
                break
            tokens = current
            if self._has_full and len(self._alike) == 2:
                break
        return self._hit(tables, tokens // size, longest)

    def find_plain(self, tables: list[BlockTable], known_tokens: int) -> Hit:
        """`find` where `is_plain`, a group of full attention and another one: each is asked once."""
        first, second, size, need = self._first, self._second, self._size, self._need
        resident = self._pool.resident
        hit = self._pool.leading(tables[first].own_route(), 0, (known_tokens - 1) // size)
        longest = hit.blocks
        if not longest:
            return MISS
        if 0 < need <= longest:
            usual = trailing(resident, tables[second], size, longest, need)
            if usual is not None:
                hit.idle += usual.idle
                hit.groups = [None, usual] if first == 0 else [usual, None]
                return hit
        other = self._alike[1]
        blocks = other.longest(tables, longest * size, False)
        if not blocks:
            hit = Hit(0, 0, [])
            hit.junction = longest * size
            return hit
        if blocks < longest:
            hit = self._pool.leading(tables[first].route, 0, blocks)
            hit.junction = longest * size
        last = other.hit(tables[second], blocks)
        hit.idle += last.idle
        hit.groups = [None, last] if first == 0 else [last, None]
        return hit

    def _hit(self, tables: list[BlockTable], blocks: int, longest_tokens: int) -> Hit:
        tokens = blocks * self._size
        if not longest_tokens and not blocks:
            return MISS
        hits: list[Hit | None] = [MISS] * len(self._groups)
        idle = 0
        if blocks:
            for alike in self._alike:
                for number in alike.numbers:
                    found = hits[number] = alike.hit(tables[number], blocks)
                    idle += found.idle
        hit = Hit(blocks, idle, [])
        hit.groups = hits
        hit.junction = longest_tokens if longest_tokens > tokens else 0
        return hit
