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
from napari_labdct.gui.app.writer import write_binary_stack
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
