"""The kinds of steps a recipe can name: what each reads, what it gives, and its command.

A step is run by its command, so that a recipe, a dock and a job script give the same files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar

from ..background.rolling_median import SPOT_WINDOW
from ..core.parameters import Field, Param, Settings, fields_of
from ..core.registry import load

#: Content of files that steps hand on.
CLEANED, MASK, TABLE, GRAINS, REPORT = "network result", "mask", "table", "grains", "report"
#: A step that was not named: the latest before that gives one of the contents asked for.
LATEST, LATEST_ROUTINE, NONE = "latest", "latest routine", "none"


@dataclass(frozen=True, kw_only=True)
class MeasureSettings(Settings):
    """How the spots of a scan are measured and which are listed."""

    job: ClassVar[str] = "measure"

    median_window: Annotated[
        int,
        Param("Rolling median", "frames", 3, 361, 2, "Projections of the spots' background."),
    ] = SPOT_WINDOW
    where: Annotated[
        str, Param("Only spots where", help="For example 'snr > 5'; all if not given.")
    ] = ""


@dataclass(frozen=True, kw_only=True)
class ExportSettings(MeasureSettings):
    """What is written of the measured spots, for other programs."""

    job: ClassVar[str] = "export"

    formats: Annotated[
        str,
        Param(
            "Formats",
            help="One or several of csv, parquet, h5 (with labels), json (COCO), flt (ImageD11), "
            "mask (TIFF), labels (TIFF).",
        ),
    ] = "h5"
    stack_px: Annotated[
        int | None,
        Param("Longer edge", "px", 16, 32768, 1, "Of masks and labels; full size if not given."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings(Settings):
    """How two masks of a scan are compared."""

    job: ClassVar[str] = "compare"

    median_window: Annotated[
        int,
        Param("Rolling median", "frames", 3, 361, 2, "Projections of the spots' background."),
    ] = SPOT_WINDOW


@dataclass(frozen=True, kw_only=True)
class MapSettings(Settings):
    """What a grain map needs beside the settings of the search."""

    job: ClassVar[str] = "grain map"

    material: Annotated[
        str | None,
        Param("Material", help="Element symbol or CIF file; the scan's if not given."),
    ] = None
    calibrate: Annotated[
        bool,
        Param("Calibrate first", help="Find the geometry from the spots before the grains."),
    ] = False


@dataclass(frozen=True)
class Role:
    """One thing that a step reads.

    Attributes
    ----------
    takes : tuple of str
        Contents, the preferred first.
    usually : str
        Where it comes from if the recipe does not say: `LATEST`, `LATEST_ROUTINE` or `NONE`.
    flags : dict of str to str
        The command's flag for each content; an empty one for an argument without a flag.
    """

    takes: tuple[str, ...]
    usually: str
    flags: Mapping[str, str]


@dataclass(frozen=True)
class Given:
    """One file, or folder, that a step gives; ``{}`` in its name stands for the step's."""

    name: str
    flag: str = ""  # empty where the command finds the name itself
    folder: bool = False


