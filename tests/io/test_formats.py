"""A format from outside the package opens like ours; ends of names say what is a scan."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import ScanError
from napari_labdct.io import open_scan
from napari_labdct.io.formats import FORMATS, Format, dialog_filter, format_of
from napari_labdct.scan.scan import Scan


@pytest.fixture
def toy():
    """Files that end in .toy hold a NumPy array of projections."""

    def opened(path):
        return Scan(np.load(path), name=path.stem)

    FORMATS.register("toy", Format((".toy",), opened, lambda path: path.stat().st_size > 0))
    yield
    FORMATS.forget("toy")


def test_a_format_from_outside_opens_and_is_offered(toy, tmp_path):
    frames = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    path = tmp_path / "iron.TOY"
    with path.open("wb") as file:
        np.save(file, frames)
    scan = open_scan(path)
    assert scan.name == "iron"
    np.testing.assert_array_equal(scan.frame(2), frames[2])
    assert format_of(path).is_scan(path)
    assert dialog_filter().endswith("*.toy)")


def test_ours_come_first_and_what_nobody_knows_is_said(tmp_path):
    assert list(FORMATS)[:2] == ["tiff", "scan.yaml"]
    assert dialog_filter() == "Projections (*.tif *.tiff *.yaml *.yml)"
    assert format_of("a.png") is None
    (tmp_path / "a.png").touch()
    with pytest.raises(ScanError, match="not a TIFF"):
        open_scan(tmp_path / "a.png")
