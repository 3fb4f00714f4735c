"""ParaView's view of a grain map: an ``.xdmf`` beside the ``.h5`` that holds the volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from ..core.errors import ScanError
from ..core.files import write_atomically
from ..core.hdf5 import item, open_hdf5
from .grainmapper import MeasuredMap
from .grainmapper_writer import write_measured

_NUMBERS = {"i": "Int", "u": "UInt", "f": "Float"}


def write_xdmf(path: Path, measured: MeasuredMap) -> list[Path]:
    """Write a map as GrainMapper3D's ``.h5`` and an ``.xdmf`` of the same name.

    Raises
    ------
    OutputError
        The files cannot be written.
    """
    beside = path.with_suffix(".h5")
    write_measured(beside, measured)
    return [write_xdmf_only(path, beside), beside]


def write_xdmf_only(path: Path, volumes: Path) -> Path:
    """Describe the volumes of a GrainMapper3D file that is there, in the same folder.

    Raises
    ------
    ScanError
        It is not such a file.
    OutputError
        The file cannot be written.
    """

    def refuse(why: str) -> ScanError:
        return ScanError(f"{volumes.name} is not a GrainMapper3D grain map ({why}).")

    with open_hdf5(volumes, refuse) as file:
        text = _text(volumes.name, item(file, "LabDCT"))
    write_atomically(path, text)
    return path


def _text(name: str, group: Any) -> str:
    data = group["Data"]
    shape = data["GrainId"].shape
    spacing = np.asarray(group["Spacing"][()], float) * 1e3
    origin = np.asarray(group["Center"][()], float) * 1e3 - spacing * shape[::-1] / 2
    corners = _words(n + 1 for n in shape)
    attributes = []
    for key, volume in data.items():
        if volume.shape[:3] != shape or volume.dtype.kind not in _NUMBERS:
            continue
        kind = {3: "Scalar"}.get(volume.ndim) or (
            "Vector" if volume.shape[3:] == (3,) else "Matrix"
        )
        attributes.append(
            f'      <Attribute Name={quoteattr(key)} AttributeType="{kind}" Center="Cell">\n'
            f'        <DataItem Format="HDF" Dimensions="{_words(volume.shape)}" '
            f'NumberType="{_NUMBERS[volume.dtype.kind]}" Precision="{volume.dtype.itemsize}">'
            f"{_escaped(name)}:/LabDCT/Data/{_escaped(key)}</DataItem>\n"
            "      </Attribute>\n"
        )
    return (
        '<?xml version="1.0"?>\n<Xdmf Version="2.0">\n  <Domain>\n'
        '    <Grid Name="grains" GridType="Uniform">\n'
        f'      <Topology TopologyType="3DCoRectMesh" Dimensions="{corners}"/>\n'
        '      <Geometry GeometryType="ORIGIN_DXDYDZ">\n'
        "        <!-- z, y, x in micrometres -->\n"
        f'        <DataItem Format="XML" Dimensions="3">{_words(origin[::-1])}</DataItem>\n'
        f'        <DataItem Format="XML" Dimensions="3">{_words(spacing[::-1])}</DataItem>\n'
        "      </Geometry>\n"
        f"{''.join(attributes)}    </Grid>\n  </Domain>\n</Xdmf>\n"
    )


def _words(values) -> str:
    return " ".join(f"{v:.9g}" if isinstance(v, float) else str(v) for v in values)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
