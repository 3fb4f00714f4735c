"""TIFF files as other programs write them: OME sets, planes, palettes, thumbnails."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_labdct.core.errors import ScanError
from napari_labdct.io import open_scan

STACK = np.random.default_rng(5).integers(0, 4000, (4, 31, 23)).astype(np.uint16)
NAMES = ["late.ome.tif", "b.ome.tif", "a.ome.tif", "z.ome.tif"]


def write_set(folder, names=NAMES):
    """An OME-TIFF set of one plane a file, whose order is not that of the names."""
    for k, name in enumerate(names):
        planes = "".join(
            f'<TiffData IFD="0" FirstT="{t}" PlaneCount="1">'
            f'<UUID FileName="{other}">urn:uuid:{t}</UUID></TiffData>'
            for t, other in enumerate(names)
        )
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{k}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            'DimensionOrder="XYZCT" Type="uint16" SizeX="23" SizeY="31" SizeZ="1" SizeC="1" '
            f'SizeT="{len(names)}"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}'
            "</Pixels></Image></OME>"
        )
        tifffile.imwrite(folder / name, STACK[k], description=xml, metadata=None)


def test_an_ome_set_is_one_scan_in_the_order_of_its_planes(tmp_path):
    write_set(tmp_path)
    for source in (tmp_path, tmp_path / "a.ome.tif"):
        np.testing.assert_array_equal(open_scan(source).frames[:], STACK)
    listed = open_scan([tmp_path / name for name in NAMES[1:3]])
    np.testing.assert_array_equal(listed.frames[:], STACK[[2, 1]])


def test_single_and_renamed_members_of_an_ome_set_are_projections(tmp_path):
    write_set(tmp_path)
    for k, name in enumerate(NAMES):
        (tmp_path / name).rename(tmp_path / f"view{k}.tif")
    np.testing.assert_array_equal(open_scan(tmp_path).frames[:], STACK)
    alone = tmp_path / "alone"
    alone.mkdir()
    (tmp_path / "view2.tif").rename(alone / "a.ome.tif")
    np.testing.assert_array_equal(open_scan(alone / "a.ome.tif").frames[:], STACK[2:3])


def test_a_missing_member_of_an_ome_set_is_named(tmp_path):
    write_set(tmp_path)
    assert open_scan(tmp_path).notes == ()
    (tmp_path / NAMES[1]).unlink()
    for source in (tmp_path, tmp_path / NAMES[2]):
        scan = open_scan(source)
        np.testing.assert_array_equal(scan.frames[:], STACK[[0, 2, 3]])
        (note,) = [n for n in scan.notes if "b.ome.tif is missing" in n]
        assert "OME-TIFF set of late.ome.tif" in note
    (tmp_path / NAMES[0]).unlink()
    (tmp_path / NAMES[3]).unlink()
    (note,) = open_scan(tmp_path).notes
    assert "late.ome.tif, b.ome.tif, z.ome.tif are missing" in note


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_are_projections_not_colours(tmp_path, count, compression):
    path = tmp_path / "scan.tif"
    tifffile.imwrite(
        path, STACK[:count], photometric="rgb", planarconfig="separate", compression=compression
    )
    np.testing.assert_array_equal(open_scan(path).frames[:], STACK[:count])


@pytest.mark.parametrize("count", [1, 3])
def test_a_palette_image_is_read_as_its_numbers(tmp_path, count):
    counts = (STACK[:count] % 256).astype(np.uint8)
    colours = np.random.default_rng(0).integers(0, 65535, (3, 256)).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "scan.tif") as tif:
        for image in counts:
            tif.write(image, photometric="palette", colormap=colours, metadata=None)
    np.testing.assert_array_equal(open_scan(tmp_path / "scan.tif").frames[:], counts)


@pytest.mark.parametrize("first", [False, True], ids=["thumbnail last", "thumbnail first"])
@pytest.mark.parametrize(("count", "marked"), [(1, 1), (1, 0), (3, 1), (3, 0)])
def test_a_thumbnail_is_no_projection(tmp_path, count, marked, first):
    thumbnail = np.zeros((8, 6, 3), np.uint8)

    def write_thumbnail(tif):
        tif.write(thumbnail, photometric="rgb", subfiletype=marked, metadata=None)

    with tifffile.TiffWriter(tmp_path / "scan.tif") as tif:
        if first:
            write_thumbnail(tif)
        for image in STACK[:count]:
            tif.write(image, photometric="minisblack", metadata=None)
        if not first:
            write_thumbnail(tif)
    np.testing.assert_array_equal(open_scan(tmp_path / "scan.tif").frames[:], STACK[:count])


def test_true_colours_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((31, 23, 3), np.uint8), photometric="rgb")
    with pytest.raises(ScanError, match="colour"):
        open_scan(tmp_path / "c.tif")
