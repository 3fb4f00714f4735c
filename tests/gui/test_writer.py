"""File > Save Selected Layers: the binary stack, the way it lies, and what made it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_labdct.core.errors import OutputError
from napari_labdct.core.recipes import recipe_beside
from napari_labdct.gui.app import layers as factory
from napari_labdct.gui.app.layers import scan_layer
from napari_labdct.gui.app.writer import write_binary_stack, write_stack
from napari_labdct.io import open_scan
from napari_labdct.io.tiff import write_frames

pytestmark = pytest.mark.gui


@pytest.fixture
def stack(tmp_path, frames):
    """The layer of a scan that was stored upside down (TIFF Orientation 4)."""
    from napari.layers import Layer

    write_frames(tmp_path / "scan.tif", frames, orientation=4)
    return Layer.create(*scan_layer(tmp_path / "scan.tif"))


@pytest.fixture
def mask(frames):
    return np.where(frames > np.percentile(frames, 99), 7, 0).astype(np.int32)


@pytest.mark.parametrize("kind", ["network mask", "routine mask", "truth"])
def test_a_saved_mask_lies_as_its_scan(tmp_path, stack, mask, kind):
    layer = factory.make_result(stack, mask, kind)
    data, meta, _ = layer.as_layer_data_tuple()
    (path,) = write_binary_stack(str(tmp_path / "out" / "mask.tif"), data, meta)
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == len(mask)
        assert [page.tags[274].value for page in tif.pages] == [4] * len(mask)
    assert open_scan(path).orientation == 4


def test_any_label_is_255_in_eight_bit(tmp_path, mask):
    (path,) = write_binary_stack(str(tmp_path / "mask.tif"), mask, {})
    written = tifffile.imread(path)
    assert written.dtype == np.uint8
    np.testing.assert_array_equal(written, np.where(mask, 255, 0))
    (path,) = write_binary_stack(str(tmp_path / "one.tif"), mask[0], {})
    np.testing.assert_array_equal(tifffile.imread(path), np.where(mask[0], 255, 0))
    assert not (tmp_path / "mask.tif.json").exists()  # nobody knows what made it


def test_the_recipe_stands_beside_the_mask(tmp_path, stack, mask):
    made = {"job": "routine", "settings": {"sigma_px": 6.0}}
    data, meta, _ = factory.make_result(
        stack, mask, "routine mask", recipe=made
    ).as_layer_data_tuple()
    (path,) = write_binary_stack(str(tmp_path / "mask.tif"), data, meta)
    assert recipe_beside(path) == made
    assert json.loads((tmp_path / "mask.tif.json").read_text())["recipe"] == made


def test_a_folder_that_is_a_file_is_said(tmp_path, mask):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        write_binary_stack(str(tmp_path / "taken" / "mask.tif"), mask, {})


@pytest.mark.parametrize("end", [".edf", ".h5", ".nxs", ".zarr", ".ome.tif"])
def test_masks_and_stacks_are_saved_in_each_format(tmp_path, frames, mask, end):
    from napari.layers import Layer

    from napari_labdct.gui.app.layers import layer_data
    from napari_labdct.scan.description import ScanDescription
    from napari_labdct.scan.scan import Scan, angles

    scan = Scan(frames, angles(5, 2, len(frames)), ScanDescription(pixel_um=3.36), name="iron")
    data, meta, _ = Layer.create(*layer_data(scan)).as_layer_data_tuple()
    (path,) = write_stack(str(tmp_path / f"stack{end}"), data, meta)
    again = open_scan(path)
    np.testing.assert_array_equal(again.frames[:], frames)
    np.testing.assert_allclose(again.omega_deg, scan.omega_deg)
    assert again.description.pixel_um == 3.36
    layer = Layer.create(*layer_data(scan))
    data, meta, _ = factory.make_result(layer, mask, "truth").as_layer_data_tuple()
    (path,) = write_binary_stack(str(tmp_path / f"mask{end}"), data, meta)
    again = open_scan(path)
    np.testing.assert_array_equal(again.frames[:], np.where(mask, 255, 0))
    assert again.description.pixel_um == 3.36  # of the layer it lies over


def test_a_scan_is_not_saved_over_its_own_file_and_a_strange_end_is_said(tmp_path, stack):
    data, meta, _ = stack.as_layer_data_tuple()
    with pytest.raises(OutputError, match="read by this job"):
        write_stack(str(tmp_path / "scan.tif"), data, meta)
    with pytest.raises(OutputError, match="must end in one of"):
        write_stack(str(tmp_path / "scan.png"), data, meta)
    assert open_scan(tmp_path / "scan.tif").n_frames == len(data)