@dataclass(frozen=True)
class StepKind:
    """A kind of step.

    Attributes
    ----------
    name : str
        In recipes.
    what : str
        For people.
    command : str
        Of ``labdct``.
    classes : tuple of str
        Settings classes, as ``module:class``.
    reads : dict of str to Role
    gives : dict of str to Given
        By content, the ones that others read first.
    cuts : bool
        Whether it cuts network results into spots, as the step before did if nothing is said.
    geometry : bool
        Whether angles and distances of the scan count.
    scan_flag : str
        Before the scan; empty if the scan is the command's argument.
    fixed : tuple of str
        Words that the command always gets.
    """

    name: str
    what: str
    command: str
    classes: tuple[str, ...]
    reads: Mapping[str, Role] = field(default_factory=dict)
    gives: Mapping[str, Given] = field(default_factory=dict)
    cuts: bool = False
    geometry: bool = False
    scan_flag: str = ""
    fixed: tuple[str, ...] = ()

    @cached_property
    def settings(self) -> tuple[type[Settings], ...]:
        """The classes that hold its settings."""
        return tuple(load(f"napari_labdct.{place}") for place in self.classes)

    @cached_property
    def fields(self) -> dict[str, tuple[type[Settings], Field]]:
        """Every setting by its name, with the class that owns it."""
        return {f.name: (cls, f) for cls in self.settings for f in fields_of(cls)}

    def checked(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values of its settings, checked by their classes; only those that were given.

        Raises
        ------
        SettingsError
            A value is refused.
        """
        found = {}
        for cls in self.settings:
            mine = {k: v for k, v in values.items() if self.fields[k][0] is cls}
            whole = cls.from_dict(mine).to_dict()
            found |= {k: whole[k] for k in mine}
        return found

    def complete(self, values: dict[str, Any]) -> dict[str, Any]:
        """All its settings: those given, the others as they are by themselves."""
        whole: dict[str, Any] = {}
        for cls in self.settings:
            mine = {k: v for k, v in values.items() if self.fields[k][0] is cls}
            whole |= cls.from_dict(mine).to_dict()
        if self.cuts and "threshold" not in values:
            whole["threshold"] = None  # the model's own
        return whole


_CUT = "spots.binarisation:SpotSettings"
_STACKS = {CLEANED: Given("{}.tif", "-o"), MASK: Given("{}_mask.tif", "--write-mask")}
_SPOTS = {
    "spots": Role((CLEANED, MASK), LATEST, {CLEANED: "--denoised", MASK: "--mask"}),
    "routine": Role((MASK,), NONE, {MASK: "--routine"}),
}
#: What `ExportSettings.formats` may name, with the end of the file's name and the flag.
FORMATS = {
    **{name: Given(f"{{}}.{name}", "-o") for name in ("csv", "parquet", "h5", "json", "flt")},
    "mask": Given("{}_mask.tif", "--write-mask"),
    "labels": Given("{}_labels.tif", "--labels"),
}
#: In the order of work.
KINDS = {
    kind.name: kind
    for kind in (
        StepKind(
            "denoise", "clean the scan with a network", "denoise",
            ("networks.denoising:DenoiseSettings", _CUT), gives=_STACKS, cuts=True,
        ),
        StepKind(
            "track", "confirm spots by the projections before and after", "track",
            ("spots.tracking:TrackSettings", _CUT),
            {"cleaned": Role((CLEANED,), LATEST, {CLEANED: "--denoised"})}, _STACKS,
            cuts=True, geometry=True,
        ),
        StepKind(
            "routine", "rolling median and LoG", "routine",
            ("spots.log_routine:RoutineSettings",), gives={MASK: Given("{}.tif", "-o")},
        ),
        StepKind(
            "measure", "measure every spot", "spots",
            (_CUT, "campaign.kinds:MeasureSettings"), _SPOTS, {TABLE: Given("{}.csv", "-o")},
            cuts=True, geometry=True,
        ),
        StepKind(
            "compare", "compare with the routine", "compare",
            (_CUT, "campaign.kinds:ComparisonSettings"),
            {
                "a": Role((CLEANED, MASK), LATEST, {CLEANED: "", MASK: ""}),
                "b": Role((MASK, CLEANED), LATEST_ROUTINE, {CLEANED: "", MASK: ""}),
            },
            {REPORT: Given("{}", "-o", folder=True)}, cuts=True, scan_flag="--scan",
        ),
        StepKind(
            "grains", "map the grains", "grains",
            ("grains.settings:GrainSettings", "campaign.kinds:MapSettings"),
            {"spots": Role((MASK,), LATEST, {MASK: "--spots"})},
            {GRAINS: Given("{}.h5", "-o"), TABLE: Given("{}.csv")}, geometry=True,
        ),
        StepKind(
            "export", "write tables, masks and labels for other programs", "spots",
            (_CUT, "campaign.kinds:ExportSettings"), _SPOTS, cuts=True, geometry=True,
        ),
    )
}  # fmt: skip
#: They make no difference to a result.
HOW = frozenset({"device", "threads"})
#: They name files whose content counts.
FILES = frozenset({"mask", "material"})
