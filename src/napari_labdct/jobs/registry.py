"""Jobs by name. To add one: docs/architecture.md, "A new job"."""

from __future__ import annotations

from ..core.jobs import Job
from ..core.registry import Registry

_HERE = "napari_labdct"

#: Classes of jobs by name, in the order of work; other packages add theirs as entry points.
#: A class says what it reads (`needs`), what comes out (`makes`, `ending`) and with which settings
#: (`settings_type`); ``JOBS[name].of(scan, settings, files).make(path)`` runs it.
JOBS: Registry[type[Job]] = Registry(
    "job",
    "napari_labdct.jobs",
    {
        "median": f"{_HERE}.background.stored_median:MedianJob",
        "background": f"{_HERE}.background.extraction:Extraction",
        "background-set": f"{_HERE}.background.sets:Measurement",
        "denoise": f"{_HERE}.networks.denoising:Denoiser",
        "track": f"{_HERE}.spots.tracking:Tracker",
        "binarise": f"{_HERE}.spots.binarisation:BinariseJob",
        "routine": f"{_HERE}.spots.log_routine:RoutineJob",
        "measure": f"{_HERE}.review.measuring:MeasureJob",
        "grains": f"{_HERE}.grains.mapping:GrainMapping",
    },
)
