"""One recipe over many scans, carried by any executor of ``concurrent.futures``.

The unit is one step of one scan.  All that is known of it lies in the scan's folder, so a campaign
that was stopped, killed or run elsewhere goes on from what is there.
"""

from __future__ import annotations

import contextlib
import glob
import io
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import wait as wait_for
from multiprocessing.process import parent_process
from pathlib import Path
from typing import Any

from .. import cli
from .._version import __version__
from ..core.errors import LabDCTError, OutputError, SettingsError, listed, quoted
from ..core.files import atomic, make_folder
from ..networks.devices import available_cores
from .kinds import TABLE
from .recipe_file import Recipe, read_recipe, recipe_of
from .steps import DONE, FAILED, do, let_go, plan

_MOST_KILLED = 5
_one_at_a_time = threading.Lock()  # what a command prints is caught for the whole process


@dataclass(frozen=True)
class Unit:
    """One step of one scan, to be sent to a worker as plain values."""

    recipe: dict[str, Any]
    number: int
    source: str
    folder: str
    log: str
    threads: int = 0
    overwrite: bool = False
    version: str = __version__


def work(unit: Unit) -> str:
    """Do a unit, here; what it prints goes to the scan's log.

    Returns
    -------
    str
        Empty, or the sentence that says why it failed.
    """
    if unit.version != __version__:
        return (
            f"This worker has napari-labdct {__version__}, the campaign {unit.version}; install "
            "the same version on both."
        )
    with _one_at_a_time, _logged(unit.log):
        try:
            if unit.threads:
                import torch

                torch.set_num_threads(unit.threads)
            recipe = recipe_of(unit.recipe, "The recipe")
            planned = plan(recipe, unit.source, unit.folder)[unit.number]
            print(f"{planned.step.name}: {planned.state}")  # noqa: T201
            if planned.state != DONE:
                do(planned, unit.source, unit.folder, cli.perform, unit.overwrite)
        except LabDCTError as error:
            print(f"labdct: {error}")  # noqa: T201
            return str(error)
        except Exception as error:  # one scan shall not stop the others
            traceback.print_exc()
            return f"A fault of the program ({type(error).__name__}); see {unit.log}."
    return ""


@contextlib.contextmanager
def _logged(path: str) -> Iterator[None]:
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            yield
    finally:
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
            # a progress bar writes one line over and over: its last state is kept
            lines = text.getvalue().split("\n")
            file.write("\n".join(line.rsplit("\r", 1)[-1] for line in lines))


