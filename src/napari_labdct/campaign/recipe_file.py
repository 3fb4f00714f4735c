"""Recipe files: steps with their settings, in one YAML that runs on any scan.

.. code-block:: yaml

    labdct_recipe: 1
    steps:
      - step: denoise
        settings: {model: compact}
      - track
      - step: measure
        name: spots
        inputs: {spots: track}
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import ScanError, SettingsError, listed, quoted, reason
from ..core.files import write_atomically
from ..core.recipes import recipe_beside
from ..core.schema import Mismatch, check
from ..io.regular import read_bytes
from ..spots.binarisation import SpotSettings, binarised
from .kinds import FORMATS, KINDS, LATEST, LATEST_ROUTINE, NONE, Given, StepKind

#: Of the format; a file of a higher one is refused.
VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][\w-]{0,63}")
_MOST_BYTES = 1 << 20
_CUT = frozenset(SpotSettings().to_dict())


class RecipeError(SettingsError):
    """A recipe file cannot be run as it is."""


@dataclass(frozen=True)
class Step:
    """One step of a recipe.

    Attributes
    ----------
    name : str
        Of the step, and of its files.
    kind : StepKind
    settings : dict
        Those that were given, checked.
    inputs : dict of str to (str, str)
        For each role, the step that gives it and the content that is read.
    effective : dict
        Settings of the step, and how spots are cut by the step before if it says nothing itself.
    sources : tuple of Step
        The steps that it reads.
    """

    name: str
    kind: StepKind
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    effective: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[Step, ...] = ()

    @property
    def gives(self) -> dict[str, Given]:
        """Its files and folders by content."""
        if self.kind.name != "export":
            return dict(self.kind.gives)
        return {name: FORMATS[name] for name in _formats(self.effective)}

    def outputs(self) -> dict[str, str]:
        """Names of its files and folders by content."""
        return {what: given.name.format(self.name) for what, given in self.gives.items()}


def _formats(settings: Mapping[str, Any]) -> list[str]:
    words = str(settings.get("formats", "h5")).replace(",", " ").split()
    for word in words:
        if word not in FORMATS:
            raise RecipeError(
                f"{quoted(word)} is no format of a table or stack{_nearest(word, FORMATS)}; there "
                f"is {', '.join(FORMATS)}."
            )
    if not words:
        raise RecipeError(f"Say which formats to export: {', '.join(FORMATS)}.")
    return list(dict.fromkeys(words))


@dataclass(frozen=True)
class Recipe:
    """Steps that can be run on any scan.

    Parameters
    ----------
    steps : tuple of Step
        In the order of work.
    """

    steps: tuple[Step, ...]

    @classmethod
    def of(cls, entries: Iterable[Any], where: str = "The recipe") -> Recipe:
        """Check the entries of ``steps`` and make a recipe of them.

        Parameters
        ----------
        entries : iterable of str or dict
            Names of kinds, or mappings with ``step``, ``name``, ``inputs`` and ``settings``.
        where : str
            What a message calls the recipe.

        Raises
        ------
        RecipeError
            An unknown step or setting, a value out of range, an input that no earlier step
            gives, or one output named twice.
        """
        steps: list[Step] = []
        for entry in entries:
            try:
                steps.append(_step(entry, steps))
            except SettingsError as error:
                raise RecipeError(f"{where}, step {len(steps) + 1}: {error}") from error
        if not steps:
            raise RecipeError(f"{where} has no step; name one, such as 'denoise'.")
        _check_outputs(steps, where)
        return cls(tuple(steps))

    def to_dict(self) -> dict[str, Any]:
        """As a recipe file has it; only what is not as usual is said."""
        return {"labdct_recipe": VERSION, "steps": [_entry(step) for step in self.steps]}

    def to_yaml(self, remark: str = "") -> str:
        """The text of the recipe file."""
        lines = "".join(f"# {line}\n" for line in remark.splitlines())
        return lines + yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None)

    def write(self, path: str | Path, remark: str = "") -> Path:
        """Write the recipe file."""
        write_atomically(Path(path), self.to_yaml(remark))
        return Path(path)


def _entry(step: Step) -> str | dict[str, Any]:
    made: dict[str, Any] = {"step": step.kind.name}
    if step.name != step.kind.name:
        made["name"] = step.name
    if step.inputs:
        made["inputs"] = {role: source for role, (source, _) in step.inputs.items()}
    if step.settings:
        made["settings"] = dict(step.settings)
    return step.kind.name if set(made) == {"step"} else made


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe file.

    Raises
    ------
    RecipeError
        It cannot be read, is of a newer version, or cannot be run as it is.
    """
    path = Path(path).expanduser()
    try:
        content = yaml.safe_load(read_bytes(path, _MOST_BYTES).decode("utf-8"))
    except OSError as error:
        raise RecipeError(f"The recipe {path} cannot be read ({reason(error)}).") from error
    except ScanError as error:
        raise RecipeError(str(error)) from error
    except Exception as error:  # YAML's makers of dates, numbers... fail in their own ways
        why = "it is nested too deep" if isinstance(error, RecursionError) else reason(error)
        raise RecipeError(f"{path} cannot be read as YAML ({why}); correct it.") from error
    return recipe_of(content, str(path))


