"""Scans with and without a pixel size in one window: one kind of unit, one place, no warning."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from napari.components import LayerList
from napari.layers import Image, Layer

from napari_labdct.gui.app import layers as factory
from napari_labdct.gui.app.layers import layer_data
from napari_labdct.gui.app.session import session_of
from napari_labdct.gui.app.units import align_units, make_room
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan

pytestmark = pytest.mark.gui


def options_of(frames, pixel_um):
    return layer_data(Scan(frames, description=ScanDescription(pixel_um=pixel_um)))


def units(layer):
    return [str(unit) for unit in layer.units]


@pytest.mark.parametrize("known_first", [True, False])
def test_a_scan_without_a_pixel_size_lies_over_the_one_with_it(frames, known_first):
    layers = LayerList()
    for pixel_um in (13.4, None) if known_first else (None, 13.4):
        data, options, kind = options_of(frames, pixel_um)
        make_room(layers, options)
        layers.append(Layer.create(data, options, kind))
        assert layers.extent.units is not None  # never inconsistent, not even while it joins
    first, second = layers
    assert units(first) == units(second) == ["pixel", "micrometer", "micrometer"]
    np.testing.assert_allclose(first.extent.world, second.extent.world)


def test_results_go_along_and_layers_of_others_keep_their_scale(frames):
    bare = Layer.create(*options_of(frames, None))
    half = factory.make_result(bare, np.zeros((9, 24, 32), np.uint8), "cleaned")
    mine = Image(np.zeros((48, 64)), name="mine")
    layers = LayerList([bare, half, mine])
    before = np.array(half.extent.world)
    align_units(layers)
    assert units(bare) == ["pixel"] * 3  # pixels are fine while there is nothing else
    _, options, _ = options_of(frames, 2.0)
    make_room(layers, options)
    np.testing.assert_allclose(half.extent.world, before * (1, 2, 2))
    np.testing.assert_allclose(mine.scale, (1, 1))
    assert units(mine) == ["micrometer"] * 2


def test_the_scan_just_opened_is_the_active_one_and_is_shown(viewer, tmp_path, frames):
    session = session_of(viewer)
    for name, text in (("known", "pixel_um: 13.4\n"), ("bare", "material: Fe\n")):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "p.tif", frames, photometric="minisblack")
        (tmp_path / name / "scan.yaml").write_text(text)
        (layer,) = viewer.open(tmp_path / name, plugin="napari-labdct")
        assert session.stack is layer
        assert viewer.canvas.overlays.scale_bar.visible == (name == "known")
        middle = layer.extent.world.mean(axis=0)[-2:]
        np.testing.assert_allclose(viewer.scene.camera.center[-2:], middle, atol=14)
    assert viewer.layers.extent.units is not None
    assert session.scan().description.pixel_um is None  # what is lent for drawing is not known
