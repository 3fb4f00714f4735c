"""One step of one scan: whether it is done, and doing it.

What a step was made of stands in ``steps/NAME.json`` beside its results.  A step is done again if
its settings, its scan or a step that it reads has changed, and only then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..core.errors import LabDCTError
from ..core.files import make_folder, read_json, write_atomically
from ..core.frame_store import state_of_inputs
from ..core.locks import alone
from ..core.parameters import arguments_of
from ..core.recipes import recipe, recipe_hash
from ..core.schema import Mismatch, check
from ..io import open_scan
from ..networks.library import find_model
from ..scan.scan import Scan
from .kinds import FILES, HOW
from .recipe_file import Recipe, Step

#: States of a step.
DONE, TO_DO, BEGUN, FAILED = "done", "to do", "begun", "failed"
_RECORD = {"hash": str, "state": str, "files": dict, "inputs": list, "error?": str}


@dataclass(frozen=True)
class Planned:
    """A step of one scan.

    Attributes
    ----------
    step : Step
    state : str
        `DONE`, `TO_DO`, `BEGUN` or `FAILED`.
    made : dict
        What its results are made of.
    inputs : list
        Size and time of the scan's files.
    replaces : bool
        Whether our own results of other settings are there.
    error : str
        Why it failed.
    """

    step: Step
    state: str
    made: dict[str, Any]
    inputs: list[Any]
    replaces: bool = False
    error: str = ""


def plan(recipe_: Recipe, source: str | Path, folder: str | Path) -> list[Planned]:
    """What is done and what is to do for one scan; nothing is written.

    Parameters
    ----------
    recipe_ : Recipe
    source : path
        Of the scan.
    folder : path
        Of its results.

    Raises
    ------
    LabDCTError
        The scan or a model cannot be opened.
    """
    scan = open_scan(source)
    inputs = json.loads(json.dumps(state_of_inputs(scan)))
    keys: dict[str, str] = {}
    planned = []
    for step in recipe_.steps:
        made = _made_of(step, scan, keys)
        keys[step.name] = recipe_hash(made)
        planned.append(_planned(step, made, inputs, Path(folder).expanduser()))
    return planned


def _made_of(step: Step, scan: Scan, keys: Mapping[str, str]) -> dict[str, Any]:
    whole = step.kind.complete(dict(step.effective))
    more: dict[str, Any] = {
        "circular": scan.circular,
        "reads": {role: [keys[name], what] for role, (name, what) in step.inputs.items()},
    }
    if step.kind.geometry:
        more["geometry"] = scan.description.to_dict()
        more["omega_deg"] = _digest(None if scan.omega_deg is None else scan.omega_deg.tobytes())
    if "model" in whole:
        more["model"] = _file_digest(*_known_by(find_model(whole["model"])))
    more["files"] = [
        _file_digest(*_known_by(Path(whole[name]).expanduser()))
        for name in sorted(FILES & whole.keys())
        if whole[name] and Path(whole[name]).expanduser().is_file()
    ]
    settings = {k: v for k, v in whole.items() if k not in HOW}
    made = recipe(f"recipe step {step.kind.name}", settings, scan, **more)
    return json.loads(json.dumps(made))


def _digest(data: bytes | None) -> str:
    return "" if data is None else hashlib.sha256(data).hexdigest()[:16]


def _known_by(path: Path) -> tuple[str, int, int]:
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns


@lru_cache(256)
def _file_digest(path: str, _size: int, _time: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _record(folder: Path, step: Step) -> Path:
    return folder / "steps" / f"{step.name}.json"


def _planned(step: Step, made: dict[str, Any], inputs: list[Any], folder: Path) -> Planned:
    try:
        there = check(read_json(_record(folder, step)), _RECORD)
    except Mismatch:
        return Planned(step, TO_DO, made, inputs)
    if there["hash"] != recipe_hash(made) or there["inputs"] != inputs:
        return Planned(step, TO_DO, made, inputs, replaces=True)
    if there["state"] == DONE and there["files"] and there["files"] == _sizes(step, folder):
        return Planned(step, DONE, made, inputs)
    state = there["state"] if there["state"] in (BEGUN, FAILED) else TO_DO
    anew = bool(there.get("replaces"))
    return Planned(step, state, made, inputs, anew, there.get("error", ""))


def _sizes(step: Step, folder: Path) -> dict[str, int]:
    """The results that are there, by name, with their sizes."""
    found = {}
    for name in step.outputs().values():
        path = folder / name
        parts = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        found |= {p.relative_to(folder).as_posix(): p.stat().st_size for p in parts if p.is_file()}
    return found


def words_of(step: Step, source: str, folder: str | Path, overwrite: bool = False) -> list[str]:
    """The ``labdct`` command, without ``labdct``, that is this step of this scan."""
    kind, folder = step.kind, Path(folder)
    words = [kind.command]
    for role, (name, content) in step.inputs.items():
        given = _given_of(kind.reads[role].flags[content])
        words += [*given, str(folder / _file_of(step, name, content))]
    words += [kind.scan_flag, source] if kind.scan_flag else [source]
    for what, given in step.gives.items():
        if given.flag:
            words += [given.flag, str(folder / step.outputs()[what])]
    for cls in kind.settings:
        mine = {k: v for k, v in step.effective.items() if kind.fields.get(k, (None,))[0] is cls}
        mine = {k: v for k, v in mine.items() if k != "formats"}
        words += arguments_of(cls.from_dict(mine), always=mine)
    return [*words, *(["--overwrite"] if overwrite else [])]


def _given_of(flag: str) -> list[str]:
    return [flag] if flag else []


def _file_of(step: Step, name: str, content: str) -> str:
    source = next(s for s in step.sources if s.name == name)
    return source.outputs()[content]


def do(
    planned: Planned,
    source: str,
    folder: str | Path,
    run_words: Callable[[list[str]], None],
    overwrite: bool = False,
) -> None:
    """Do one step of one scan, or go on with it.

    Parameters
    ----------
    planned : Planned
    source : str
        Of the scan.
    folder : path
        Of its results.
    run_words : callable
        Runs a command of ``labdct``, see `cli.perform`.
    overwrite : bool
        Replace what is not ours, too.

    Raises
    ------
    LabDCTError
        It failed; the record says so, too.
    """
    step, folder = planned.step, Path(folder).expanduser()
    record = _record(folder, step)
    make_folder(record.parent)
    with alone(record, folder / step.name):
        _write(record, planned, BEGUN, replaces=planned.replaces)
        try:
            replace = overwrite or planned.replaces
            run_words(words_of(step, source, folder, replace))
        except LabDCTError as error:
            _note_failure(record, planned, str(error))
            raise
        _write(record, planned, DONE, files=_sizes(step, folder))


def let_go(planned: Planned, folder: str | Path) -> None:
    """Take away the lock that a kill at the very end of a step leaves beside its record."""
    step, folder = planned.step, Path(folder).expanduser()
    with alone(_record(folder, step), folder / step.name):
        pass


def _note_failure(record: Path, planned: Planned, error: str) -> None:
    try:
        _write(record, planned, FAILED, error=error, replaces=planned.replaces)
    except LabDCTError:  # a full disk, which the first message says
        return


def _write(record: Path, planned: Planned, state: str, **more: Any) -> None:
    there = {
        "state": state,
        "hash": recipe_hash(planned.made),
        "inputs": planned.inputs,
        "files": {},
        "recipe": {k: v for k, v in planned.made.items() if k != "created"},
        **more,
    }
    write_atomically(record, json.dumps(there, indent=1) + "\n")