def recipe_of(content: Any, where: str) -> Recipe:
    """The recipe that the content of a file describes; see `read_recipe`."""
    try:
        check(content, {"labdct_recipe": int, "steps": [(str, dict)]}, "the file")
    except Mismatch as error:
        raise RecipeError(
            f"{where} is no recipe ({error}); it begins with 'labdct_recipe: {VERSION}' and lists "
            "'steps:'."
        ) from error
    version = content["labdct_recipe"]
    if version > VERSION:
        raise RecipeError(
            f"{where} is a recipe of version {quoted(version)}, this program reads {VERSION}; "
            "update napari-labdct."
        )
    if version < 1:
        raise RecipeError(f"{where} is of version {quoted(version)}; the first was 1.")
    for name in content:
        _known(name, ("labdct_recipe", "steps"), f"{where}: ", "entry of a recipe")
    return Recipe.of(content["steps"], where)


def _nearest(name: Any, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(str(name)[:80], list(known), 1, 0.5)
    return f" (did you mean '{found[0]}'?)" if found else ""


def _known(name: Any, known: Iterable[str], where: str, what: str) -> None:
    known = list(known)
    if name not in known:
        raise RecipeError(
            f"{where}{quoted(name)} is no {what}{_nearest(name, known)}; there is {listed(known)}."
        )


def _step(entry: Any, before: list[Step]) -> Step:
    if isinstance(entry, str):
        entry = {"step": entry}
    try:
        check(entry, {"step": str, "name?": str, "inputs?": dict, "settings?": dict})
    except Mismatch as error:
        raise RecipeError(f"{error}.") from error
    for key in entry:
        _known(key, ("step", "name", "inputs", "settings"), "", "entry of a step")
    _known(entry["step"], KINDS, "", "step")
    kind = KINDS[entry["step"]]
    name = entry.get("name", kind.name)
    if not _NAME.fullmatch(name):
        raise RecipeError(f"{quoted(name)} is no name for files; use letters, digits, _ and -.")
    settings = {}
    for key, value in entry.get("settings", {}).items():
        _known(key, kind.fields, "", f"setting of {kind.name}")
        words = isinstance(value, list) and all(isinstance(v, str) for v in value)
        settings[key] = ",".join(value) if words else value
    settings = kind.checked(settings)
    inputs = _inputs(kind, entry.get("inputs", {}), before)
    effective = dict(settings)
    cut = frozenset(_CUT) if kind.cuts else frozenset()
    for source, _ in inputs.values():
        earlier = next(step for step in before if step.name == source)
        if earlier.kind.cuts:
            effective = {k: v for k, v in earlier.effective.items() if k in cut} | effective
    if kind.name == "export":
        _formats(effective)
    names = {source for source, _ in inputs.values()}
    sources = tuple(s for s in before if s.name in names)
    return Step(name, kind, settings, inputs, effective, sources)


def _inputs(
    kind: StepKind, named: Mapping[str, Any], before: list[Step]
) -> dict[str, tuple[str, str]]:
    for role in named:
        _known(role, kind.reads, "", f"input of {kind.name}")
    found = {}
    for role, about in kind.reads.items():
        if role in named:
            source = next((s for s in before if s.name == named[role]), None)
            if source is None:
                there = listed([s.name for s in before]) or "none"
                raise RecipeError(
                    f"the input '{role}' of {kind.name} is {quoted(named[role])}, which is no "
                    f"earlier step; earlier steps: {there}."
                )
        elif about.usually == NONE:
            continue
        else:
            source = _latest(about.takes, about.usually, before)
        content = next((c for c in about.takes if source and c in source.gives), None)
        if source is None or content is None:
            gave = f"'{source.name}' gives no {' or '.join(about.takes)}" if source else ""
            need = "routine" if about.usually == LATEST_ROUTINE else "denoise"
            raise RecipeError(
                f"the input '{role}' of {kind.name} is missing"
                f"{f': {gave}' if gave else f'; put a {need} step before it, or name one'}."
            )
        found[role] = (source.name, content)
    return found


def _latest(takes: tuple[str, ...], usually: str, before: list[Step]) -> Step | None:
    fits = [s for s in before if any(c in s.kind.gives for c in takes)]
    routine = [s for s in fits if s.kind.name == "routine"]
    others = [s for s in fits if s.kind.name != "routine"]
    fits = (others or routine) if usually == LATEST else routine
    return fits[-1] if fits else None


def _check_outputs(steps: list[Step], where: str) -> None:
    owner: dict[str, int] = {}
    for number, step in enumerate(steps):
        for name in (step.name, *step.outputs().values()):
            # some file systems do not tell large letters from small ones
            if owner.setdefault(name.lower(), number) != number:
                raise RecipeError(
                    f"{where}: one output is named twice: two steps write '{name}'; give one of "
                    "them another 'name'."
                )


# What a stored recipe calls otherwise than the settings class.
_OF_RESULT = {"looks": "augmentations"}


def recipe_of_result(path: str | Path) -> Recipe:
    """The recipe of a finished result, so that it runs on other scans.

    Parameters
    ----------
    path : path
        A result with its recipe beside it (``NAME.tif.json``).

    Raises
    ------
    RecipeError
        It has no recipe, or one of a job that is no step.
    """
    path = Path(path).expanduser()
    if path.name.endswith(".json") and not path.name.endswith(".review.json"):
        path = path.with_name(path.name[: -len(".json")])
    made = recipe_beside(path)
    job = made.get("job")
    cut = binarised(made) or {}
    job = made.get("cleaned_by", "") if job in ("binarise", "spots") else job
    job = {"standard routine": "routine", "LoG routine": "routine"}.get(job, job)
    if job not in KINDS:
        raise RecipeError(
            f"{path} has no recipe of a step beside it; give a result of denoise, track or routine."
        )
    kind = KINDS[job]
    settings = {_OF_RESULT.get(k, k): v for k, v in made.get("settings", {}).items()}
    settings |= {k: v for k, v in cut.items() if k in kind.fields}
    settings = {k: v for k, v in settings.items() if k in kind.fields and v is not None}
    steps: list[Any] = ["denoise"] if job == "track" else []
    model = made.get("model", {}).get("name")
    if steps and isinstance(model, str):
        steps = [{"step": "denoise", "settings": {"model": model}}]
    return Recipe.of([*steps, {"step": job, "settings": settings}], str(path))
