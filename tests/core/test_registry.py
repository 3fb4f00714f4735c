"""Things by name: in order, loaded late, and added by other packages."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from napari_labdct.core import registry
from napari_labdct.core.errors import SettingsError
from napari_labdct.core.registry import Registry


@dataclass
class Entry:
    name: str
    value: str


def test_order_lateness_and_what_is_not_there():
    things = Registry("tool", "toys.tools", {"b": "math:pi", "a": "no_such_module:x"})
    assert list(things) == ["b", "a"]
    assert things["b"] == pytest.approx(3.14159, abs=1e-5)
    assert "c" not in things
    with pytest.raises(SettingsError, match="no tool called 'c'; there is b, a"):
        things["c"]
    with pytest.raises(ModuleNotFoundError):  # only now
        things["a"]


def test_what_is_registered_can_be_taken_back():
    things = Registry("tool", "toys.tools", {"a": 1})
    assert things.register("z", 26) == 26
    assert dict(things) == {"a": 1, "z": 26}
    things.forget("z")
    assert dict(things) == {"a": 1}


def test_another_package_adds_by_entry_point_but_never_replaces(monkeypatch):
    found = {"toys.tools": [Entry("tau", "math:tau"), Entry("a", "math:e")]}
    monkeypatch.setattr(registry, "entry_points", lambda group: found.get(group, []))
    things = Registry("tool", "toys.tools", {"a": 1})
    assert list(things) == ["a", "tau"]
    assert len(things) == 2
    assert things["a"] == 1
    assert things["tau"] == pytest.approx(6.28319, abs=1e-5)


def test_a_broken_package_of_somebody_else_is_said_and_harms_nobody(monkeypatch):
    found = [Entry("broken", "no_such_module:x"), Entry("tau", "math:tau")]
    monkeypatch.setattr(registry, "entry_points", lambda group: found)
    things = Registry("tool", "toys.tools", {"a": 1})
    with pytest.raises(SettingsError, match="'broken' of another package"):
        things["broken"]
    assert things.usable() == [1, pytest.approx(6.28319, abs=1e-5)]
    assert list(things) == ["a", "broken", "tau"]  # the order does not change with use
