"""What stands over the image: which projection, at which angle."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_labdct.gui.app.session import session_of
from napari_labdct.gui.app.view import caption_of
from napari_labdct.scan.scan import Scan, angles

pytestmark = pytest.mark.gui


def test_projection_and_angle_follow_the_slider_and_the_scan(viewer, add_scan, scan):
    session, text = session_of(viewer), viewer.canvas.overlays.text
    layer = add_scan(scan)
    session.show_frame(7)
    assert text.visible
    assert text.text == "projection 7 of 9, 35.0 deg"
    session.set_scan(layer, scan.replace(omega_deg=None))
    assert text.text == "projection 7 of 9"
    session.set_scan(layer, scan.replace(omega_deg=angles(0, -0.25, 9)))
    assert text.text == "projection 7 of 9, -1.75 deg"
    text.visible = False  # the user's choice stays
    session.show_frame(2)
    assert not text.visible
    viewer.layers.remove(layer)
    assert text.text == ""


def test_a_text_of_the_users_stays(viewer, add_scan, scan):
    viewer.canvas.overlays.text.text = "for the talk"
    session_of(viewer)
    add_scan(scan)
    session_of(viewer).show_frame(3)
    assert viewer.canvas.overlays.text.text == "for the talk"


def test_a_single_projection_has_no_number(frames):
    scan = Scan(frames[:1], omega_deg=np.zeros(1))
    assert caption_of(Image(scan.frames), scan, 0) == ""
    assert caption_of(Image(frames[0]), None, 0) == ""


def test_a_shorter_scan_is_shown_at_a_projection_it_has(viewer, add_scan, scan, frames):
    session = session_of(viewer)
    add_scan(scan)
    session.show_frame(8)
    short = add_scan(Scan(frames[:4], name="short"))
    session.set_stack(short)
    assert viewer.canvas.overlays.text.text == "projection 3 of 4"
    assert viewer.dims.current_step[0] == 3


def test_a_scan_to_work_on_is_shown_alone_and_the_other_comes_back(viewer, add_scan, scan):
    session = session_of(viewer)
    iron, copper = add_scan(scan), add_scan(scan.replace(name="copper"))
    cleaned, mask = (
        session.add_result(iron, np.zeros(scan.frames.shape, np.uint8), kind)
        for kind in ("cleaned", "mask")
    )
    mask.visible = False
    mine = viewer.add_points(np.zeros((1, 3)), name="mine")
    session.work_on(copper)
    assert session.stack is viewer.layers.selection.active is copper
    assert [layer.visible for layer in (iron, cleaned, mask, copper, mine)] == [
        False, False, False, True, True
    ]  # fmt: skip
    session.set_stack(iron)
    assert [layer.visible for layer in (iron, cleaned, mask)] == [True, True, False]
