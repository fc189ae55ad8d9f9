"""Sets of modules by name, as quantisation configurations give them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

from workloads.errors import InputError

WRAPPERS = re.compile(r"^(model\.|language_model\.|backbone\.|transformer\.)+")
"""What checkpoints put before ``layers.N.``; it depends on who saved them."""


class Modules:
    """Modules whose name, or that of one around them, is given: in full, in part, or by a pattern.

    ``lm_head``, ``mlp.gate`` and ``model.layers.3.mlp`` name modules and all that is in them, ``*``
    stands for anything, ``re:`` begins a regular expression.

    >>> some = Modules(["gate", "model.layers.1.*", "re:.*shared_experts.*"])
    >>> [name for name in ("model.layers.0.mlp.gate", "model.layers.0.mlp.gate_proj",
    ...                    "model.layers.1.mlp.up_proj", "model.layers.10.mlp.up_proj") if name in some]
    ['model.layers.0.mlp.gate', 'model.layers.1.mlp.up_proj']
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._plain: set[str] = set()
        patterns, expressions = [], []
        for name in names:
            if name.startswith("re:"):
                expressions.append(f"(?:{name[3:]})")
            elif "*" in name:
                patterns.append(translate(WRAPPERS.sub("", name)).removesuffix(r"\Z") + r"(?:\..*)?")
            else:
                self._plain.add(WRAPPERS.sub("", name))
        try:
            self._pattern = re.compile("|".join(patterns)) if patterns else None
            self._expression = re.compile("|".join(expressions)) if expressions else None
        except re.error as error:
            raise InputError(f"quantization_config: {error} in a regular expression") from None

    def __contains__(self, name: str) -> bool:
        bare = WRAPPERS.sub("", name)
        if self._expression is not None and self._expression.match(name):
            return True
        if self._pattern is not None and self._pattern.fullmatch(bare):
            return True
        return any(part in self._plain for part in parts(bare))


def parts(name: str) -> Iterable[str]:
    """All names within ``name``: a.b.c has a, a.b, a.b.c, b, b.c, c."""
    words = name.split(".")
    for first in range(len(words)):
        for end in range(first + 1, len(words) + 1):
            yield ".".join(words[first:end])
