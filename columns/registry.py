"""The kinds of columns, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from .errors import KindError

if TYPE_CHECKING:
    from .column import Column

__all__ = ["KINDS", "is_column", "kind", "kind_of"]

C = TypeVar("C", bound="type[Column]")

KINDS: dict[str, type[Column]] = {}


def kind(cls: C) -> C:
    """Register a kind of column under its name; a decorator."""
    KINDS[cls.kind] = cls
    return cls


def kind_of(to: Any) -> type[Column]:
    """Return the class of a kind given as a class or a name.

    Raises
    ------
    KindError
        If there is no such kind.
    """
    if isinstance(to, str):
        if to not in KINDS:
            raise KindError(f"A kind must be one of {', '.join(sorted(KINDS))}; got '{to}'.")
        return KINDS[to]
    if to in KINDS.values():
        found: type[Column] = to
        return found
    raise KindError(f"A kind must be a column class or its name; got {to!r}.")


def is_column(thing: Any) -> TypeGuard[Column]:
    """Say whether `thing` is a column of any kind."""
    return type(thing) in KINDS.values()
