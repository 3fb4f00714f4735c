"""What the Denoise dock runs: generators for a worker, and the layers they lead to.

The generators below hold no Qt; `DenoiseController` lives in the session, so a run goes on
when its dock is closed and a reopened dock finds it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.frame_store import FrameStore
from ...core.jobs import FrameJob, Progress
from ...networks.denoising import Denoiser, DenoiseSettings, output_shape
from ...networks.registry import NETWORKS
from ...scan.scan import Scan
from ...spots.binarisation import SpotSettings
from ...spots.tracking import Tracker
from ..app.job import limit_threads, report
from ..app.live_mask import LiveMask
from ..app.loaded_model import models
from ..app.result_cache import open_result

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Opened:
    """A result file ready to be filled: sent to the GUI before the first frame."""

    store: FrameStore
    recipe: dict[str, Any]
    mask: LiveMask


def denoise(
    scan: Scan,
    settings: DenoiseSettings,
    frames: Sequence[int],
    folder: Path,
    limit_gb: float,
    spots: SpotSettings | None = None,
    shown: int = 0,
) -> Generator[Progress | Opened, None, None]:
    """Clean frames into a result file in the cache folder, new or begun before.

    Parameters
    ----------
    scan : Scan
    settings : DenoiseSettings
    frames : sequence of int
    folder, limit_gb
        Where results are kept, and how large that folder may grow.
    spots : SpotSettings, optional
        How the result is cut at first; with the model's threshold if not given.
    shown : int
        The frame on the screen, whose mask is cut here if it is done already.
    """
    yield Progress(0, 0, "Loading the model")
    model = models.get(settings.model, settings.device)
    limit_threads()
    denoiser = Denoiser(scan, settings, model)
    yield Progress(0, 0, "Opening the result file")
    cut_so = spots or SpotSettings(threshold=model.threshold)
    opened = _open(denoiser, folder, limit_gb, cut_so, shown)
    yield opened
    yield from denoiser.run(opened.store, frames)


def track(
    scan: Scan,
    cleaned: FrameStore,
    folder: Path,
    limit_gb: float,
    spots: SpotSettings,
    shown: int = 0,
) -> Generator[Progress | Opened, None, None]:
    """Confirm the spots of a cleaned stack by its neighbours, into a result file of its own.

    Parameters are those of `denoise`; `cleaned` is the whole output of it.
    """
    yield Progress(0, 0, "Looking at the geometry")
    tracker = Tracker(scan, cleaned)
    yield from tracker.survey()
    opened = _open(tracker, folder, limit_gb, spots, shown)
    yield opened
    yield from tracker.run(opened.store)


def _open(job: FrameJob, folder: Path, limit_gb: float, spots: SpotSettings, shown: int) -> Opened:
    """The result of a job, and its mask, which is cut when it is looked at."""
    store = open_result(job, folder, limit_gb)
    mask = LiveMask(store, spots)
    mask.prepare(shown, mask.settings)
    mask.asleep = True
    return Opened(store, store.recipe, mask)


def cut(mask: LiveMask, index: int, settings: SpotSettings) -> Generator[Any, None, None]:
    """Cut one frame anew and count its spots."""
    yield settings, index, mask.prepare(index, settings)


def save_frames(
    path: Path, stack: Any, orientation: int, made: dict[str, Any]
) -> Generator[Progress, None, None]:
    """Write a stack as TIFF, one page a projection, and its recipe beside it."""
    from ...io import write_frames
    from ...io.spot_tables import described

    total = int(stack.shape[0])

    def frames() -> Iterator[np.ndarray]:
        for index in range(total):
            report(Progress(index, total))
            yield np.asarray(stack[index])

    yield Progress(0, total)
    with described(path, {"recipe": made}):
        write_frames(path, frames(), orientation=orientation, count=total)
    yield Progress(total, total, f"Wrote {path}")


def disk_bytes(scan: Scan, output_px: int | None) -> int:
    """Size of the result file of a whole scan."""
    return int(scan.n_frames * np.prod(output_shape(scan.shape, output_px)))


def memory_bytes(scan: Scan, window: int, network: str = "compact") -> int:
    """Estimate of the working memory of a run: the median's window twice, and the network."""
    pixels = int(np.prod(scan.shape))
    frames = min(window, scan.n_frames) if scan.n_frames >= 3 else 0
    return pixels * (2 * frames * scan.dtype.itemsize + NETWORKS[network].memory_bytes_per_px)
