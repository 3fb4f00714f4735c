"""Things that go by name: ours, and those that other packages bring.

Another package adds one with an entry point, so nothing here has to be changed for it::

    [project.entry-points."napari_labdct.networks"]
    wide = "my_package.networks:WIDE"
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from .errors import SettingsError

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping from names to things that are loaded when they are first asked for.

    Parameters
    ----------
    what : str
        What one of them is called in a sentence.
    group : str
        Of entry points, where other packages register theirs.
    ours : dict of str to str or T
        In order of appearance; ``module:attribute`` for what is loaded late.
    """

    def __init__(self, what: str, group: str, ours: Mapping[str, T | str]) -> None:
        self.what = what
        self.group = group
        self._ours: dict[str, T | str] = dict(ours)
        self._loaded: dict[str, T] = {}  # of other packages
        self._places: dict[str, str] | None = None  # looked up once: every package is asked

    def register(self, name: str, thing: T) -> T:
        """Add something for as long as this Python runs; entry points add it for good."""
        self._ours[name] = thing
        return thing

    def forget(self, name: str) -> None:
        """Take back what `register` added."""
        self._ours.pop(name, None)

    def _theirs(self) -> dict[str, str]:
        if self._places is None:
            self._places = {e.name: e.value for e in entry_points(group=self.group)}
        found = self._places
        return {name: found[name] for name in sorted(found.keys() - self._ours.keys())}

    def __iter__(self) -> Iterator[str]:
        yield from self._ours
        yield from self._theirs()

    def __len__(self) -> int:
        return len(self._ours) + len(self._theirs())

    def __contains__(self, name: object) -> bool:
        return name in self._ours or name in self._theirs()

    def __getitem__(self, name: str) -> T:
        if name in self._ours:
            thing = self._ours[name]
            if isinstance(thing, str):
                thing = self._ours[name] = load(thing)
            return thing
        if name in self._loaded:
            return self._loaded[name]
        place = self._theirs().get(name)
        if place is None:
            raise SettingsError(
                f"There is no {self.what} called '{name}'; there is {', '.join(self)}."
            )
        try:
            thing = load(place)
        except Exception as error:  # whatever is wrong with another package
            raise SettingsError(
                f"The {self.what} '{name}' of another package ({place}) cannot be loaded "
                f"({error}); update or remove that package."
            ) from error
        self._loaded[name] = thing
        return thing

    def usable(self) -> list[T]:
        """All that can be loaded; a broken package of somebody else harms nobody."""
        found = []
        for name in self:
            try:
                found.append(self[name])
            except SettingsError:
                continue
        return found


def load(place: str) -> Any:
    """What ``module:attribute`` names."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)
