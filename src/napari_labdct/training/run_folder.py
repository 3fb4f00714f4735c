"""The folder of a training: what it writes, so that any crash or stop loses next to nothing.

::

    recipe.json            all that decides the result
    log.jsonl              one line a report: the curve
    validation/000500.npz  a few validation crops: frame, output, target; the newest 20
    best.safetensors       the best model so far, ready to use
    last.safetensors       checkpoint: all that is needed to go on
    stop                   asks the training to end after its iteration; it takes the file away
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..core.errors import ModelError, OutputError, SettingsError, reason
from ..core.files import atomic, cannot_write, read_json, remove, write_atomically
from ..core.locks import alone
from ..core.outputs import taken
from ..core.reading import FAULTS, read_bytes
from ..core.schema import MOST_BYTES, check, parse_json
from ..io.safetensors import read_file, write_file
from ..networks.model import Model
from .learner import Learner
from .log_lines import log_line
from .schedules import same_so_far
from .settings import SynthesisSettings, TrainSettings

PICTURES_KEPT = 20
STALE_S = 60  # a wish to stop older than this, found at the start, was meant for another process


class RunFolder:
    """The files of one training; see above.

    Parameters
    ----------
    path : path
    writes : bool
        False in all but the first of several processes: nothing is written then.
    """

    def __init__(self, path: Path | str, writes: bool = True) -> None:
        self.path, self.writes = Path(path).expanduser(), writes
        self.last = self.path / "last.safetensors"
        self.best = self.path / "best.safetensors"
        self.stop = self.path / "stop"
        self._log = self.path / "log.jsonl"
        if writes:
            try:
                (self.path / "validation").mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise cannot_write(self.path, error) from error

    @property
    def recipe(self) -> dict[str, Any]:
        """What ``recipe.json`` says; empty if there is none."""
        return read_recipe(self.path)

    def claim(self, recipe: dict[str, Any], overwrite: bool) -> None:
        """Refuse a folder that holds something else than a training like this; or empty it.

        Parameters
        ----------
        recipe : dict
            All that decides the weights.
        overwrite : bool
            Another training may go. One with the same settings is gone on with all the same.

        Raises
        ------
        OutputError
            Something else is there. A checkpoint with other settings is refused by `load`.
        """
        if not self.writes:
            return
        there = self.recipe
        found = [p for p in (self.path / "recipe.json", self._log, self.best, self.last,
                             *self._pictures()) if p.exists()]  # fmt: skip
        if not found or self._goes_on(there, recipe):
            return
        if not overwrite:
            if "train" in there and self.last.exists():
                return
            raise taken(found[0] if not there else self.path)
        for path in (self.last, *reversed(found)):
            remove(path)

    def _goes_on(self, there: dict[str, Any], recipe: dict[str, Any]) -> bool:
        notes = ("job", "given", "napari_labdct", "created")
        there = {k: v for k, v in there.items() if k not in notes}
        try:
            done = 0
            if self.last.exists():
                metadata = read_file(self.last)[1]
                there, done = json.loads(metadata["recipe"]), json.loads(metadata["state"])
                done = done["iteration"]
            return "train" in there and _same_so_far(there, recipe, done)
        except (ModelError, SettingsError, KeyError, TypeError, ValueError):
            return False

    def _pictures(self) -> list[Path]:
        return sorted(self.path.glob("validation/*.npz"))

    def held(self) -> AbstractContextManager[None]:
        """The block trains here: another process that wants to is told so."""
        return alone(self.path / "recipe.json", self.path) if self.writes else nullcontext()

    def begin(self, recipe: dict[str, Any], iteration: int) -> None:
        """Write the recipe, and forget what came after an iteration: it will come again."""
        if not self.writes:
            return
        made = {"job": "training", **recipe, "napari_labdct": __version__}
        made["created"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        write_atomically(self.path / "recipe.json", json.dumps(made, indent=1) + "\n")
        lines = [line for line in read_log(self.path) if line["done"] <= iteration]
        write_atomically(self._log, "".join(json.dumps(line) + "\n" for line in lines))
        for picture in self._pictures():
            if not picture.stem.isdecimal() or int(picture.stem) > iteration:
                remove(picture)
        try:
            if time.time() - self.stop.stat().st_mtime > STALE_S:
                remove(self.stop)
        except OSError:
            pass  # nobody asked

    def log(self, report: dict[str, Any]) -> None:
        """Add one line to the log."""
        if not self.writes:
            return
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(report) + "\n")
        except OSError as error:
            raise cannot_write(self._log, error) from error

    def keep_pictures(self, iteration: int, pictures: dict[str, np.ndarray]) -> None:
        """Write the validation pictures of an iteration and drop the oldest."""
        path = self.path / "validation" / f"{iteration:06d}.npz"
        with atomic(path) as part, open(part, "wb") as file:
            np.savez_compressed(file, **pictures)
        for old in sorted(path.parent.glob("*.npz"), key=lambda p: int(p.stem))[:-PICTURES_KEPT]:
            remove(old)

    @property
    def stop_asked(self) -> bool:
        """Whether somebody wants the training to end here."""
        return self.stop.exists()

    def forget_stop(self) -> None:
        """Take the wish to stop away, since the training has ended."""
        if self.writes:
            remove(self.stop)

    def save(self, recipe: dict[str, Any], state: dict[str, Any], learner: Learner) -> None:
        """Write the checkpoint; a failure leaves the one before.

        Raises
        ------
        OutputError
            The disk is full or the folder went away.
        """
        if not self.writes:
            return
        state = {**state, "scaler": learner.scaler.state_dict()}
        metadata = {"kind": "checkpoint", "recipe": json.dumps(recipe), "state": json.dumps(state)}
        self._keep_previous(write_file, self.last, dict(learner.tensors()), metadata)

    def save_best(self, model: Model) -> None:
        """Write the best model; a failure leaves the one before."""
        if self.writes:
            self._keep_previous(model.save, self.best)

    def _keep_previous(self, write, path: Path, *what: Any) -> None:
        try:
            write(path, *what)
        except OutputError as error:
            reason = error.__cause__
            raise OutputError(
                f"'{path}' cannot be written ({getattr(reason, 'strerror', '') or reason}) and "
                "stays as it was; free some space, and the same command goes on from there."
            ) from error

    def load(self, recipe: dict[str, Any], learner: Learner) -> dict[str, Any]:
        """Put the checkpoint into a learner; returns the state of the training.

        Raises
        ------
        ModelError
            The checkpoint cannot be read, or belongs to a training with other settings.
        """
        try:
            tensors, metadata = read_file(self.last)
        except ModelError as error:
            fault = str(error).partition(";")[0].rstrip(".")
            raise ModelError(f"{fault}; train in another folder.") from error
        if metadata.get("kind") != "checkpoint":
            raise ModelError(
                f"'{self.last.name}' is not a training checkpoint; train in another folder."
            )
        try:
            state = check(parse_json(metadata["state"]), _STATE)
            old = check(parse_json(metadata["recipe"]), {"train": dict, "synthesis?": dict})
            same = _same_so_far(old, recipe, state["iteration"])
        except (KeyError, ValueError) as error:
            raise self._damaged(error) from error
        if not same:
            raise ModelError(
                f"The checkpoint in '{self.path}' belongs to a training with other settings; "
                "go on with those, or train in another folder."
            )
        try:
            learner.load(tensors, state.pop("scaler", {}))
        except FAULTS as error:
            raise self._damaged(error) from error
        return state

    def _damaged(self, error: Exception) -> ModelError:
        return ModelError(
            f"The checkpoint '{self.last}' is damaged ({reason(error)}); train in another folder."
        )


_STATE = {"iteration": int, "scaler?": dict}


def _same_so_far(old: dict[str, Any], new: dict[str, Any], iteration: int) -> bool:
    """Whether two recipes lead to the same weights; settings a recipe lacks are the defaults."""
    one, other = (TrainSettings.from_dict(recipe["train"]) for recipe in (old, new))
    rest = [{k: v for k, v in recipe.items() if k != "train"} for recipe in (old, new)]
    for recipe in rest:
        if "synthesis" in recipe:
            recipe["synthesis"] = SynthesisSettings.from_dict(recipe["synthesis"])
    return rest[0] == rest[1] and same_so_far(one, other, iteration)


def read_recipe(folder: Path | str) -> dict[str, Any]:
    """What ``recipe.json`` of a training says; empty if there is none."""
    return read_json(Path(folder).expanduser() / "recipe.json")


def read_log(folder: Path | str) -> list[dict[str, Any]]:
    """The reports of a training; a line that a crash cut off is left out."""
    try:
        text = read_bytes(Path(folder) / "log.jsonl", MOST_BYTES, ModelError)
    except OSError:
        return []
    return [line for line in map(log_line, text.splitlines()) if line is not None]


@dataclass
class Asked:
    """Who wants a training to stop: True once Ctrl-C was pressed."""

    interrupted: bool = False


@contextmanager
def stopping_on_signals(folder: Path | str, first: bool = True) -> Iterator[Asked]:
    """SIGTERM and SIGINT (Ctrl-C) become a wish to stop; a second Ctrl-C ends at once.

    Of several processes only the first one asks; the others end with it.

    Yields
    ------
    Asked
        Whether Ctrl-C was pressed.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # Python hands signals to the main thread only
        return
    stop = Path(folder).expanduser() / "stop"

    def ask(number: int, frame: Any) -> None:
        if first:
            stop.parent.mkdir(parents=True, exist_ok=True)
            stop.touch()
            if number == signal.SIGINT:
                asked.interrupted = True
                words = "Stopping after this step, which is kept; Ctrl-C again ends at once."
                os.write(2, f"\n{words}\n".encode())  # print may be at work where we interrupt
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    except KeyboardInterrupt:
        remove(stop)  # it ended, so that nobody else is to end by it
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
