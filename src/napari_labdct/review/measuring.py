"""The job that measures every spot of a scan into a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from ..background.rolling_median import SPOT_WINDOW
from ..core.frame_store import spare_inputs
from ..core.jobs import DENOISED, MASK, SPOTS, TABLE, Job, Output, Progress
from ..core.outputs import held
from ..core.parameters import Param, Settings
from ..io.label_stacks import read_labels
from ..io.spot_tables import claim
from ..scan.scan import Scan
from ..spots.detections import Detections
from ..spots.stacks import check_stack
from .export import export_table, frame_names, measure_reviewed, spots_recipe
from .review import REVIEW_DTYPE, Review, ReviewedFrames

#: Spots that are in the table: not looked at, and accepted.
_KEPT = (0, 1)


@dataclass(frozen=True, kw_only=True)
class MeasureSettings(Settings):
    """How spots are measured."""

    job: ClassVar[str] = "spots"

    median_window: Annotated[
        int,
        Param("Rolling median", "projections", 3, 361, 2, "Local background of the spots."),
    ] = SPOT_WINDOW


class MeasureJob(Job):
    """The table of all spots of a scan, as ``labdct spots`` writes it.

    Parameters
    ----------
    scan : Scan
    detections : Detections
    settings : MeasureSettings
    review : Review, optional
        Rejected spots are left out, corrected ones are measured as they were corrected.
    files : tuple of path
        What `detections` was read from.
    """

    name = "spots"
    settings_type = MeasureSettings
    needs = (MASK,)
    also = (DENOISED,)
    makes = SPOTS
    ending = ".csv"
    scan: Scan
    settings: MeasureSettings

    def __init__(
        self,
        scan: Scan,
        detections: Detections,
        settings: MeasureSettings | None = None,
        review: Review | None = None,
        files: tuple[Path, ...] = (),
    ) -> None:
        self.scan, self.detections = scan, detections
        self.settings = settings or MeasureSettings()
        self.review = review or Review(detections.shape)
        self._files = files
        detections.check(scan)

    @classmethod
    def _of(cls, scan: Scan, settings: MeasureSettings, files: Mapping[str, Path]) -> Self:
        mask, denoised = read_labels(files[MASK]), None
        check_stack(files[MASK], mask, scan, MASK)
        if DENOISED in files:
            denoised = read_labels(files[DENOISED])
            check_stack(files[DENOISED], denoised, scan, DENOISED)
        read = tuple(files[content] for content in (*cls.needs, *cls.also) if content in files)
        return cls(scan, Detections(mask, cleaned=denoised), settings, files=read)

    @property
    def output(self) -> Output:
        return Output((), REVIEW_DTYPE, TABLE)

    @property
    def inputs(self) -> tuple[Any, ...]:
        return (self.scan, *self._files, self.review.path)

    def recipe(self) -> dict[str, Any]:
        """That of ``labdct spots`` with its usual choice of spots."""
        window = self.settings.median_window
        how = {"keep": "not-rejected", "where": ""}
        return spots_recipe(self.scan, self.detections, self.review, window, **how)

    def make(self, path: str | Path, *, overwrite: bool = False) -> Iterator[Progress]:
        """As `Job.make`; the end of the name says the format, see `export.export_table`."""
        output, count = Path(path).expanduser(), self.scan.n_frames
        spare_inputs([output], *self.inputs)
        with held(output):
            made = self.recipe()
            recipe = claim(output, made, overwrite)
            if recipe is not made and output.exists():
                yield Progress(count, count, f"{output} holds this table already.")
                return
            yield Progress(0, count)
            tables = []
            window = self.settings.median_window
            for table in measure_reviewed(self.scan, self.detections, self.review, window):
                tables.append(table[np.isin(table["status"], _KEPT)])
                yield Progress(len(tables), count, frame=len(tables) - 1)
            kept = ReviewedFrames(self.detections, self.review, _KEPT)
            export_table(output, np.concatenate(tables), recipe, kept, frame_names(self.scan))
