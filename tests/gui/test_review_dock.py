"""A review through the real window: measure, filter, walk, decide, correct, close, go on."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tifffile
from clicking import click
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

from napari_labdct.gui.app.layers import KEY
from napari_labdct.gui.app.live_mask import LiveMask
from napari_labdct.gui.app.session import session_of
from napari_labdct.gui.review.finding import review_folder
from napari_labdct.io.spot_tables import read_table
from napari_labdct.io.training_pairs import read_training_pairs
from napari_labdct.review.review import ACCEPTED, REJECTED, REVIEW_DTYPE, UNDECIDED, Review
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan, angles
from napari_labdct.spots.binarisation import SpotSettings

pytestmark = pytest.mark.gui

PLACES = [(8, 10), (20, 40), (34, 14), (36, 52)]


@pytest.fixture
def stacks():
    """Nine projections with four spots each that move, what a network made of them, a routine."""
    rng = np.random.default_rng(6)
    frames = rng.poisson(300, (9, 48, 64)).astype(np.uint16)
    cleaned = np.zeros(frames.shape, np.uint8)
    routine = np.zeros(frames.shape, np.uint8)
    for i in range(9):
        for k, (r, c) in enumerate(PLACES):
            r, c = (r + 3 * i) % 42 + 1, (c + 7 * i) % 56 + 2
            box = np.s_[i, r : r + 3, c : c + 4]
            frames[box] += 60 * (k + 1)
            if k < 3:
                cleaned[box] = 150 + 30 * k
            if k > 1:
                routine[box] = 255
    return frames, cleaned, routine


@pytest.fixture
def add_stacks(add_scan, viewer, stacks):
    """Add the scan and both results, as the other docks do."""

    def add():
        frames, cleaned, routine = stacks
        scan = Scan(
            frames,
            omega_deg=angles(0, 5, 9),
            description=ScanDescription(pixel_um=2.0),
            name="iron",
        )
        stack = add_scan(scan)
        session = session_of(viewer)
        session.add_result(stack, LiveMask(cleaned, SpotSettings()), "network mask")
        session.add_result(stack, routine, "routine mask")
        return stack

    return add


@pytest.fixture
def spots(add_stacks, dock, wait):
    """The dock with everything measured."""
    add_stacks()
    widget = dock("Review")
    wait(lambda: widget.controller.measured is not None)  # this frame, unasked
    assert set(widget.controller.table["frame"]) == {
        session_of(widget.session.viewer).shown_frame()
    }
    wait(lambda: not widget.controller.job.running)
    widget.sources.routine.setCurrentIndex(2)
    click(widget.sources.whole_button)
    wait(lambda: widget.controller.job.state in ("done", "failed"))
    assert len(widget.controller.table) > 4, widget.controller.job.error
    return widget


def _settle(widget, wait):
    wait(lambda: not widget.controller.busy)


def _press(qtbot, widget, keys):
    for key in keys:
        qtbot.keyClick(widget.table, getattr(Qt.Key, f"Key_{key}"))


def _statuses(widget):
    return widget.controller.table["status"].tolist()


def test_a_whole_session(spots, viewer, qtbot, wait, dock, add_stacks, tmp_path, home):
    """Filter, walk, reject, undo, paint, split, close, reopen, export."""
    table = spots.table
    assert spots.progress.text() == "0 of 36 decided"
    assert set(spots.controller.table["found_by"]) == {1, 2, 3}

    # filter
    spots.filters.expression.setText("found_by = both and frame < 4")
    wait(lambda: table.model_.rowCount() == 4)

    # walk
    table.setFocus()
    table.go_to(table.model_.key(0))
    _press(qtbot, spots, ["Down", "Down"])
    key = table.current_key()
    assert key[0] == 2
    assert viewer.dims.current_step[0] == 2
    box = spots.controller.canvas.layer("selected")
    assert np.allclose(box.data[0][:, 0], 2)

    # reject, accept and undo, from the keyboard
    _press(qtbot, spots, ["R", "A"])
    assert sorted(_statuses(spots))[-2:] == [ACCEPTED, REJECTED]
    qtbot.keyClick(table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert sorted(_statuses(spots))[-2:] == [UNDECIDED, REJECTED]
    qtbot.keyClick(table, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    assert spots.progress.text() == "2 of 36 decided"

    # paint with napari's brush
    spots.filters.clear_all()
    assert table.model_.rowCount() == 36
    spots.tabs.setCurrentWidget(spots.correct)
    spots.correct.paint.setChecked(True)
    layer = spots.controller.canvas.layer("edited spots")
    assert viewer.layers.selection.active is layer
    frame, new = viewer.dims.current_step[0], layer.selected_label
    layer.paint((frame, 3, 30), new)
    assert layer.data[frame][3, 30] == new
    _settle(spots, wait)
    assert spots.controller.row_of((frame, new)) >= 0
    assert spots.progress.text() == "3 of 37 decided"  # a spot that is drawn is accepted
    spots.correct.tools_off()
    assert not layer.visible

    # split
    spots.controller.select((frame, new))
    click(spots.correct.split)
    _settle(spots, wait)
    assert len(spots.controller.table) == 38
    assert "split" in spots.status.text()
    before = spots.controller.table.copy()

    # close the window's layers and the dock, open everything again
    viewer.layers.clear()
    assert len(spots.controller.table) == 0
    add_stacks()
    again = spots
    wait(lambda: again.controller.measured is not None)
    assert "goes on" in again.status.text()
    after = again.controller.table.copy()
    lost = np.isnan(after["confidence"])  # the network's output is gone for what was drawn
    assert lost.sum() == 2
    after["confidence"][lost] = before["confidence"][lost]
    np.testing.assert_array_equal(after, before)
    assert again.undo.toolTip() == f"Undo: split spot {new}"

    # export
    for name, kind in (("s.csv", "table"), ("b.tif", "binary"), ("pairs", "pairs")):
        again.export.write(tmp_path / name, kind)
        wait(lambda: not again.controller.export_job.running)
        assert again.controller.export_job.state == "done", again.controller.export_job.error
    written, recipe = read_table(tmp_path / "s.csv", REVIEW_DTYPE)
    assert len(written) == 37  # all but the rejected one
    assert recipe["spots_written"] == "All but rejected"
    assert recipe["review"]["corrected_frames"] == [frame]
    masks = tifffile.imread(tmp_path / "b.tif")
    assert masks.shape == (9, 48, 64)
    assert masks[frame].any()
    assert len(list(read_training_pairs(tmp_path / "pairs"))) >= 1

    # and back through every step
    while again.undo.isEnabled():
        click(again.undo)
        _settle(again, wait)
    assert _statuses(again) == [UNDECIDED] * 36


def test_a_new_viewer_finds_the_review(spots, wait, make_napari_viewer, stacks):
    spots.controller.set_status([(0, 1), (3, 2)], ACCEPTED)
    assert list(review_folder().glob("*.review.jsonl"))
    other = make_napari_viewer()
    other.add_image(stacks[0], name="opened later")
    widget = other.window.add_plugin_dock_widget("napari-labdct", "Review")[1]
    wait(lambda: widget.controller.measured is not None)
    assert widget.progress.text() == "2 of 36 decided"
    assert widget.controller is not spots.controller


def test_corrections_of_one_scan_never_reach_another(spots, viewer, wait, stacks, monkeypatch):
    """The other scan waits until they are done; so does a scan that is taken away."""
    from napari_labdct.gui.review import tasks as spots_work

    control, session = spots.controller, session_of(viewer)
    iron = control.stack
    of_iron = control.measured.review.path
    control.set_status([(8, 1)], ACCEPTED)
    frames, cleaned, _ = stacks
    copper = viewer.add_image(frames[:, ::-1].copy(), name="copper")
    session.add_result(copper, LiveMask(cleaned[:, ::-1].copy(), SpotSettings()), "network mask")
    session.set_stack(copper)
    wait(lambda: not control.job.running)
    click(spots.sources.whole_button)
    wait(
        lambda: not control.job.running and "only_frame" not in control.measured.recipe["settings"]
    )
    assert control.stack is copper
    of_copper = control.measured.review.path
    control.set_status([(8, 1)], ACCEPTED)
    session.set_stack(iron)
    wait(lambda: control.stack is iron)

    quick = spots_work.measure_frame

    def slow(*given, **more):
        time.sleep(0.1)
        return quick(*given, **more)

    monkeypatch.setattr(spots_work, "measure_frame", slow)
    control.erase([(frame, 1) for frame in range(6)])
    session.set_stack(copper)
    assert control.stack is iron
    wait(lambda: control.stack is copper)
    assert Review((9, 48, 64), of_iron).corrected == list(range(6))
    assert not Review((9, 48, 64), of_copper).corrected

    control.erase([(frame, 1) for frame in range(3)])
    viewer.layers.remove(copper)
    wait(lambda: control.stack is iron)
    assert Review((9, 48, 64), of_copper).corrected == [0, 1, 2]
    assert Review((9, 48, 64), of_iron).corrected == list(range(6))


def test_sorting_and_filtering_keep_to_the_key(spots, qtbot, wait):
    table = spots.table
    spots.controller.select((4, 2))
    assert table.current_key() == (4, 2)
    for column in (3, 1, 6):
        table.sortByColumn(column, Qt.SortOrder.DescendingOrder)
        assert table.current_key() == (4, 2)
        values = [table.model_.table[table.model_.order[k]] for k in range(36)]
        name = ("frame", "id", "status", "snr", "confidence", "found_by", "area_px")[column]
        assert [v[name] for v in values] == sorted((v[name] for v in values), reverse=True)
    spots.filters.expression.setText("frame = 4")
    spots.apply_filter()
    assert table.current_key() == (4, 2)
    _press(qtbot, spots, "R")
    assert spots.controller.table["status"][spots.controller.row_of((4, 2))] == REJECTED
    spots.filters.expression.setText("frame = 5")
    spots.apply_filter()
    assert table.current_key() is None
    spots.filters.expression.setText("snr >")
    spots.apply_filter()
    assert "no condition" in spots.status.text()
    spots.filters.clear_all()
    assert table.model_.rowCount() == 36


def test_combos_filter_and_follow_the_slider(spots, viewer, wait):
    spots.filters.frames.setCurrentIndex(1)
    viewer.dims.set_current_step(0, 6)
    wait(lambda: {spots.table.model_.key(k)[0] for k in range(4)} == {6})
    spots.filters.found.setCurrentIndex(1)
    assert spots.table.model_.rowCount() == 2
    spots.controller.set_status([spots.table.model_.key(0)], REJECTED)
    spots.filters.status_filter.setCurrentIndex(1 + REJECTED)
    assert spots.table.model_.rowCount() == 1
    assert "This projection" in spots.filters.text()


def test_several_rows_are_decided_at_once_and_merged(spots, qtbot, wait):
    table = spots.table
    for row in (0, 1):
        table.selectionModel().select(
            table.model_.index(row, 0),
            table.selectionModel().SelectionFlag.Select | table.selectionModel().SelectionFlag.Rows,
        )
    assert table.keys() == [(0, 1), (0, 2)]
    _press(qtbot, spots, "A")
    assert _statuses(spots)[:2] == [ACCEPTED] * 2
    spots.tabs.setCurrentWidget(spots.correct)
    click(spots.correct.merge)
    _settle(spots, wait)
    assert len(spots.controller.table) == 35
    assert spots.controller.row_of((0, 2)) < 0
    click(spots.undo)
    _settle(spots, wait)
    assert _statuses(spots)[:2] == [ACCEPTED] * 2


def _click(viewer, spots, frame, row, col):
    viewer.dims.set_current_step(0, frame)
    spots.controller.click(session_of(viewer).stack.data_to_world((frame, row, col)))


def test_a_click_on_the_image_selects_and_adds(spots, viewer, wait, stacks):
    spot = spots.controller.table[5]
    _click(viewer, spots, spot["frame"], spot["row"], spot["col"])
    assert spots.table.current_key() == (spot["frame"], spot["id"])
    _click(viewer, spots, 0, -9, 3)
    spots.correct.add.setChecked(True)
    _click(viewer, spots, 0, 47, 63)
    _settle(spots, wait)
    assert "brighter" in spots.status.text() or len(spots.controller.table) == 37
    count = len(spots.controller.table)
    spots.tabs.setCurrentWidget(spots.correct)
    click(spots.correct.erase)
    _settle(spots, wait)
    assert len(spots.controller.table) == count - 1
    _click(viewer, spots, spot["frame"], spot["row"], spot["col"])
    _settle(spots, wait)
    assert len(spots.controller.table) == count
    assert spots.controller.row_of((int(spot["frame"]), int(spot["id"]))) < 0  # a new id
    status = spots.controller.table["status"][spots.controller.row_of(spots.controller.current)]
    assert status == ACCEPTED


def test_a_real_mouse_click_on_the_canvas_picks_a_spot(spots, viewer, qtbot, wait):
    from napari.utils._test_utils import read_only_mouse_event

    spot = spots.controller.table[9]
    viewer.dims.set_current_step(0, int(spot["frame"]))
    (callback,) = viewer.mouse_drag_callbacks[-1:]
    place = session_of(viewer).stack.data_to_world(
        [float(spot[n]) for n in ("frame", "row", "col")]
    )
    press = read_only_mouse_event(
        type="mouse_press", pos=np.array([5.0, 5.0]), position=place, button=1
    )
    list(callback(viewer, press))
    assert spots.controller.current == (spot["frame"], spot["id"])


def test_a_region_lists_the_spots_inside(spots, viewer, wait):
    spots.filters.region.setChecked(True)
    layer = spots.controller.canvas.layer("region")
    assert layer.mode == "add_polygon"
    layer.add_polygons(np.array([[0, 0], [0, 64], [20, 64], [20, 0]]))
    wait(lambda: 0 < spots.table.model_.rowCount() < 36)
    shown = spots.table.model_
    assert (shown.table["row"][shown.order] <= 20).all()
    spots.filters.region.setChecked(False)
    assert layer not in viewer.layers
    assert shown.rowCount() == 36


def test_similar_spots_come_likest_first(spots):
    spots.filters.similar.setChecked(True)
    assert not spots.filters.similar.isChecked()  # nothing chosen yet
    spots.controller.select((3, 2))
    spots.filters.similar.setChecked(True)
    assert spots.table.model_.key(0) == (3, 2)
    spots.filters.similar.setChecked(False)
    assert spots.table.model_.key(0) == (0, 1)


def test_the_gallery_shows_crops_and_a_click_rejects(spots, qtbot, wait):
    spots.tabs.setCurrentWidget(spots.gallery)
    gallery = spots.gallery
    wait(lambda: gallery.model.rowCount() == 36 and not gallery.model.missing)
    snr = gallery.model.rows["snr"]
    assert (np.diff(snr) >= 0).all()
    key = gallery.model.key(4)
    place = gallery.view.visualRect(gallery.model.index(4)).center()
    qtbot.mouseClick(gallery.view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert spots.controller.table["status"][spots.controller.row_of(key)] == REJECTED
    assert gallery.model.rows["status"][4] == REJECTED
    qtbot.mouseClick(gallery.view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert not any(_statuses(spots))
    control = Qt.KeyboardModifier.ControlModifier
    assert QApplication.keyboardModifiers() != control
    gallery.order.setCurrentIndex(1)
    wait(lambda: not gallery.model.missing)
    assert gallery.where.text().endswith("36 of 36")
    assert not gallery.forth.isEnabled()
    words = gallery.model.data(gallery.model.index(0), Qt.ItemDataRole.ToolTipRole)
    assert "SNR" in words


def test_plots_follow_the_filter_and_lead_back(spots, qtbot, viewer, wait):
    spots.tabs.setCurrentWidget(spots.plots)
    plot = spots.plots.plot
    spots.filters.expression.setText("frame < 5")
    wait(lambda: plot._counts.sum() == 20)
    assert plot._counts_all.sum() == 36
    spots.filters.clear_all()
    for kind in range(5):
        spots.plots.kind.setCurrentIndex(kind)
        assert not plot.grab().isNull()
    spots.plots.kind.setCurrentIndex(1)
    middle = plot.centre().toPoint()
    qtbot.mousePress(plot, Qt.MouseButton.LeftButton, pos=middle - QPoint(40, 0))
    qtbot.mouseMove(plot, middle + QPoint(90, 0))
    qtbot.mouseRelease(plot, Qt.MouseButton.LeftButton, pos=middle + QPoint(90, 0))
    assert "snr >=" in spots.filters.expression.text()
    spots.plots.kind.setCurrentIndex(3)
    qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=middle)
    assert viewer.dims.current_step[0] == 4


def test_rings_show_where_the_families_begin(spots, add_scan, stacks, viewer, wait):
    assert not spots.plots.plot.rings  # the geometry is not known
    session = session_of(viewer)
    known = ScanDescription(
        pixel_um=200.0, source_sample_mm=50, sample_detector_mm=50, tube_kv=110, material="Fe"
    )
    session.set_scan(session.stack, session.scan().replace(description=known))
    click(spots.sources.whole_button)
    wait(lambda: len(spots.plots.plot.rings) == 4)
    spots.tabs.setCurrentWidget(spots.plots)
    spots.plots.kind.setCurrentIndex(4)
    assert not spots.plots.plot.grab().isNull()


def test_what_was_written_comes_back_in(spots, tmp_path, wait):
    spots.controller.set_status([(0, 1), (2, 2)], REJECTED)
    spots.controller.erase([(5, 1)])
    _settle(spots, wait)
    spots.export.which.setCurrentIndex(2)
    for name in ("s.h5", "t.csv", "l.json"):
        spots.export.write(tmp_path / name, "table")
        wait(lambda: not spots.controller.export_job.running)
    while spots.undo.isEnabled():
        click(spots.undo)
        _settle(spots, wait)
    assert len(spots.controller.table) == 36
    spots.controller.import_labels(tmp_path / "s.h5")
    _settle(spots, wait)
    assert len(spots.controller.table) == 35
    assert spots.controller.measured.review.corrected == [5]
    spots.controller.import_decisions(tmp_path / "t.csv")
    _settle(spots, wait)
    assert sum(_statuses(spots)) == 2 * REJECTED
    assert "2 spots" in spots.undo.toolTip() or "import" in spots.undo.toolTip()
    spots.controller.import_labels(tmp_path / "t.csv")
    _settle(spots, wait)
    assert "no label images" in spots.status.text()


def test_the_picture_has_its_recipe(spots, tmp_path, wait):
    spots.controller.save_picture(tmp_path / "view.png")
    wait(lambda: not spots.controller.export_job.running)
    assert (tmp_path / "view.png").exists()
    assert "view" in (tmp_path / "view.png.json").read_text()


def test_user_layers_are_left_alone(spots, viewer, wait):
    mine = viewer.add_points(np.zeros((1, 3)), name="mine")
    viewer.layers.selection.active = mine
    order = [layer for layer in viewer.layers if KEY not in layer.metadata or layer is mine]
    spots.controller.select((1, 1))
    assert viewer.layers.selection.active is mine
    assert [layer for layer in viewer.layers if layer in order] == order
    assert mine.visible
    viewer.layers.remove(spots.controller.canvas.layer("review"))
    viewer.layers.remove(spots.controller.canvas.layer("selected"))
    spots.controller.set_status([(1, 1)], ACCEPTED)
    spots.controller.select((2, 1))
    assert spots.controller.canvas.layer("selected") is not None
    with_stack = session_of(viewer).stack
    viewer.layers.remove(with_stack)
    assert spots.controller.measured is None
    assert mine in viewer.layers


def test_another_threshold_takes_the_decisions_along(spots, viewer, wait):
    spots.controller.set_status([(0, 1), (0, 3)], ACCEPTED)
    mask = session_of(viewer).results(session_of(viewer).stack, "network mask")[-1]
    mask.data.adopt(SpotSettings(threshold=170))
    click(spots.sources.whole_button)
    wait(lambda: spots.controller.job.state == "done" and "taken over" in spots.status.text())
    assert (spots.controller.table["status"] == ACCEPTED).sum() >= 1


def test_what_cannot_be_measured_is_said(dock, add_scan, scan, viewer, wait):
    add_scan(scan)
    widget = dock("Review")
    assert not widget.sources.whole_button.isEnabled()
    assert widget.sources.missing.isVisibleTo(widget)
    assert "denoise" in widget.sources.missing.text()
    small = viewer.add_labels(np.zeros((9, 48, 64), np.int32), name="by hand")
    assert widget.sources.network.currentText() == "by hand"
    wait(lambda: not widget.controller.job.running)
    click(widget.sources.whole_button)
    wait(lambda: widget.controller.job.state in ("done", "failed"))
    assert widget.controller.measured is not None
    assert widget.progress.text() == "No spots measured"
    assert small in viewer.layers


def test_the_dock_fits_a_small_screen(spots):
    assert spots.minimumSizeHint().width() < 460
    assert spots.minimumSizeHint().height() < 600


def test_a_dock_that_was_closed_goes_on_with_the_same_review(spots, viewer, dock, wait):
    spots.controller.set_status([(0, 1)], ACCEPTED)
    controller = spots.controller
    viewer.window.remove_dock_widget(spots)
    controller.set_status([(0, 2)], REJECTED)
    again = dock("Review")
    assert again.controller is controller
    assert again.table.model_.rowCount() == 36
    assert again.progress.text() == "2 of 36 decided"
    click(again.undo)
    _settle(again, wait)
    assert again.progress.text() == "1 of 36 decided"


def test_outlines_removed_by_hand_come_back_and_the_review_goes_on(spots, viewer):
    control = spots.controller
    assert spots.sources.outlines_button.isHidden()
    viewer.layers.remove(control.canvas.layer("review"))
    key = control.key(0)
    control.set_status([key], REJECTED)
    assert control.table["status"][0] == REJECTED
    click(spots.sources.outlines_button)
    assert control.canvas.layer("review") is not None
    assert spots.sources.outlines_button.isHidden()
