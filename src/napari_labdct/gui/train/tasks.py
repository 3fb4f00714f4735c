"""What a training comes to and what may be trained: no Qt here, and nothing of the viewer."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass

from ...core.jobs import Progress
from ...core.parameters import arguments_of
from ...networks.library import list_models
from ...training.crops.reviewed_pairs import FineTuneSettings
from ...training.settings import TrainSettings
from ..app import preferences

#: Part of the time that goes into iterations; the rest into starting, validations, files.
_WORKING_PART = 0.85


@dataclass(frozen=True)
class Offered:
    """Models to start from with their networks, and devices to train on."""

    models: dict[str, str]
    devices: dict[str, str]


def look_around() -> Generator[Progress | Offered, None, None]:
    """Find models and devices; for a worker, since it loads torch."""
    from safetensors import SafetensorError, safe_open

    from ...networks.devices import devices

    yield Progress(0, 0, "Looking for models")
    found = {}
    for model in list_models():
        try:
            with safe_open(model.path, framework="pt") as file:
                found[model.name] = json.loads(file.metadata()["architecture"])["network"]
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            continue  # no model; the Denoise dock says so
    yield Offered(found, devices())


@dataclass(frozen=True)
class Plan:
    """A training as the dock asks for it.

    Parameters
    ----------
    title : str
    command : str
        ``train`` or ``finetune``.
    settings : TrainSettings or FineTuneSettings
    more : tuple of str
        All other arguments of the command.
    seconds : float, optional
        How long it may take; without it ``settings.iterations`` counts.
    same_speed : tuple of str
        Arguments of a ``labdct train`` whose iterations take as long.
    keep_going : bool
        It outlives the window.
    """

    title: str
    command: str
    settings: TrainSettings | FineTuneSettings
    more: tuple[str, ...]
    seconds: float | None
    same_speed: tuple[str, ...]
    keep_going: bool = False

    @property
    def seconds_each(self) -> float | None:
        """Time of an iteration as measured last on this computer."""
        value = preferences.load_last("train_speed").get(" ".join(self.same_speed))
        return float(value) if isinstance(value, (int, float)) and value > 0 else None

    @property
    def iterations(self) -> int | None:
        """How many there will be; None until the speed was measured."""
        if self.seconds is None:
            return self.settings.iterations
        each = self.seconds_each
        return None if each is None else max(10, int(_WORKING_PART * self.seconds / each))

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of the command, once the number of iterations is known."""
        settings = paced(self.settings, self.iterations or self.settings.iterations)
        return (*self.more, *arguments_of(settings))

    def remember_speed(self, seconds: float) -> None:
        """Keep what an iteration took, for the next plan."""
        known = preferences.load_last("train_speed")
        known[" ".join(self.same_speed)] = round(seconds, 5)
        preferences.save_last("train_speed", known)


def paced(
    settings: TrainSettings | FineTuneSettings, iterations: int
) -> TrainSettings | FineTuneSettings:
    """Settings for another number of iterations: about 20 validations and 100 reports.

    What the user set by hand stays.
    """
    usual = type(settings)()
    wanted = {
        "iterations": iterations,
        "warmup": min(usual.warmup, iterations // 10),
        "validate_every": max(1, iterations // 20),
        "checkpoint_every": min(usual.checkpoint_every, max(1, iterations // 20)),
        "report_every": max(1, min(50, iterations // 100)),
    }
    changes = {
        name: value
        for name, value in wanted.items()
        if hasattr(settings, name)
        and (name == "iterations" or getattr(settings, name) == getattr(usual, name))
    }
    return settings.replace(**changes)
