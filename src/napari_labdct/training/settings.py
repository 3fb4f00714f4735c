"""What can be chosen about a training; importing it loads no torch, so forms open quickly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ..core.parameters import Param, Settings
from ..networks.registry import NETWORKS

NETWORK_NAMES = tuple(NETWORKS)
# The names in `losses.LOSSES`, which loads torch (tests/training/test_schedules.py checks it).
LOSS_NAMES = ("bce-dice", "eq3", "lesson7")
SCHEDULES = ("cosine", "one-cycle", "fixed")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Settings):
    """How a network is trained; with the synthesis settings, all that decides the result."""

    job = "training"

    network: Annotated[str, Param("Network", choices=NETWORK_NAMES)] = "compact"
    loss: Annotated[str, Param("Loss", choices=LOSS_NAMES)] = "bce-dice"
    encoder: Annotated[
        str,
        Param(
            "Encoder weights",
            help="Of network paper: imagenet (downloaded once), a file of such weights, or random.",
        ),
    ] = "imagenet"
    features: Annotated[
        str,
        Param(
            "Loss network weights",
            help="Of losses eq3 and lesson7: imagenet (downloaded once), a file of "
            "such weights, or random.",
        ),
    ] = "imagenet"
    iterations: Annotated[int, Param("Iterations", min=1, help="Steps of the optimiser.")] = 6000
    batch: Annotated[int, Param("Batch", unit="crops", min=1)] = 16
    learning_rate: Annotated[float, Param("Learning rate", min=0, help="Peak.")] = 3e-3
    schedule: Annotated[
        str,
        Param(
            "Schedule",
            choices=SCHEDULES,
            help="How the learning rate goes: warm-up, level, cosine down; one cycle up and down "
            "in each stage; or fixed, as in the paper.",
        ),
    ] = "cosine"
    warmup: Annotated[
        int, Param("Warm-up", unit="iterations", min=0, help="Of the cosine schedule.")
    ] = 100
    decay: Annotated[
        int | None,
        Param(
            "Decay",
            unit="iterations",
            min=0,
            help="Last iterations, over which the learning rate falls; all of them if not given.",
        ),
    ] = None
    frozen_iterations: Annotated[
        int,
        Param(
            "Frozen encoder",
            unit="iterations",
            min=0,
            help="First stage, in which a pretrained encoder keeps its weights, as in the paper; "
            "0 trains the whole network at once.",
        ),
    ] = 0
    unfrozen_rate: Annotated[
        float | None,
        Param(
            "Learning rate, unfrozen",
            min=0,
            help="Peak of the stage after the frozen one; a tenth of the first if not given.",
        ),
    ] = None
    weight_decay: Annotated[float, Param("Weight decay", min=0)] = 1e-2
    clip: Annotated[float, Param("Gradient clip", min=0, help="Largest gradient norm.")] = 1.0
    ema: Annotated[
        float, Param("Weight averaging", min=0, max=1, help="Decay; the average is kept.")
    ] = 0.998
    precision: Annotated[
        str,
        Param("Precision", choices=PRECISIONS, help="Of the convolutions."),
    ] = "float32"
    block_px: Annotated[int, Param("Normalisation block", unit="px", min=8, max=256)] = 32
    median_window: Annotated[
        int, Param("Rolling median", unit="projections", min=3, help="Default when denoising.")
    ] = 31
    seed: Annotated[int, Param("Seed", min=0)] = 0
    validation_crops: Annotated[int, Param("Validation crops", min=1)] = 96
    validate_every: Annotated[int, Param("Validate every", unit="iterations", min=1)] = 500
    patience: Annotated[
        int,
        Param(
            "Patience",
            unit="validations",
            min=0,
            help="Stop early after so many without a better F1; 0 goes to the end.",
        ),
    ] = 0
    checkpoint_every: Annotated[int, Param("Checkpoint every", unit="iterations", min=1)] = 250
    report_every: Annotated[int, Param("Report every", unit="iterations", min=1)] = 50
    parts: Annotated[
        int,
        Param(
            "Parts of a batch",
            min=1,
            help="Each goes through the network alone, their gradients are averaged; several "
            "processes share them, so they are at least as many as the processes.",
        ),
    ] = 1


@dataclass(frozen=True, kw_only=True)
class SynthesisSettings(Settings):
    """What the training crops hold; ranges are sampled per crop, mostly log-uniformly."""

    job = "synthesis"

    crop_px: Annotated[int, Param("Crop size", unit="px", min=32, max=2048, help="Side.")] = 192
    level_min: Annotated[float, Param("Lowest grey level", unit="counts", min=1)] = 40.0
    level_max: Annotated[float, Param("Highest grey level", unit="counts", min=1)] = 20000.0
    noise_min: Annotated[float, Param("Lowest variance per grey level", min=0.05)] = 0.5
    noise_max: Annotated[float, Param("Highest variance per grey level", min=0.05)] = 2.0
    snr_min: Annotated[float, Param("Lowest spot SNR", min=0.01)] = 0.1
    snr_max: Annotated[float, Param("Highest spot SNR", min=0.1)] = 28.0
    window_min: Annotated[int, Param("Smallest median window", unit="projections", min=3)] = 5
    window_max: Annotated[int, Param("Largest median window", unit="projections", min=3)] = 61
    near_field: Annotated[
        float, Param("Part of near-field crops", min=0, max=1, help="Large, line-like spots.")
    ] = 0.25
    no_median: Annotated[
        float, Param("Part of crops without median", min=0, max=1, help="Channel dropout.")
    ] = 0.17
    visible_from: Annotated[
        float,
        Param("Ignored below", min=0, help="Spots with SNR sqrt(area) below it: no label."),
    ] = 3.0
    background_below: Annotated[
        float,
        Param("Background below", min=0, help="Spots with SNR sqrt(area) below it: background."),
    ] = 1.5
    gap_weight: Annotated[
        float,
        Param(
            "Weight of gaps",
            min=0,
            help="Of the two pixels between close spots, in the loss: more parts neighbours, and "
            "cuts large, granular spots into pieces.",
        ),
    ] = 5.0
