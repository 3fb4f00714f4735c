"""The kinds of steps: the command each runs, its settings, what it reads and what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core.parameters import Settings
from ..grains.settings import GrainSettings
from ..networks.denoising import DenoiseSettings
from ..spots.binarisation import SpotSettings
from ..spots.log_routine import RoutineSettings
from ..spots.tracking import TrackSettings

#: What steps hand on to one another, in words.
ROLES = {
    "denoised": "a network result",
    "mask": "a mask of the network",
    "routine": "a mask of the routine",
    "table": "a table of spots",
    "grains": "a grain map",
    "report": "a report",
}


@dataclass(frozen=True)
class Kind:
    """One kind of step.

    Attributes
    ----------
    command : str
        Of ``labdct``.
    settings : tuple of type
        Classes whose names a step may set.
    output : str
        What its results are called if the step does not say otherwise, without ending.
    reads : dict of str to str
        Roles it needs, each with the flag that names the file; an empty flag is positional.
    writes : dict of str to (str, str)
        Roles it makes: the ending that is added to `output`, and the flag that names the file.
    scan_flag : str
        The flag that names the scan; empty where it is positional.
    """

    command: str
    settings: tuple[type[Settings], ...]
    output: str
    reads: Mapping[str, str] = field(default_factory=dict)
    writes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    scan_flag: str = ""


KINDS = {
    "denoise": Kind(
        "denoise",
        (DenoiseSettings, SpotSettings),
        "denoised",
        writes={"denoised": (".tif", "--output"), "mask": ("_mask.tif", "--write-mask")},
    ),
    "track": Kind(
        "track",
        (TrackSettings, SpotSettings),
        "tracked",
        reads={"denoised": "--cleaned"},
        writes={"denoised": (".tif", "--output"), "mask": ("_mask.tif", "--write-mask")},
    ),
    "measure": Kind(
        "spots",
        (SpotSettings,),
        "spots",
        reads={"denoised": "--cleaned"},
        writes={"table": (".csv", "--output")},
    ),
    "routine": Kind(
        "routine",
        (RoutineSettings,),
        "routine",
        writes={"routine": (".tif", "--output")},
    ),
    "compare": Kind(
        "compare",
        (),
        "comparison",
        reads={"mask": "", "routine": ""},
        writes={"report": ("", "--output")},
        scan_flag="--scan",
    ),
    "grains": Kind(
        "grains",
        (GrainSettings,),
        "grains",
        reads={"mask": "--spots"},
        writes={"grains": (".h5", "--output")},
    ),
}