class Campaign:
    """A recipe and the scans it is run on.

    Parameters
    ----------
    recipe : Recipe or path
    scans : str or sequence of str
        Files, folders or patterns, such as ``"scans/*/scan.yaml"``.
    output : path
        Of the results: a folder for each scan.
    logs : path, optional
        Of the logs, one a scan; ``output/logs`` if not given.

    Attributes
    ----------
    scans : dict of str to str
        What to open, by the name of the scan.

    Raises
    ------
    SettingsError
        The recipe cannot be run, or no scan is there.
    """

    def __init__(
        self,
        recipe: Recipe | str | Path,
        scans: str | Sequence[str],
        output: str | Path,
        logs: str | Path | None = None,
    ) -> None:
        self.recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
        self.output = Path(output).expanduser().absolute()
        self.logs = self.output / "logs" if logs is None else Path(logs).expanduser().absolute()
        self.scans = _named([scans] if isinstance(scans, str) else list(scans))

    def state(self) -> Iterator[tuple[str, str, str, str]]:
        """Scan, step, state and fault of every unit; nothing is written."""
        for name, source in self.scans.items():
            try:
                planned = plan(self.recipe, source, self.output / name)
            except LabDCTError as error:
                yield name, "", FAILED, str(error)
                continue
            for one in planned:
                yield name, one.step.name, one.state, one.error

    def run(
        self,
        workers: int = 1,
        executor: Any = None,
        *,
        only_failed: bool = False,
        overwrite: bool = False,
    ) -> Iterator[tuple[str, str, str]]:
        """Do what is not done yet; one failed scan does not stop the others.

        Parameters
        ----------
        workers : int
            Processes here; one works in this process.
        executor : concurrent.futures.Executor, optional
            Carries the units instead, such as ``dask.distributed.Client(...).get_executor()``.
        only_failed : bool
            Only scans of which a step has failed.
        overwrite : bool
            Replace what is not ours, too.

        Yields
        ------
        scan, step, fault : str
            As each unit ends; `fault` is empty if it is done.
        """
        make_folder(self.output)
        make_folder(self.logs)
        queues: dict[str, list[Unit]] = {}
        for name, source in self.scans.items():
            try:
                planned = plan(self.recipe, source, self.output / name)
            except LabDCTError as error:
                yield name, "", str(error)
                continue
            if only_failed and not any(one.state == FAILED for one in planned):
                continue
            for one in planned:
                if one.state == DONE:
                    let_go(one, self.output / name)
            threads = max(1, available_cores() // workers) if workers > 1 else 0
            queues[name] = [
                Unit(
                    self.recipe.to_dict(), k, source, str(self.output / name),
                    str(self.logs / f"{name}.log"), threads, overwrite,
                )
                for k, one in enumerate(planned)
                if one.state != DONE
            ]  # fmt: skip
        steps = [step.name for step in self.recipe.steps]
        carried = _here(queues) if workers == 1 and executor is None else None
        for name, unit, fault in carried or _carried(queues, workers, executor):
            yield name, steps[unit.number], fault

    def collect(self, path: str | Path) -> int:
        """Write one table of the spots of all scans whose table is there; gives their number.

        Raises
        ------
        OutputError
            No table is there, or the file cannot be written.
        """
        names = [s.outputs()[TABLE] for s in self.recipe.steps if s.kind.name == "measure"]
        if not names:
            raise SettingsError("The recipe measures no spots; add the step 'measure' to it.")
        tables = {name: self.output / name / names[-1] for name in self.scans}
        there = {name: table for name, table in tables.items() if table.is_file()}
        if not there:
            raise OutputError(f"{self.output} holds no table yet; run the campaign first.")
        head = ""
        with atomic(path) as part, open(part, "w", encoding="utf-8") as file:
            for name, table in there.items():
                with open(table, encoding="utf-8") as one:
                    lines = (line for line in one if not line.startswith("#"))
                    mine = next(lines, "")
                    if not head:
                        head = mine
                        file.write(f"scan,{head}")
                    if mine != head:
                        raise OutputError(f"{table} has other columns; run the campaign again.")
                    file.writelines(f"{name},{line}" for line in lines)
        return len(there)


def _named(given: list[str]) -> dict[str, str]:
    found: list[str] = []
    for text in given:
        matches = sorted(glob.glob(os.path.expanduser(text), recursive=True))
        if not matches:
            raise SettingsError(f"There is no scan {quoted(text)}; check the pattern.")
        found += matches
    named: dict[str, str] = {}
    for source in dict.fromkeys(os.path.abspath(path) for path in found):
        path = Path(source)
        name = path.parent.name if path.name in ("scan.yaml", "scan.yml") else path.stem
        if name in named or name == "logs":
            name = f"{path.parent.parent.name}_{name}"
        if name in named:
            raise SettingsError(
                f"Two scans would both be called '{name}': {listed([named[name], source], 300)}; "
                "rename a folder."
            )
        named[name] = source
    return named


_Ended = tuple[str, Unit, str]


def _here(queues: dict[str, list[Unit]]) -> Iterator[_Ended]:
    for name, units in queues.items():
        for unit in units:
            fault = work(unit)
            yield name, unit, fault
            if fault:
                break


def _carried(queues: dict[str, list[Unit]], workers: int, executor: Any) -> Iterator[_Ended]:
    """Units in other processes: the steps of one scan one after the other, scans at once."""
    left = {name: list(units) for name, units in queues.items() if units}
    killed: dict[str, int] = {}
    while left:
        own = executor is None
        with _few_threads(workers) if own else contextlib.nullcontext():
            carrier = _pool(workers) if own else executor
            try:
                at_once = 2 * workers if own else len(left)
                yield from _until_broken(left, carrier, at_once, killed)
            finally:
                if own:
                    carrier.shutdown(cancel_futures=True)


def _until_broken(
    left: dict[str, list[Unit]], carrier: Any, at_once: int, killed: dict[str, int]
) -> Iterator[_Ended]:
    """Carry units until all are done, or until a worker is killed."""
    running: dict[Future, str] = {}
    waiting = list(left)
    while waiting or running:
        broken = False
        try:
            while waiting and len(running) < at_once:
                running[carrier.submit(work, left[waiting[0]][0])] = waiting[0]
                waiting.pop(0)
        except BrokenProcessPool:
            broken = True
        ended = wait(running, return_when=FIRST_COMPLETED).done if running else set()
        for future in ended:
            name = running.pop(future)
            unit = left[name][0]
            try:
                fault = future.result()
            except BrokenProcessPool:
                broken = True
                killed[name] = killed.get(name, 0) + 1
                if killed[name] < _MOST_KILLED:
                    continue
                fault = f"Its worker was killed {_MOST_KILLED} times; see {unit.log}."
            except Exception as error:  # the executor's own: a worker lost, a job that ended
                fault = f"Its worker was lost ({type(error).__name__}); run the campaign again."
            left[name].pop(0)
            if not fault:
                killed.pop(name, None)
            if fault or not left[name]:
                del left[name]
            else:
                waiting.insert(0, name)
            yield name, unit, fault
        if broken:
            wait(running)
            return


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, get_context("spawn"), _begin)


def _begin() -> None:
    """A worker leaves Ctrl-C to the campaign, and ends when the campaign has ended."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)


@contextlib.contextmanager
def _few_threads(workers: int) -> Iterator[None]:
    """Processes begun in the block share the cores."""
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(max(1, available_cores() // workers))))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def problems(ended: Iterator[tuple[str, str, str]]) -> int:
    """Show units as they end; gives how many failed."""
    failed = 0
    for scan, step, fault in ended:
        failed += bool(fault)
        print(f"{scan} {step}: {fault or 'done'}", file=sys.stderr)  # noqa: T201
    return failed
