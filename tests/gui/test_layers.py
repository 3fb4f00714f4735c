"""Result layers: where they lie, how they look, what they carry, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_labdct.core.errors import LabDCTError
from napari_labdct.core.stacks import LazyStack
from napari_labdct.gui.app.layers import (
    KEY,
    STYLES,
    contrast_limits,
    free_name,
    info_of,
    kind_of,
    make_result,
)
from napari_labdct.gui.app.live_mask import LiveMask
from napari_labdct.spots.binarisation import BinaryFrames, SpotSettings, binarise

pytestmark = pytest.mark.gui


def stack(shape=(5, 40, 60), **options) -> Image:
    options = {
        "name": "iron", "scale": (1, 3, 2), "translate": (0, 10, 20),
        "units": ("pixel", "um", "um"), "axis_labels": ("projection", "y", "x"), **options,
    }  # fmt: skip
    return Image(np.zeros(shape, np.uint16), contrast_limits=(0, 900), **options)


class Unreadable(LazyStack):
    """Fails when it is asked for more than single frames."""

    def read(self, index):
        return np.zeros(self.shape[1:], self.dtype)

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("the whole stack was read")


def test_a_result_has_the_place_units_and_axes_of_its_stack():
    like = stack()
    made = make_result(like, np.zeros((5, 40, 60), np.uint8), "cleaned")
    np.testing.assert_allclose(made.scale, like.scale)
    np.testing.assert_allclose(made.translate, like.translate)
    assert made.units == like.units
    assert made.axis_labels == like.axis_labels


@pytest.mark.parametrize("turned", [False, True])
def test_a_smaller_result_lies_exactly_over_its_stack(turned):
    options = {}
    if turned:
        options = {"rotate": 30.0, "affine": np.diag([1, 2.0, 2.0, 1])}
        options["rotate"] = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    like = stack(**options)
    made = make_result(like, np.zeros((5, 20, 15), np.uint8), "cleaned")
    # outer corners of the image, half a pixel outside the first and last centres
    own = (
        like.data_to_world(np.array([2, -0.5, -0.5])),
        like.data_to_world(np.array([2, 39.5, 59.5])),
    )
    coarse = (
        made.data_to_world(np.array([2, -0.5, -0.5])),
        made.data_to_world(np.array([2, 19.5, 14.5])),
    )
    np.testing.assert_allclose(own, coarse, atol=1e-9)


def test_a_single_image_gets_a_stack_of_one_over_it():
    like = Image(np.zeros((40, 60)), name="one", scale=(3, 2), units=("um", "um"))
    made = make_result(like, np.zeros((1, 40, 60), np.uint8), "network mask")
    np.testing.assert_allclose(made.scale, (1, 3, 2))
    assert [str(u) for u in made.units] == ["pixel", "micrometer", "micrometer"]


def test_names_count_up_and_say_what_it_is():
    assert free_name([], "a") == "a"
    assert free_name(["a", "a #2"], "a") == "a #3"
    made = make_result(
        stack(), np.zeros((5, 40, 60), np.uint8), "cleaned", taken=["iron", "iron [network result]"]
    )
    assert made.name == "iron [network result] #2"


def test_colours_and_contrast():
    like = stack()
    data = np.zeros((5, 40, 60), np.uint8)
    cleaned = make_result(like, data, "cleaned")
    assert tuple(cleaned.contrast_limits) == (0, 255)
    assert cleaned.colormap.name == "gray"
    assert cleaned.blending == "opaque"
    residual = make_result(like, data, "residual")
    assert residual.colormap.name == "inferno"
    assert tuple(residual.contrast_limits) == (0, 900)
    for kind, colour in (("network mask", "#00e5ff"), ("routine mask", "#ff9f1c")):
        mask = make_result(like, data, kind)
        assert isinstance(mask, Labels)
        assert mask.blending == "translucent"
        wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        for value in (1, 255):
            np.testing.assert_allclose(mask.get_color(value)[:3], wanted, atol=0.01)
    agreement = make_result(like, data, "agreement")
    np.testing.assert_allclose(agreement.get_color(1)[:3], 1)
    assert agreement.get_color(3)[0] > agreement.get_color(3)[2]  # orange: only B


def test_a_result_carries_its_recipe():
    made = make_result(
        stack(), np.zeros((5, 40, 60), np.uint8), "cleaned", recipe={"job": "denoise"}
    )
    info = made.metadata[KEY]
    assert info["recipe"] == {"job": "denoise"}
    assert info["kind"] == kind_of(made) == "cleaned"
    assert info["stack"] == "iron"
    assert info["version"]
    assert info["created"]
    assert info_of(Image(np.zeros((3, 3)))) == {}


@pytest.mark.parametrize("kind", ["cleaned", "network mask"])
def test_a_lazy_stack_is_shown_frame_by_frame(viewer, kind):
    like = viewer.add_layer(stack())
    lazy = Unreadable((5, 40, 60), np.uint8)
    made = viewer.add_layer(make_result(like, lazy, kind))
    viewer.dims.set_point(0, 3)
    assert made.data is lazy
    if kind == "network mask":
        assert not made.editable


def test_another_number_of_frames_is_refused():
    with pytest.raises(LabDCTError, match="does not belong to 'iron'"):
        make_result(stack(), np.zeros((4, 40, 60), np.uint8), "cleaned")


def test_contrast_limits_look_at_three_frames_only():
    class Counted(LazyStack):
        seen: list[int] = []

        def read(self, index):
            self.seen.append(index)
            image = np.full(self.shape[1:], 100.0, np.float32)
            image[0] = np.nan
            image[1:3] = 500
            return image

    frames = Counted((100, 64, 64), np.float32)
    low, high = contrast_limits(frames)
    assert len(frames.seen) == 3
    assert 90 < low <= high <= 510
    assert contrast_limits(np.full((1, 4, 4), np.nan)) == (0.0, 1.0)
    assert contrast_limits(np.full((2, 4, 4), 7)) == (7.0, 8.0)


@pytest.mark.parametrize(("dtype", "value"), [(np.uint32, 2**32 - 1), (np.uint16, 65535)])
def test_gaps_and_dead_modules_do_not_set_the_contrast(dtype, value):
    frames = np.random.default_rng(0).poisson(500, (3, 60, 80)).astype(dtype)
    frames[:, :, 40:44] = value
    low, high = contrast_limits(frames)
    assert 400 < low < 500 < high < 600


def test_live_mask_gives_the_pixels_of_the_library():
    rng = np.random.default_rng(0)
    cleaned = rng.integers(0, 256, (3, 30, 40)).astype(np.uint8)
    live = LiveMask(cleaned, SpotSettings(threshold=200))
    for settings in (SpotSettings(threshold=200), SpotSettings(threshold=90, min_size_px=6)):
        live.prepare(1, settings)
        live.adopt(settings)
        for index in range(3):
            np.testing.assert_array_equal(live[index] > 0, binarise(cleaned[index], settings))
        assert isinstance(live, BinaryFrames)


def test_a_prepared_frame_is_not_cut_again(monkeypatch):
    cleaned = np.full((2, 8, 8), 200, np.uint8)
    live = LiveMask(cleaned, SpotSettings())
    settings = SpotSettings(threshold=150)
    assert live.prepare(1, settings) == 1
    live.adopt(settings)

    def fail(*_):
        raise AssertionError("cut twice")

    monkeypatch.setattr("napari_labdct.spots.binarisation.binarise", fail)
    assert live[1].all()


def test_styles_have_unlike_captions():
    captions = [style.caption for style in STYLES.values()]
    assert len(set(captions)) == len(captions)
