"""What the descriptions of TIFF files tell: ImageJ's unit, OME's sizes, our own angles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from ..core.schema import parse_json
from ..scan.scan import Scan
from .facts import Facts, entries_of

_NAMESPACE = "napari-labdct/scan"


def gather(path: Path, n_frames: int, facts: Facts) -> None:
    """What the description of a TIFF says of its scan; nothing if it cannot be read."""
    try:
        with tifffile.TiffFile(path) as tif:
            text = tif.ome_metadata if tif.is_ome else None
            imagej = tif.imagej_metadata if tif.is_imagej else None
            width = tif.pages.first.tags.get("XResolution")
            root = ElementTree.fromstring(text) if text else None
    except Exception:  # its pages could be read, so that a bad description harms nothing
        return
    if root is not None:
        _ome(root, n_frames, facts)
    elif imagej and imagej.get("unit") and width is not None:
        number, parts = width.value
        if number and imagej["unit"] not in ("pixel", "pixels", "inch"):
            facts.take("pixel_um", parts / number, str(imagej["unit"]))


def _ome(root: ElementTree.Element, n_frames: int, facts: Facts) -> None:
    own = _own(root)
    facts.entries(own, n_frames)
    pixels = root.find(".//{*}Pixels")
    if pixels is None:
        return
    size = pixels.get("PhysicalSizeX")
    if size and "pixel_um" not in facts.values:
        facts.take("pixel_um", size, pixels.get("PhysicalSizeXUnit", "um"))
    plane = pixels.find("{*}Plane")
    if plane is not None and plane.get("ExposureTime") and "exposure_s" not in facts.values:
        unit = plane.get("ExposureTimeUnit", "s")
        facts.take("exposure_s", plane.get("ExposureTime"), unit)
    date = root.find(".//{*}AcquisitionDate")
    if date is not None:
        facts.detail("date", date.text or "")


def _own(root: ElementTree.Element) -> dict[str, Any]:
    """What `ome_metadata` wrote; empty for files of other programs."""
    for made in root.iterfind(".//{*}MapAnnotation"):
        if made.get("Namespace") != _NAMESPACE:
            continue
        for entry in made.iterfind(".//{*}M"):
            if entry.get("K") == "scan":
                try:
                    told = parse_json(entry.text or "{}")
                except ValueError:
                    return {}
                return told if isinstance(told, dict) else {}
    return {}


def ome_metadata(scan: Scan, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What tifffile writes into the description of an OME-TIFF; the rotation is the axis T."""
    pixel = scan.description.pixel_um
    sizes = {} if pixel is None else {
        f"PhysicalSize{axis}{more}": value
        for axis in "XY"
        for more, value in (("", pixel), ("Unit", "\N{MICRO SIGN}m"))
    }  # fmt: skip
    told = {"scan": json.dumps(entries_of(scan)), "recipe": json.dumps(dict(recipe))}
    return {"axes": "TYX", "Name": scan.name, **sizes,
            "MapAnnotation": {"Namespace": _NAMESPACE, **told}}  # fmt: skip
