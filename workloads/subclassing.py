"""A mark for classes of compiled modules that are subclassed in modules that are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

try:
    from mypy_extensions import mypyc_attr
except ImportError:  # comes with mypy, which only those who compile need
    C = TypeVar("C", bound=type)

    def mypyc_attr(*names: str, **values: object) -> Callable[[C], C]:  # type: ignore[misc]
        """Nothing is compiled: nothing to mark."""
        return lambda marked: marked


__all__ = ["mypyc_attr"]
