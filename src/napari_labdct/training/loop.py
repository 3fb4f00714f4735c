"""The training loop: read it from top to bottom.

``for progress in train(settings, folder): ...`` trains and yields every `report_every`
iterations; closing the generator stops, calling it again with the same settings and folder
goes on from the last checkpoint along the same curve.  What one step does is in `learner`,
where crops come from in `batches`, what the folder holds in `run_folder`, how good a network
is in `validation`.  `finetuning` uses the same loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.errors import ModelError, SettingsError
from ..core.jobs import Progress
from ..networks.devices import available_cores, resolve_device
from ..networks.model import Model
from .crops.batches import Batches, Source, Stream
from .crops.reviewed_pairs import ReviewedPairs
from .crops.synthesis import make_crop
from .crops.torch_synthesis import DeviceBatches
from .distributed import Ranks, ranks_here
from .learner import Learner, check_crop_size
from .run_folder import RunFolder
from .schedules import stage_of
from .settings import SynthesisSettings, TrainSettings
from .validation import triptychs, validate, validation_crops

MOST_WORKERS = 16
RENDERINGS = ("auto", "cpu", "device")  # where the pixels of the crops are made
# Why a training ended; the first one says that it goes on.
ENDS = ("", "finished", "no better for long", "stopped")
_, FINISHED, EARLY, STOPPED = ENDS


@dataclass(frozen=True)
class TrainProgress(Progress):
    """`Progress` plus the curve: mean loss since the last report, and validation if it ran.

    ``waited`` is how long the training stood still since the last report because crops were
    missing, in seconds; ``best`` says that this validation is the best so far; ``end`` why the
    training ended here, if it did.
    """

    loss: float = math.nan
    learning_rate: float = math.nan
    seconds: float = 0.0
    validation: dict[str, Any] = field(default_factory=dict)
    stage: str = ""
    best: bool = False
    waited: float = 0.0
    end: str = ""

    @property
    def line(self) -> dict[str, Any]:
        """The line of the log."""
        return {
            "done": self.done, "total": self.total, "stage": self.stage,
            "loss": self.loss if math.isfinite(self.loss) else None,
            "learning_rate": self.learning_rate, "seconds": round(self.seconds, 1),
            "waited": round(self.waited, 2), "validation": self.validation,
            **({"best": True} if self.best else {}), **({"end": self.end} if self.end else {}),
        }  # fmt: skip


def train(
    settings: TrainSettings,
    folder: Path | str,
    synthesis: SynthesisSettings | None = None,
    device: str = "auto",
    start_from: Model | None = None,
    source: Source | None = None,
    workers: int | None = None,
    given: dict[str, Any] | None = None,
    rendering: str = "auto",
    overwrite: bool = False,
) -> Iterator[TrainProgress]:
    """Train a network, from scratch or from a model, or go on with a stopped training.

    Under ``torchrun`` every process calls it alike; the first one validates and writes.

    Parameters
    ----------
    settings : TrainSettings
    folder : path
        Where everything goes (see `run_folder`); a checkpoint found there is resumed.
    synthesis : SynthesisSettings, optional
        The training crops.
    device : str
        ``auto`` or a name from `devices`.
    start_from : Model, optional
        Weights to begin with instead of random ones.
    source : Source, optional
        Reviewed pairs or a scan to cut a part of the crops from, for learning and validation.
    workers : int, optional
        Processes that draw crops; 0 is a thread. By default a thread on the CPU, which would
        have no core left, and beside a GPU all cores but one.
    given : dict, optional
        Kept in ``recipe.json`` under this name: where a command finds its inputs again.
    rendering : str
        ``cpu`` draws crops on the processor, ``device`` makes whole batches where they are learnt
        from (synthetic crops only): other crops of the same kind. ``auto`` goes on as the training
        in the folder began; a new one takes the device if that is a CUDA GPU.
    overwrite : bool
        Replace a training with other settings in the folder instead of refusing.

    Yields
    ------
    TrainProgress

    Raises
    ------
    ModelError
        The folder's checkpoint belongs to a training with other settings or cannot be read, or
        the loss is no number any more.
    SettingsError
        The settings contradict each other, or the source has no crops of this size or none made
        on the device.
    OutputError
        The folder cannot be written, and the checkpoint before stays; or it holds something else,
        or another process trains in it.
    """
    with ranks_here(device) as (ranks, device):
        settings = settings.replace(parts=max(settings.parts, ranks.world))
        synthesis = synthesis or SynthesisSettings()
        check_crop_size(settings.network, synthesis.crop_px)
        place = RunFolder(folder, writes=ranks.first)
        with place.held():
            run = _Run(settings, place, synthesis, resolve_device(device), ranks, start_from,
                       source, given, rendering, overwrite)  # fmt: skip
            yield from run.loop(_workers(run) if workers is None else workers)


class _Run:
    """One training between two stops."""

    def __init__(
        self, settings, folder: RunFolder, synthesis, device, ranks: Ranks, start_from, source,
        given, rendering, overwrite,
    ):  # fmt: skip
        if device.type == "cpu":  # one core draws crops while the others learn
            torch.set_num_threads(min(torch.get_num_threads(), max(available_cores() - 1, 1)))
        self.settings, self.synthesis, self.source = settings, synthesis, source
        self.device, self.ranks = device, ranks
        self.recipe = {"train": settings.to_dict(), "synthesis": synthesis.to_dict()}
        if start_from is not None:
            self.recipe["start_from"] = start_from.sha256
        if source is not None:
            source.check_size(synthesis.crop_px)
            self.recipe[source.kind] = source.recipe
        self.folder = folder
        self.on_device = self._renders_on_device(rendering)
        if self.on_device:
            self.recipe["rendering"] = "device"
        self.folder.claim(self.recipe, overwrite)
        resuming = self.folder.last.exists()
        self.learner = Learner(settings, device, ranks, start_from, resuming)
        self.state: dict[str, Any] = {
            "iteration": 0, "best_f1": -1.0, "since_best": 0, "seconds": 0.0, "history": [],
            "losses": [],
        }  # fmt: skip
        if resuming:
            self.state |= self.folder.load(self.recipe, self.learner)
        self.folder.begin({**self.recipe, "given": given or {}}, self.state["iteration"])
        self._crops = None

    def loop(self, workers: int) -> Iterator[TrainProgress]:
        """Iterations, with reports, validations and checkpoints in between."""
        s, state = self.settings, self.state
        losses: list[torch.Tensor] = []  # on the device: a number asked for stops a GPU
        began = time.monotonic() - state["seconds"]
        if self._out_of_patience():
            return
        with closing(self._batches(workers)) as batches:
            for iteration in range(state["iteration"], s.iterations):
                losses.append(self.learner.step(next(batches), iteration))
                done = iteration + 1
                state["iteration"], state["seconds"] = done, time.monotonic() - began

                validation, best = {}, False
                validates = done % s.validate_every == 0 or done == s.iterations
                if validates and self.ranks.first:
                    validation, best = self._validate(done)
                end = ENDS[self.ranks.agree(ENDS.index(self._end()), self.device)]

                reports = done % s.report_every == 0 or validates or end in (FINISHED, EARLY)
                saves = done % s.checkpoint_every == 0 or end
                if losses and (reports or saves):
                    state["losses"] += self._numbers(losses)
                    losses = []
                progress = TrainProgress(
                    done, s.iterations, loss=_mean(state["losses"]),
                    learning_rate=self.learner.rate, seconds=state["seconds"],
                    validation=validation, stage=stage_of(s, iteration), best=best,
                    waited=batches.waited, end=end,
                )  # fmt: skip
                if reports:  # the log first: a crash before the checkpoint writes it again
                    self.folder.log(progress.line)
                    state["losses"], batches.waited = [], 0.0
                if saves:
                    self.folder.save(self.recipe, state, self.learner)
                if end:
                    self.folder.forget_stop()
                if reports or end:
                    yield progress
                if end:
                    break

    def _renders_on_device(self, rendering: str) -> bool:
        if rendering not in RENDERINGS:
            raise SettingsError(
                f"'{rendering}' is no place to make crops; choose one of {', '.join(RENDERINGS)}."
            )
        if rendering == "device" and self.source is not None:
            raise SettingsError(
                "Only synthetic crops can be made on the device; choose --rendering cpu for crops "
                "from pairs, simulated scans or your own scan."
            )
        if rendering != "auto":
            return rendering == "device"
        begun = self.folder.recipe
        usual = begun.get("rendering") == "device" if begun else self.device.type == "cuda"
        return usual and self.source is None

    def _batches(self, workers: int) -> Stream:
        """Batches from where the training stands, this process's share of them."""
        first, share = self.state["iteration"], (self.ranks.rank, self.ranks.world)
        if self.on_device:
            return DeviceBatches(self.settings, self.synthesis, self.device, first, share, workers)
        draw = partial(self.source.mixed if self.source else make_crop, self.synthesis)
        return Batches(self.settings, draw, first, share, workers)

    def _validate(self, done: int) -> tuple[dict[str, Any], bool]:
        """Judge the averaged weights; keep them if they are the best so far."""
        state = self.state
        if self._crops is None:
            self._crops = validation_crops(self.settings, self.synthesis, self.source)
        model = self.learner.model()
        validation = validate(model, self._crops, loss_of=self.learner.loss_anywhere)
        state["history"].append({"iteration": done, **validation})
        best = validation["f1"] > state["best_f1"]
        state["since_best"] = 0 if best else state["since_best"] + 1
        if best:
            state["best_f1"] = validation["f1"]
            model.threshold = validation["threshold"]
            model.training = {**self.recipe, "iterations_done": done, "validation": validation,
                              "seconds": round(state["seconds"])}  # fmt: skip
            self.folder.save_best(model)
        self.folder.keep_pictures(done, triptychs(model, self._crops))
        return validation, best

    def _end(self) -> str:
        """Why to end here; empty to go on."""
        if self.state["iteration"] == self.settings.iterations:
            return FINISHED
        if self._out_of_patience():
            return EARLY
        return STOPPED if self.folder.stop_asked else ""

    def _out_of_patience(self) -> bool:
        return 0 < self.settings.patience <= self.state["since_best"]

    def _numbers(self, losses: list[torch.Tensor]) -> list[float]:
        """Losses as numbers, the mean over the processes."""
        together = torch.stack(losses)
        self.ranks.average_([together])
        numbers = together.tolist()
        if not any(map(math.isfinite, numbers)):
            raise ModelError(
                f"The loss is no number any more at iteration {self.state['iteration']}; choose a "
                "smaller learning rate, or float32, and train in another folder."
            )
        return numbers


def _mean(losses: list[float]) -> float:
    return float(np.mean(losses)) if losses else math.nan


def _workers(run: _Run) -> int:
    """Processes that draw crops, by default."""
    own_scan = run.source is not None and not isinstance(run.source, ReviewedPairs)
    if run.device.type == "cpu" or own_scan:  # each process would project the scan again
        return 0
    return max(1, min(available_cores() // run.ranks.world_here - 1, MOST_WORKERS))
