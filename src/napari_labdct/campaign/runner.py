"""One scan through a recipe: what is done is not done again, a change redoes what depends on it.

Each step is a ``labdct`` command of its own process, so a step that fails or is killed harms no
other, and each goes on where it stopped. ``run.json`` in the results' folder holds what is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._version import __version__
from ..core.files import cannot_write, make_folder, read_json, write_atomically
from ..core.frame_store import state_of_inputs
from ..core.locks import alone
from ..core.recipes import recipe_hash
from .kinds import KINDS
from .recipe_file import Recipe, Step

STATE = "run.json"
LOG = "log.txt"
#: What can be said of a step.
DONE, WAITING, FAILED, STOPPED = "done", "waiting", "failed", "stopped"


@dataclass(frozen=True)
class Unit:
    """One step of one scan, ready to be run anywhere that sees its files.

    Attributes
    ----------
    scan : str
        As ``labdct`` takes it.
    folder : str
        Of the results.
    step : Step
    key : str
        Changes when the scan, the settings or anything before it changes.
    """

    scan: str
    folder: str
    step: Step
    key: str

    def words(self, overwrite: bool) -> list[str]:
        """The command and its arguments."""
        kind, folder = KINDS[self.step.kind], Path(self.folder)
        words = [kind.command]
        words += [f"{kind.scan_flag}={self.scan}"] if kind.scan_flag else [self.scan]
        for role, name in self.step.reads:
            flag = kind.reads[role]
            words += [flag, str(folder / name)] if flag else [str(folder / name)]
        for role, name in self.step.writes.items():
            words += [kind.writes[role][1], str(folder / name)]
        return [*words, *self.step.flags, *(["--overwrite"] if overwrite else [])]


def plan(recipe: Recipe, scan: str | Path, folder: str | Path) -> list[Unit]:
    """The units of one scan, in the order of work.

    Raises
    ------
    ScanError
        The scan cannot be opened.
    """
    from ..io import open_scan

    opened = open_scan(scan)
    about = {"input": {"id": opened.identity()}, "files": state_of_inputs(opened)}
    source = recipe_hash(about | {"settings": {}})
    units: list[Unit] = []
    made_by: dict[str, str] = {}
    for step in recipe.steps:
        before = [made_by[name] for _, name in step.reads]
        text = json.dumps([source, step.kind, step.output, step.flags, before])
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        made_by.update(dict.fromkeys(step.writes.values(), key))
        units.append(Unit(str(scan), str(folder), step, key))
    return units


def state_of(folder: str | Path) -> dict[str, dict[str, Any]]:
    """What is known of each step's run, by the name of its output."""
    known = read_json(Path(folder) / STATE).get("steps", {})
    known = known if isinstance(known, dict) else {}
    return {name: entry for name, entry in known.items() if isinstance(entry, dict)}


def status(unit: Unit) -> str:
    """`DONE`, `WAITING`, `FAILED` or `STOPPED` (killed, or at work now)."""
    entry = state_of(unit.folder).get(unit.step.output, {})
    if entry.get("key") != unit.key:
        return WAITING
    there = all((Path(unit.folder) / name).exists() for name in unit.step.writes.values())
    if entry.get("state") == DONE:
        return DONE if there else WAITING
    return entry.get("state", WAITING)


def run_unit(unit: Unit, log: bool = True, threads: int | None = None) -> str:
    """Run one step, unless it is done; `DONE` or `FAILED`.

    Parameters
    ----------
    unit : Unit
    log : bool
        Keep what the command says in ``log.txt``; otherwise it goes to the terminal.
    threads : int, optional
        Of the step; as many as there are cores if not given.

    Raises
    ------
    OutputError
        The folder cannot be written, or another process works in it.
    """
    folder = make_folder(Path(unit.folder))
    with alone(folder / STATE, folder):
        if status(unit) == DONE:
            return DONE
        entry = state_of(folder).get(unit.step.output, {})
        # What this program made with other settings may go; what is somebody else's stays.
        ours = bool(entry) and (entry.get("key") != unit.key or entry.get("replaces", False))
        entry = {"key": unit.key, "replaces": ours, "state": STOPPED, "version": __version__}
        _note(folder, unit, entry)
        start = time.time()
        code = _call(unit.words(ours), folder / LOG if log else None, threads)
        entry |= {"seconds": round(time.time() - start, 1), "exit": code}
        entry["state"] = DONE if code == 0 else FAILED
        if code == 0:
            entry["replaces"] = False
        _note(folder, unit, entry)
    if code in (130, -2):
        raise KeyboardInterrupt
    return entry["state"]


def _note(folder: Path, unit: Unit, entry: dict[str, Any]) -> None:
    steps = {**state_of(folder), unit.step.output: entry}
    text = json.dumps({"scan": unit.scan, "steps": steps}, indent=1) + "\n"
    write_atomically(folder / STATE, text)


def _call(words: list[str], log: Path | None, threads: int | None) -> int:
    """Run a command in a process of its own; its exit status."""
    environment = dict(os.environ)
    if threads:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            environment[name] = str(threads)
    command = [sys.executable, "-m", "napari_labdct", *words]
    if log is None:
        return subprocess.call(command, env=environment)
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ labdct {' '.join(words)}\n")
            file.flush()
            return subprocess.call(command, env=environment, stdout=file, stderr=file)
    except OSError as error:
        raise cannot_write(log, error) from error


def run_scan(
    recipe: Recipe,
    scan: str | Path,
    folder: str | Path,
    *,
    log: bool = False,
    threads: int | None = None,
) -> Iterator[tuple[Unit, str]]:
    """Run all steps of one scan; gives each unit with how it ended, up to the first that fails.

    Raises
    ------
    ScanError
        The scan cannot be opened.
    OutputError
        The folder cannot be written, or another process works in it.
    """
    for unit in plan(recipe, scan, folder):
        ended = run_unit(unit, log, threads)
        yield unit, ended
        if ended != DONE:
            return


def last_words(folder: str | Path) -> str:
    """The last line of a scan's log that says what went wrong; empty if there is none."""
    try:
        with (Path(folder) / LOG).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - 4000, 0))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    said = [line for line in lines if line.startswith("labdct: ")]
    return said[-1].removeprefix("labdct: ") if said else (lines[-1][:200] if lines else "")
