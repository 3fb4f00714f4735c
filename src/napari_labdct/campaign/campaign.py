"""Many scans through one recipe, on any executor that looks like `concurrent.futures`."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .._version import __version__
from ..core.errors import LabDCTError, SettingsError
from ..core.files import write_atomically
from .recipe_file import Recipe, read_recipe
from .runner import DONE, FAILED, WAITING, Unit, last_words, plan, run_unit, state_of, status

_REST_S = 0.05


class Executor(Protocol):
    """What carries units: local threads, a Dask client's executor, submitit, ..."""

    def submit(self, function: Any, /, *arguments: Any) -> Any: ...


@dataclass(frozen=True)
class ScanState:
    """How far one scan is.

    Attributes
    ----------
    name : str
        Its folder among the results.
    steps : tuple of (str, str)
        Output and state of each step.
    problem : str
        Why it cannot go on; empty if it can.
    """

    name: str
    steps: tuple[tuple[str, str], ...]
    problem: str = ""

    @property
    def state(self) -> str:
        """Of the whole scan."""
        states = [state for _, state in self.steps]
        if self.problem or FAILED in states:
            return FAILED
        return DONE if states and set(states) == {DONE} else WAITING


class Campaign:
    """Scans that go through one recipe.

    Parameters
    ----------
    recipe : Recipe or path
    scans : sequence of path
        Files, folders or ``scan.yaml``; a pattern has to be expanded before.
    output : path
        A folder; each scan gets one in it, called as the scan's folder or file.

    Raises
    ------
    SettingsError
        The recipe is faulty, there is no scan, or one is named twice.

    Examples
    --------
    ::

        campaign = Campaign("recipe.yaml", sorted(Path("scans").glob("*/scan.yaml")), "results")
        for unit, state in campaign.run(workers=2, threads=1):
            print(unit.scan, unit.step.output, state)
    """

    def __init__(
        self, recipe: Recipe | str | Path, scans: Sequence[str | Path], output: str | Path
    ) -> None:
        self.recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
        self.output = Path(output).expanduser()
        if not scans:
            raise SettingsError("There is no scan; give folders, files or scan.yaml.")
        self.scans = _named([Path(scan) for scan in scans])

    def units(self, name: str) -> list[Unit]:
        """The units of one scan; see `runner.plan`."""
        return plan(self.recipe, self.scans[name], self.output / name)

    def states(self) -> Iterator[ScanState]:
        """How far each scan is; a scan that cannot be opened says why."""
        for name in self.scans:
            try:
                units = self.units(name)
            except LabDCTError as error:
                yield ScanState(name, (), str(error))
                continue
            steps = tuple((unit.step.output, status(unit)) for unit in units)
            failed = any(state == FAILED for _, state in steps)
            yield ScanState(name, steps, last_words(self.output / name) if failed else "")

    def run(
        self,
        executor: Executor | None = None,
        *,
        workers: int = 1,
        threads: int | None = None,
        only_failed: bool = False,
    ) -> Iterator[tuple[Unit, str]]:
        """Run what is not done; gives each unit as it ends. One scan that fails stops no other.

        Parameters
        ----------
        executor : executor, optional
            Anything with ``submit`` whose results have ``done()`` and ``result()``. Units are
            processes of their own, so threads carry them on this computer.
        workers : int
            How many units run at once, if no executor is given.
        threads : int, optional
            Of each unit.
        only_failed : bool
            Leave out scans that did not fail.

        Raises
        ------
        SettingsError
            A worker runs another version of this package.
        """
        waiting: dict[str, list[Unit]] = {}
        for state in self.states():
            if state.steps and (state.state == FAILED or not only_failed):
                waiting[state.name] = [
                    unit for unit in self.units(state.name) if status(unit) != DONE
                ]
        if executor is not None:
            yield from self._carried(executor, waiting, threads)
            return
        with ThreadPoolExecutor(max(workers, 1)) as local:
            yield from self._carried(local, waiting, threads)

    def _carried(
        self, executor: Executor, waiting: dict[str, list[Unit]], threads: int | None
    ) -> Iterator[tuple[Unit, str]]:
        if not any(waiting.values()):
            return
        theirs = executor.submit(version).result()
        if theirs != __version__:
            raise SettingsError(
                f"A worker runs napari-labdct {theirs} and this is {__version__}; "
                "install the same version there."
            )
        at_work: dict[str, tuple[Unit, Any]] = {}

        def next_of(name: str) -> None:
            if waiting[name]:
                unit = waiting[name].pop(0)
                at_work[name] = (unit, executor.submit(run_unit, unit, True, threads))

        for name in waiting:
            next_of(name)
        while at_work:
            ended = [name for name, (_, future) in at_work.items() if future.done()]
            for name in ended:
                unit, future = at_work.pop(name)
                state = _result(future)
                yield unit, state
                if state == DONE:
                    next_of(name)
            if not ended:
                time.sleep(_REST_S)

    def collect(self, path: str | Path) -> Path:
        """One table (CSV) of all scans: state, seconds of each step, spots and grains.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        outputs = [step.output for step in self.recipe.steps]
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(
            ["scan", "state", *(f"{name}_s" for name in outputs), "spots", "grains", "problem"]
        )
        for state in self.states():
            folder = self.output / state.name
            known = state_of(folder)
            seconds = [known.get(name, {}).get("seconds", "") for name in outputs]
            counts = [self._lines(folder, role) for role in ("table", "grains")]
            table.writerow([state.name, state.state, *seconds, *counts, state.problem])
        path = Path(path).expanduser()
        write_atomically(path, text.getvalue())
        return path

    def _lines(self, folder: Path, role: str) -> int | str:
        """Rows of the last table of a kind; empty if there is none."""
        names = [step.writes[role] for step in self.recipe.steps if role in step.writes]
        if not names:
            return ""
        try:
            with (folder / names[-1]).with_suffix(".csv").open(encoding="utf-8") as file:
                return sum(1 for line in file if line.strip() and not line.startswith("#")) - 1
        except OSError:
            return ""


def version() -> str:
    """Of the package, where this runs."""
    return __version__


def _result(future: Any) -> str:
    """How a unit ended; faults of the worker itself count as a failure of the unit."""
    try:
        return future.result()
    except LabDCTError:
        return FAILED


def _named(scans: list[Path]) -> dict[str, Path]:
    """A folder name for each scan: that of its folder if the file is called as all are."""
    named: dict[str, Path] = {}
    for scan in scans:
        name = scan.resolve().parent.name if scan.name in ("scan.yaml", "scan.yml") else scan.stem
        if name in named:
            raise SettingsError(
                f"Two scans are called {name} ({named[name]} and {scan}); rename a folder."
            )
        named[name] = scan
    return named
