"""Stages of a training, and how the learning rate goes."""

from __future__ import annotations

import math

from .settings import TrainSettings

WHOLE, FROZEN, UNFROZEN = "whole network", "frozen", "unfrozen"
# One cycle, as in the lesson that the paper follows: up over this part of a stage from this part
# of the peak, then down to nearly nothing.
CYCLE_UP, CYCLE_START, CYCLE_END = 0.3, 1 / 25, 1e-5


def stage_of(settings: TrainSettings, iteration: int) -> str:
    """The stage an iteration belongs to: the whole network, or its encoder frozen first."""
    if not settings.frozen_iterations:
        return WHOLE
    return FROZEN if iteration < settings.frozen_iterations else UNFROZEN


def learning_rate_at(settings: TrainSettings, iteration: int) -> float:
    """The learning rate of an iteration (from 0); every stage has a schedule of its own.

    ``cosine``: linear warm-up, a level stretch (none by default), then a cosine down to a
    hundredth. ``one-cycle``: a cosine up to the peak and one down. ``fixed``: always the peak.
    """
    begin, end, peak = 0, settings.iterations, settings.learning_rate
    stage = stage_of(settings, iteration)
    if stage == FROZEN:
        end = min(settings.frozen_iterations, end)
    elif stage == UNFROZEN:
        begin = settings.frozen_iterations
        peak = settings.unfrozen_rate
        peak = settings.learning_rate / 10 if peak is None else peak
    done, length = iteration - begin, end - begin
    if settings.schedule == "fixed":
        return peak
    if settings.schedule == "one-cycle":
        up = CYCLE_UP * length
        if done < up:
            return peak * (CYCLE_START + (1 - CYCLE_START) * (1 - _falling(done / up)))
        return peak * (CYCLE_END + (1 - CYCLE_END) * _falling((done - up) / max(length - up, 1)))
    if done < settings.warmup:
        return peak * (done + 1) / settings.warmup
    start = settings.warmup
    if settings.decay is not None:
        start = max(length - settings.decay, start)
    return peak * (0.01 + 0.99 * _falling(max(done - start, 0) / max(length - start, 1)))


def _falling(part: float) -> float:
    """Half a cosine from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * part))


def same_so_far(old: TrainSettings, new: TrainSettings, iterations: int) -> bool:
    """Whether two trainings are one up to here: the end may move until the rate has to fall."""
    ends = {"iterations": 1, "decay": None, "patience": 0}  # what says when to end
    if old.replace(**ends) != new.replace(**ends):
        return False
    return all(learning_rate_at(old, k) == learning_rate_at(new, k) for k in range(iterations))
