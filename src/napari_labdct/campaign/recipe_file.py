"""A recipe: which steps a scan goes through, with which settings; one YAML for many scans.

::

    labdct_recipe: 1
    steps:
      - denoise: {model: compact}
      - track
      - measure
      - routine: {sigma_px: 3, background: 40}
      - compare
      - grains: {sample: cylinder, diameter_um: 500}

A step reads what the nearest step above it made. ``output`` beside the settings gives its results
another name, so that one kind of step can stand there twice.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import SettingsError, listed, quoted
from ..core.parameters import Settings, arguments_of, fields_of
from ..io.yaml_text import read_yaml
from .kinds import KINDS, ROLES, Kind

VERSION = 1
_MOST_STEPS = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")


@dataclass(frozen=True)
class Step:
    """One step of a recipe.

    Attributes
    ----------
    kind : str
        Of `kinds.KINDS`.
    output : str
        What its results are called, without ending.
    flags : tuple of str
        Its settings as the command takes them.
    reads : tuple of (str, str)
        Role and file name of what earlier steps hand on to it.
    """

    kind: str
    output: str
    flags: tuple[str, ...]
    reads: tuple[tuple[str, str], ...]

    @property
    def writes(self) -> dict[str, str]:
        """File names of its results by role."""
        ways = KINDS[self.kind].writes
        return {role: self.output + ending for role, (ending, _) in ways.items()}


@dataclass(frozen=True)
class Recipe:
    """Steps in the order of work."""

    steps: tuple[Step, ...]


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe file.

    Raises
    ------
    SettingsError
        A step or a setting is unknown, a value out of range, an input missing, or a name taken
        twice; or the file is of a newer version.
    ScanError
        It cannot be read, or is not YAML.
    """
    content = read_yaml(path)
    try:
        return parse(content)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def parse(content: Any) -> Recipe:
    """The recipe that a YAML's values stand for; see `read_recipe`."""
    if not isinstance(content, dict) or "labdct_recipe" not in content:
        raise SettingsError("A recipe begins with 'labdct_recipe: 1'; this is another file.")
    version = content["labdct_recipe"]
    if version != VERSION or isinstance(version, bool):
        raise SettingsError(
            f"It is a recipe of version {quoted(version)} and this program reads {VERSION}; "
            "use the program that it was written for."
        )
    for name in content:
        if name not in ("labdct_recipe", "steps"):
            raise SettingsError(f"{quoted(name)} is not an entry of a recipe, which has 'steps'.")
    entries = content.get("steps")
    if not isinstance(entries, list) or not entries:
        raise SettingsError("'steps' must be a list with at least one step, such as '- denoise'.")
    if len(entries) > _MOST_STEPS:
        raise SettingsError(f"It has {len(entries)} steps; at most {_MOST_STEPS} are taken.")
    made: dict[str, str] = {}
    taken: set[str] = set()
    steps = []
    for entry in entries:
        step = _step(entry, made)
        for name in step.writes.values():
            if name in taken:
                raise SettingsError(
                    f"Two steps write {name}; give one of them another 'output: NAME'."
                )
            taken.add(name)
        made.update(step.writes)
        steps.append(step)
    return Recipe(tuple(steps))


def _step(entry: Any, made: dict[str, str]) -> Step:
    """One entry of the list, with what the steps before it made."""
    if isinstance(entry, str):
        entry = {entry: None}
    if not isinstance(entry, dict) or len(entry) != 1:
        raise SettingsError(f"{quoted(entry)} is not a step; write '- denoise: {{...}}'.")
    ((name, values),) = entry.items()
    if name not in KINDS:
        raise SettingsError(f"{quoted(name)} is not a step{_near(name, KINDS)}.")
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise SettingsError(f"The settings of {name} are {quoted(values)}, not names and values.")
    kind = KINDS[name]
    values = dict(values)
    output = values.pop("output", kind.output)
    if not isinstance(output, str) or not _NAME.fullmatch(output):
        raise SettingsError(
            f"The output of {name} is {quoted(output)}; give a plain name without folder or ending."
        )
    reads = []
    for role in kind.reads:
        if role not in made:
            makers = [other for other, k in KINDS.items() if role in k.writes and other != name]
            raise SettingsError(f"{name} needs {ROLES[role]}; put {' or '.join(makers)} before it.")
        reads.append((role, made[role]))
    return Step(name, output, tuple(_flags(name, kind, values)), tuple(reads))


def _flags(name: str, kind: Kind, values: dict[Any, Any]) -> list[str]:
    """The settings, checked, as words of the command line."""
    of_class: dict[type[Settings], dict[str, Any]] = {cls: {} for cls in kind.settings}
    known = {field.name: cls for cls in reversed(kind.settings) for field in fields_of(cls)}
    for key, value in values.items():
        if key not in known:
            raise SettingsError(f"{quoted(key)} is not a setting of {name}{_near(key, known)}.")
        of_class[known[key]][key] = value
    words = []
    for cls, chosen in of_class.items():
        words += arguments_of(cls(**chosen), always=set(chosen))
    return words


def _near(name: Any, known) -> str:
    """The rest of a sentence: what may have been meant, or what there is."""
    near = difflib.get_close_matches(str(name)[:80], list(known), 1)
    return f"; is {near[0]} meant?" if near else f"; there are {listed(sorted(known))}"
