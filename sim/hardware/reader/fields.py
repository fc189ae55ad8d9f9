"""Typed access to the keys of a config.json, with one clear message for each that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from workloads.errors import InputError

MOST = 10**9
"""Largest number of anything that a configuration counts: heads, experts, positions."""


class Fields:
    """A JSON object and where it stands; every method names key, value and what is allowed."""

    def __init__(self, raw: Mapping[str, Any], where: str, prefix: str = "") -> None:
        self.raw, self.where, self.prefix = raw, where, prefix

    def __contains__(self, key: str) -> bool:
        return self.raw.get(key) is not None

    def refuse(self, key: str, allowed: str) -> NoReturn:
        """Raise an InputError about ``key``."""
        shown = str(self.raw.get(key))[:60]
        if isinstance(self.raw.get(key), str):
            shown = repr(self.raw[key])[:60]
        raise InputError(f"{self.where}: {self.prefix}{key} = {shown}; allowed: {allowed}")

    def sub(self, key: str) -> Fields:
        """The object under ``key``."""
        value = self.raw.get(key)
        if not isinstance(value, Mapping):
            self.refuse(key, "an object with keys and values")
        return Fields(value, self.where, f"{self.prefix}{key}.")

    def over(self, **defaults: Any) -> Fields:
        """The same with ``defaults`` where a key is absent or null."""
        given = {key: value for key, value in self.raw.items() if value is not None or key not in defaults}
        return Fields({**defaults, **given}, self.where, self.prefix)

    def absent(self, **defaults: Any) -> Fields:
        """The same with ``defaults`` where a key is absent; a null stays one."""
        return Fields({**defaults, **self.raw}, self.where, self.prefix)

    def get(self, *names: str) -> str:
        """The first of ``names`` that is there, else the first: the same thing under several keys."""
        return next((name for name in names if name in self), names[0])

    def whole(self, key: str, default: int | None = None, least: int = 1) -> int:
        """A whole number from ``least``; ``default`` where it is absent, or an error without one."""
        value = self.raw.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
            self.refuse(key, f"a valid integer from {least} to {MOST:.0e}")
        return value

    def number(self, key: str, default: float) -> float:
        """A number above 0."""
        value = self.raw.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST:
            self.refuse(key, "a number above 0")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """true or false."""
        value = self.raw.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.refuse(key, "true or false")
        return value

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        value = self.raw.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.refuse(key, "text")
        return value

    def numbers(self, key: str) -> list[Any]:
        """A list of whole numbers from 0; empty where it is absent."""
        value = self.raw.get(key)
        if value is None:
            return []
        fine = isinstance(value, list) and all(
            isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= MOST for item in value
        )
        if not fine:
            self.refuse(key, "a list of whole numbers from 0")
        assert isinstance(value, list)
        return value

    def words(self, key: str, allowed: tuple[str, ...], length: int) -> list[Any] | None:
        """A list of ``length`` words out of ``allowed``; None where it is absent."""
        value = self.raw.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != length or any(v not in allowed for v in value):
            self.refuse(key, f"a list of {length} of {', '.join(allowed)}")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        """One of ``allowed``."""
        value = self.raw.get(key)
        if value is None:
            return default
        if value not in allowed:
            self.refuse(key, ", ".join(allowed))
        return str(value)
