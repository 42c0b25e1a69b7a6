"""Registration: how an app calls what only apps above it know, without importing them (docs/adr/0029)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """A mapping that other apps fill in `AppConfig.ready`.

    The instance stands in the app that calls its values; `name` is what an error calls it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._values: dict[str, T] = {}

    def register(self, key: str, value: T) -> None:
        """Add a value. Raises ValueError for a key that is registered: two apps would answer for the same thing."""
        if key in self._values:
            raise ValueError(f"{self.name} has {key!r} already. Register it once, or under another key.")
        self._values[key] = value

    @contextmanager
    def override(self, values: Mapping[str, T]) -> Iterator[None]:
        """Replace all values within the block, for tests."""
        former, self._values = self._values, dict(values)
        try:
            yield
        finally:
            self._values = former

    def __getitem__(self, key: str) -> T:
        try:
            return self._values[key]
        except KeyError:
            raise KeyError(f"{self.name} has no {key!r}.") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
