"""The Compare dock in a real window: two masks, five views, the same numbers as elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from clicking import click

from napari_labdct.cli import main
from napari_labdct.core.frame_store import FrameStore
from napari_labdct.evaluation.comparison import (
    Comparison,
    Segmentation,
    compare,
    compare_frame,
    read_numbers,
)
from napari_labdct.io import write_frames
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.components import drop_small
from napari_labdct.spots.log_routine import (
    RoutineFrames,
    RoutineJob,
    RoutineSettings,
    segment_frame,
)

pytestmark = pytest.mark.gui

SETTINGS = RoutineSettings(
    median_window=5, background=60, sigma_px=1.5, percentage=10, min_size_px=3
)


@pytest.fixture(scope="module", autouse=True)
def warm():
    """Import and compile what the first look needs, outside any wait for it."""
    scan = Scan(np.random.default_rng(0).poisson(300, (5, 48, 64)).astype(np.uint16))
    mask = RoutineFrames(scan, SETTINGS)[2] > 0
    median = np.median(scan.frames, axis=0).astype(np.float32)
    compare_frame(scan, 2, mask, mask, background=median, beam_stop=scan.beam_stop_mask())


@pytest.fixture(scope="module")
def cleaned_file(tmp_path_factory):
    """Where the network's result is kept: the same for all tests, so it is written once."""
    return tmp_path_factory.mktemp("cleaned") / "clean.tif"


@pytest.fixture
def opened(viewer, add_scan, dock, scan, cleaned_file, wait):
    """A scan with a network result, and the dock on it, its first look done."""
    from napari_labdct.gui.app.live_mask import LiveMask
    from napari_labdct.spots.binarisation import SpotSettings

    stack = add_scan(scan)
    made = dock("Compare")
    recipe = {"job": "denoise", "settings": {"model": "tiny"}, "input": {"name": "iron"}}
    store = FrameStore.open_or_create(
        cleaned_file, scan.frames.shape, np.uint8, {**recipe, "input": {"id": "x"}}
    )
    for k in np.flatnonzero(~store.done):
        frame = scan.frames[k].astype(float)
        store.write(int(k), np.clip((frame - np.median(frame)) / 2, 0, 255).astype(np.uint8))
    made.session.add_result(stack, store, "cleaned", recipe=recipe)
    mask = LiveMask(store, SpotSettings(threshold=100))
    made.session.add_result(stack, mask, "network mask", recipe=recipe)
    made.routine.set_settings(SETTINGS)
    settle(made, wait)
    return made, stack, store


def settle(dock, wait) -> None:
    wait(lambda: dock.looking.busy or dock.looking.view is not None)
    wait(lambda: not dock.looking.busy)


def state_of(viewer):
    """Everything that leaving must bring back."""
    grid, text = viewer.canvas.grid, viewer.canvas.overlays.text
    return (
        [(layer, layer.visible, layer.name_overlay.visible) for layer in viewer.layers],
        set(viewer.layers.selection),
        (grid.enabled, grid.stride, tuple(grid.shape), grid.spacing),
        (text.text, text.visible, text.gridded, str(text.position), text.font_size),
        tuple(viewer.scene.camera.center),
        viewer.scene.camera.zoom,
    )


def test_network_and_routine_are_chosen_and_counted(opened, scan, wait):
    dock, _, store = opened
    assert dock.source("a").name == "network mask"
    assert dock.source("b").live
    from napari_labdct.spots.binarisation import SpotSettings, binarise
    from napari_labdct.spots.matching import match_spots

    index = dock.session.shown_frame()
    a = binarise(store[index], SpotSettings(threshold=100))
    b = RoutineFrames(scan, SETTINGS)[index] > 0
    expected = match_spots(a, b)
    match = dock.looking.view.match
    assert (match.n_a, match.n_b, match.found) == (expected.n_a, expected.n_b, expected.found)
    assert match.n_b > 0
    text = dock.numbers.frame_label.text()
    assert f"both have {match.found}" in text
    assert f">{match.n_a}&nbsp;" in text
    assert f">{match.n_b}<" in text


def test_each_view_shows_its_layers_and_leaving_restores_all(opened, viewer, wait):
    dock, stack, _ = opened
    viewer.add_labels(np.zeros((48, 64), int), name="mine", visible=False)
    viewer.canvas.grid.shape = (3, 1)
    viewer.canvas.overlays.text.text = "my text"
    viewer.layers.selection = {viewer.layers[0], viewer.layers["mine"]}
    before = state_of(viewer)
    shown = {
        "side by side": 6, "residual": 2, "overlay": 2, "flicker": 2, "profile": 2,
    }  # fmt: skip
    for name, count in [*shown.items(), ("side by side", 6)]:
        dock.set_view(name)
        settle(dock, wait)
        assert dock.view.mode == name
        assert sum(layer.visible for layer in viewer.layers) == count
        assert viewer.canvas.grid.enabled == (name in ("side by side", "residual"))
    assert not viewer.layers["mine"].visible
    viewer.layers.move(viewer.layers.index("mine"), 0)
    dock.set_view("leave")
    assert state_of(viewer) == before
    assert stack in viewer.layers


def test_cells_hold_what_they_say(opened, viewer, scan, wait):
    dock, _, store = opened
    dock.session.show_frame(3)
    dock.set_view("side by side")
    settle(dock, wait)
    view = dock.looking.view
    assert view.request.index == 3
    a, b = (view.images[k] > 0 for k in "ab")
    assert (view.images["residual_a"][a] == 0).all()
    assert (view.images["agreement"] == np.where(a & b, 1, 2 * a + 3 * b)).all()
    median = dock.engine.median(3, SETTINGS.median_window)
    expected = segment_frame(scan.frame(3), median, SETTINGS, scan.beam_stop_mask())
    np.testing.assert_array_equal(b, expected)
    np.testing.assert_array_equal(a, drop_small(store[3] >= 100, 3))
    np.testing.assert_array_equal(dock.view.held["a"][3] > 0, a)
    assert viewer.canvas.overlays.text.text == "projection 3 of 9, 15.0 deg"
    assert dock.view.layers["b"].name.startswith("B: routine (live)")


def test_the_caption_is_the_same_in_a_view_and_after_it(opened, viewer, wait):
    dock, _, _ = opened
    text = viewer.canvas.overlays.text
    before = text.text
    assert before.startswith("projection ")
    dock.set_view("side by side")
    settle(dock, wait)
    assert text.text == before
    dock.session.show_frame(5)
    settle(dock, wait)
    assert text.text == "projection 5 of 9, 25.0 deg"
    assert "<b>projection 5</b>" in dock.numbers.summary.text()
    dock.set_view("leave")
    assert text.text == "projection 5 of 9, 25.0 deg"
    dock.session.show_frame(2)
    assert text.text == "projection 2 of 9, 10.0 deg"


def test_a_slider_recomputes_only_what_is_seen(opened, wait):
    from napari_labdct.gui.app import preferences

    dock, _, _ = opened
    dock.set_view("side by side")
    settle(dock, wait)
    before = dock.looking.view
    median = dock.engine.median(before.request.index, SETTINGS.median_window)
    slider = dock.routine.sliders["background"]
    slider.setValue(slider.value() + 40)
    settle(dock, wait)
    after = dock.looking.view
    kept = preferences.load_last("routine_log")  # for the next session
    assert kept["background"] == after.request.routine.background
    assert after.request.routine.background > before.request.routine.background
    assert after.match.n_b <= before.match.n_b
    # the median is the very same array: it was not computed again
    assert dock.engine.median(after.request.index, SETTINGS.median_window) is median


def test_gui_cli_and_library_give_equal_numbers(opened, scan, tmp_path, wait, capsys):
    dock, _, store = opened
    dock.compare_all()
    wait(lambda: not dock.compare_job.running)
    shown = dock.result.numbers()

    a = np.array([store[i] >= 100 for i in range(scan.n_frames)])
    a = np.array([drop_small(m, 3) for m in a], np.uint8) * 255
    library = Comparison()
    sides = Segmentation("a", a), Segmentation("b", RoutineFrames(scan, SETTINGS))
    for one in compare(scan, *sides):
        library.add(one)
    assert shown == pytest.approx(library.numbers(), nan_ok=True)

    write_frames(tmp_path / "scan.tif", list(scan.frames))
    (tmp_path / "scan.yaml").write_text("frames: [scan.tif]\nomega_deg: {start: 0, step: 5}\n")
    write_frames(tmp_path / "a.tif", list(a))
    mask_store = RoutineJob(scan, SETTINGS).open_store(tmp_path / "b.tif")
    for _ in RoutineJob(scan, SETTINGS).run(mask_store):
        pass
    arguments = ["compare", str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), "--scan",
                 str(tmp_path / "scan.yaml"), "-o", str(tmp_path / "out")]  # fmt: skip
    assert main(arguments) == 0
    capsys.readouterr()
    written = read_numbers(tmp_path / "out" / "summary.csv")
    assert written == pytest.approx(shown, rel=1e-5, nan_ok=True)

    dock.reports.write(tmp_path / "gui")
    wait(lambda: not dock.side_job.running)
    assert read_numbers(tmp_path / "gui" / "summary.csv") == written
    assert (tmp_path / "gui" / "report.html").exists()


def test_a_cancelled_comparison_goes_on_where_it_stopped(opened, scan, wait, monkeypatch):
    from napari_labdct.gui.compare import tasks as compare_run

    dock, _, _ = opened
    asked, whole = [], compare_run.compare

    def watched(scan, a, b, truth, *, median, frames):
        for one in whole(scan, a, b, truth, median=median, frames=frames):
            asked.append(one.frame)
            yield one
            if len(asked) == 3:
                dock.compare_job.cancel()

    monkeypatch.setattr(compare_run, "compare", watched)
    dock.compare_all()
    wait(lambda: dock.compare_job.state == "stopped")
    kept = set(dock.result.results)
    assert kept
    assert kept <= {0, 1, 2}
    click(dock.bar.resume_button)
    wait(lambda: dock.compare_job.state == "done")
    assert sorted(dock.result.results) == list(range(scan.n_frames))
    assert not kept & set(asked[3:])  # those were not compared again
    straight = Comparison()
    sides = dock.run.sides.fixed()
    for one in whole(scan, *sides):
        straight.add(one)
    assert dock.result.numbers() == pytest.approx(straight.numbers(), nan_ok=True)
    assert dock.run.tally.numbers["frames"] == scan.n_frames

    dock.routine.set_settings(SETTINGS.replace(background=90))
    assert not dock.compare_job.resumable  # other masks: from the beginning
    assert not dock.result.results


def test_numbers_outlive_the_dock(opened, viewer, dock, wait):
    first, _, _ = opened
    first.compare_all()
    wait(lambda: first.compare_job.state == "done")
    counted = first.result.numbers()
    viewer.window.remove_dock_widget(first)
    again = dock("Compare")
    settle(again, wait)
    assert again.result.numbers() == counted
    assert "9 projections" in again.numbers.stack_label.text()


def test_a_threshold_cut_anew_makes_the_numbers_stale(opened, wait):
    from napari_labdct.spots.binarisation import SpotSettings

    dock, stack, _ = opened
    dock.compare_all()
    wait(lambda: dock.compare_job.state == "done")
    (layer,) = dock.session.results(stack, "network mask")
    layer.data.adopt(SpotSettings(threshold=200))
    dock.session.results_changed.emit(stack)
    assert not dock.result.results
    settle(dock, wait)


def test_the_median_is_streamed_once_and_then_read(opened, scan, wait, monkeypatch):
    from napari_labdct.background import stored_median as medians
    from napari_labdct.background.rolling_median import RollingMedian

    dock, stack, _ = opened
    expected = [RollingMedian(scan, 5).at(i) for i in range(scan.n_frames)]
    masks = [np.array(RoutineFrames(scan, SETTINGS)[i]) for i in range(scan.n_frames)]
    steps, run_ = [], medians.MedianJob.run

    def watched(self, store, frames=None):
        for step in run_(self, store, frames):
            steps.append(step.frame)
            if steps.count(None) == 1 and step.done == 4:
                dock.panel._median_job.cancel()
            yield step

    monkeypatch.setattr(medians.MedianJob, "run", watched)
    job = dock.panel._median_job
    click(dock.panel.median_button)
    wait(lambda: job.state == "stopped")
    assert "Go on" in dock.panel.median_button.text()
    click(dock.panel.median_button)
    wait(lambda: "is prepared" in dock.panel.median_button.text())
    assert steps == [None, 0, 1, 2, 3, None, 4, 5, 6, 7, 8]
    stored = dock.engine.stored_median(5)
    assert stored.store.recipe["settings"] == {"median_window": 5}

    def never(*_):
        raise AssertionError("the rolling median was computed again")

    monkeypatch.setattr(medians.RollingMedian, "at", never)
    for index, ground in enumerate(expected):
        np.testing.assert_array_equal(stored.at(index), ground)
    dock.apply()
    wait(lambda: not dock.routine_job.running)
    assert dock.routine_job.error == ""
    (layer,) = dock.session.results(stack, "routine mask")
    np.testing.assert_array_equal([layer.data[i] for i in range(scan.n_frames)], masks)
    dock.suggest()
    wait(lambda: not dock.side_job.running)
    assert dock.side_job.error == ""


def test_another_window_is_another_median(opened, wait):
    dock, _, _ = opened
    click(dock.panel.median_button)
    wait(lambda: "is prepared" in dock.panel.median_button.text())
    dock.routine.set_settings(SETTINGS.replace(median_window=7))
    settle(dock, wait)
    assert dock.panel.median_button.text() == "Prepare the median of 7"
    assert dock.panel.median_button.isEnabled()
    dock.routine.set_settings(SETTINGS)
    settle(dock, wait)
    assert "is prepared" in dock.panel.median_button.text()


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """A small simulated scan on disk: frames, truth, labels, grains."""
    from napari_labdct.simulation import SimulateSettings, simulate_scan

    settings = SimulateSettings(
        diameter_um=80, height_um=80, mean_grain_um=40, rows=160, cols=160, pixel_um=40, frames=5,
        step_deg=25, noise=True, background=50, beam_stop_width_mm=2, beam_stop_height_mm=2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("simulated")
    for _ in simulate_scan(settings, folder):
        pass
    return folder


@pytest.fixture
def simulation(simulated, add_scan, dock, wait):
    """The Compare dock on the simulated scan, its truth and its grains found."""
    from napari_labdct.io import open_scan

    add_scan(open_scan(simulated))
    made = dock("Compare")
    settle(made, wait)
    wait(lambda: bool(made.picker.beside) and made.grains.prediction is not None)
    return made


def test_a_simulations_truth_is_offered_and_counted(simulation, simulated, wait):
    import tifffile

    dock = simulation
    labels = tifffile.imread(simulated / "labels.tif")
    truth = dock.picker.beside[0]
    dock.picker.set_source("a", truth.key)
    dock.picker.set_source("truth", truth.key)
    dock.session.show_frame(2)
    dock.set_view("side by side")
    settle(dock, wait)
    np.testing.assert_array_equal(dock.looking.view.images["a"] > 0, labels[2] > 0)
    dock.compare_all()
    wait(lambda: not dock.compare_job.running)
    numbers = dock.result.numbers()
    assert numbers["pixel_iou_a_truth"] == 1
    assert numbers["recall_a_truth"] <= 1  # touching spots of the mask are one
    bins, _ = dock.run.tally.by_snr
    assert bins["truth"].sum() == sum(len(np.unique(x)) - 1 for x in labels)
    assert bins["truth"].sum() > 20
    shown = dock.numbers.snr_label.text()
    filled = bins[bins["truth"] > 0][-1]
    assert f"{filled['recall']:.2f}" in shown
    assert dock.numbers.snr_label.isVisibleTo(dock.numbers)


def test_rings_lie_where_the_grain_reflects_and_go_with_the_view(simulation, viewer, wait):
    dock = simulation
    before, first = state_of(viewer), dock.session.shown_frame()
    dock.set_view("side by side")
    settle(dock, wait)
    predicted = dock.grains.prediction.frame(1)
    grain, count = max(zip(*np.unique(predicted["grain"], return_counts=True)), key=lambda x: x[1])
    dock.session.show_frame(1)
    dock.grains.choose(int(grain))
    settle(dock, wait)
    rings = dock.view.rings.layers
    wanted = predicted[predicted["grain"] == grain]
    for key in ("a", "b", "residual_a", "agreement"):
        assert rings[key].visible
        np.testing.assert_allclose(rings[key].data[:, 1], wanted["row"])
        np.testing.assert_allclose(rings[key].data[:, 2], wanted["col"])
        grid, layers = viewer.canvas.grid, viewer.layers
        places = [
            grid.position(layers.index(x), layers) for x in (rings[key], dock.view.layers[key])
        ]
        assert places[0] == places[1]  # in the cell of what they ring
    cells = {grid.position(k, layers) for k, x in enumerate(layers) if x.visible}
    assert len(cells) == 6
    assert f"{count} spot" in dock.grains.note.text()

    viewer.add_labels(np.zeros((160, 160), int), name="mine")
    viewer.layers.move(viewer.layers.index("mine"), 0)
    viewer.layers.remove("mine")  # every layer has another place now, and back again
    dock.session.show_frame(3)
    settle(dock, wait)
    there = dock.grains.prediction.frame(3)
    there = there[there["grain"] == grain]
    np.testing.assert_allclose(rings["b"].data[:, 1], there["row"])
    dock.set_view("overlay")
    settle(dock, wait)
    assert [key for key, layer in rings.items() if layer.visible] == ["agreement"]
    dock.set_view("leave")
    dock.session.show_frame(first)
    assert state_of(viewer) == before
    settle(dock, wait)
    assert state_of(viewer) == before


def test_predicted_spots_are_found_where_there_is_one():
    from napari_labdct.gui.compare.engine import count_near

    spots = np.array([(10, 10), (30, 30), (0, 39)], [("row", "f4"), ("col", "f4")])
    mask = np.zeros((40, 40), bool)
    mask[12, 12] = mask[30, 36] = mask[0, 39] = True
    assert count_near(mask, spots) == 2
    assert count_near(mask, spots[:0]) == 0


def test_a_map_without_geometry_is_one_sentence(opened, simulated, wait):
    dock, _, _ = opened
    dock.grains.open(simulated / "grains.h5")
    wait(lambda: not dock.grains.job.running)
    assert "distance" in dock.grains.note.text()
    assert dock.grains.grain is None


def test_a_result_that_comes_meanwhile_waits_for_its_turn(opened, viewer, wait):
    dock, stack, _ = opened
    dock.set_view("side by side")
    settle(dock, wait)
    dock.apply()
    wait(lambda: not dock.routine_job.running)
    (layer,) = dock.session.results(stack, "routine mask")
    assert not layer.visible
    dock.set_view("leave")
    assert layer.visible
    settle(dock, wait)


def test_apply_writes_the_masks_and_offers_them(opened, scan, wait):
    dock, stack, _ = opened
    dock.apply()
    wait(lambda: dock.routine_job.state == "done")
    (layer,) = dock.session.results(stack, "routine mask")
    np.testing.assert_array_equal(layer.data[4], RoutineFrames(scan, SETTINGS)[4])
    assert layer.metadata["napari-labdct"]["recipe"]["settings"]["background"] == 60
    names = [s.name for s in dock.picker.sources(scan)]
    assert "routine mask" in names
    assert dock.source("a").name == "network mask"  # what was chosen stays


def test_a_pin_keeps_what_the_sliders_change(opened, wait):
    dock, _, _ = opened
    count = dock.looking.view.match.n_b
    pin = dock.pin("b")
    assert pin.segmentation.recipe["settings"]["background"] == 60
    dock.routine.set_settings(SETTINGS.replace(background=300))
    dock.picker.set_source("a", pin.key)
    settle(dock, wait)
    assert dock.looking.view.match.n_a == count
    assert dock.looking.view.match.n_b < count
    dock.picker.swap()
    settle(dock, wait)
    assert dock.source("b").key == pin.key
    assert dock.looking.view.match.n_b == count


def test_imported_masks_and_refused_ones(opened, scan, tmp_path, wait):
    dock, _, _ = opened
    masks = np.zeros(scan.frames.shape, np.uint8)
    masks[:, 10:14, 10:14] = 1
    dock.import_masks(write_frames(tmp_path / "theirs.tif", list(masks)))
    wait(lambda: not dock.side_job.running)
    dock.picker.set_source("b", "import 1")
    settle(dock, wait)
    assert dock.looking.view.match.n_b == 1
    dock.import_masks(write_frames(tmp_path / "short.tif", list(masks[:2])))
    wait(lambda: not dock.side_job.running)
    assert "projections" in dock.side_job.error
    assert len(dock.picker.imported) == 1


def test_sweep_and_a_click_adopts(opened, wait):
    dock, _, _ = opened
    dock.sweep("sigma_px")
    wait(lambda: not dock.side_job.running)
    buttons = dock.panel.thumbnails.buttons
    assert 3 <= len(buttons) <= 9
    click(buttons[0])
    assert dock.routine.settings().sigma_px < SETTINGS.sigma_px
    assert dock.routine.settings().background == SETTINGS.background


def test_the_recipes_stand_side_by_side(opened, wait):
    from qtpy.QtWidgets import QDialog, QTextBrowser

    dock, _, _ = opened
    dock.pages.choose("Numbers")
    click(dock.reports.recipes_button)
    wait(lambda: not dock.side_job.running)
    assert dock.side_job.error == ""
    (dialog,) = dock.findChildren(QDialog)
    text = dialog.findChild(QTextBrowser).toPlainText()
    assert "settings.background" in text
    assert "denoise" in text
    dialog.close()


def test_suggestion_is_adopted(opened, wait):
    dock, _, _ = opened
    dock.suggest()
    wait(lambda: not dock.side_job.running)
    assert dock.side_job.error == ""
    assert dock.routine.settings().median_window == SETTINGS.median_window
    assert "agreement" in dock.panel.hint.text()


def test_the_curve_and_the_ranking_lead_to_a_frame(opened, wait):
    dock, _, _ = opened
    dock.set_view("residual")
    dock.compare_all()
    wait(lambda: not dock.compare_job.running)
    dock.numbers.curve.clicked.emit(21.0)
    assert dock.session.shown_frame() == 4  # 20 degrees is the nearest
    item = dock.numbers.ranking.item(0)
    dock.numbers.ranking.itemClicked.emit(item)
    assert dock.session.shown_frame() == dock.result.worst_first("a")[0]
    settle(dock, wait)
    dock.routine.set_settings(SETTINGS.replace(background=90))
    assert not dock.result.results  # those numbers were of other masks
    settle(dock, wait)


def test_the_profile_follows_line_and_frame(opened, scan, tmp_path, wait):
    dock, _, _ = opened
    dock.set_view("profile")
    settle(dock, wait)
    dock.view.set_line(((20, 0), (20, 63)))
    settle(dock, wait)
    curves = dock.profile.curves
    index = dock.session.shown_frame()
    np.testing.assert_allclose(curves["raw"], scan.frame(index)[20], atol=1e-3)
    dock.session.show_frame(index - 1)
    settle(dock, wait)
    np.testing.assert_allclose(dock.profile.curves["raw"], scan.frame(index - 1)[20], atol=1e-3)
    plot = dock.profile.plot
    plot.hovered.emit(31.2)
    pointer = dock.view.layers["pointer"]
    assert pointer.visible
    np.testing.assert_allclose(pointer.data, [[20, 31]])
    assert plot.marker == 31
    assert f"raw {scan.frame(index - 1)[20, 31]}" in dock.status.text()
    plot.left.emit()
    assert not pointer.visible
    dock.profile.write(tmp_path / "profile.csv")
    assert (tmp_path / "profile.csv").read_text().startswith("distance,raw,median_corrected")
    assert (tmp_path / "profile.png").exists()


def test_at_1280_by_720_all_is_seen_and_panels_have_room(shown, scan, wait):
    from napari.layers import Layer
    from qtpy.QtCore import QRect, Qt
    from qtpy.QtWidgets import QApplication, QDockWidget, QPushButton

    from napari_labdct.gui.app.layers import layer_data

    shown.add_layer(Layer.create(*layer_data(scan)))
    made = shown.window.add_plugin_dock_widget("napari-labdct", "Compare")[1]
    window = made.window()
    window.resize(1280, 720)
    settle(made, wait)
    area = made.scroll.viewport()
    buttons = {b.text(): b for b in made.panel.findChildren(QPushButton)}
    looked_for = [made.numbers.summary, buttons["Suggest"], buttons["Apply to stack"]]

    def whole(widget) -> bool:
        place = QRect(widget.mapTo(area, widget.rect().topLeft()), widget.size())
        return widget.isVisible() and area.rect().contains(place)

    wait(lambda: all(whole(widget) for widget in looked_for))
    assert "spots in both" in made.numbers.summary.text()
    made.pages.choose("Numbers")
    wait(lambda: whole(made.numbers.frame_label))
    assert not made.panel.isVisible()

    def lists() -> list[bool]:
        left = Qt.DockWidgetArea.LeftDockWidgetArea
        docks = [d for d in window.findChildren(QDockWidget) if window.dockWidgetArea(d) == left]
        return [dock.isVisible() for dock in docks]

    assert any(lists())
    before = lists()
    made.set_view("side by side")
    assert QApplication.overrideCursor() is not None  # until it is drawn
    assert not any(lists())
    settle(made, wait)
    wait(lambda: shown.canvas.size[1] / 3 > 250)
    assert QApplication.overrideCursor() is None
    zoom = shown.scene.camera.zoom  # the projection fills its cell, which has grown meanwhile
    assert zoom * 48 * shown.layers[0].scale[-2] > 0.5 * shown.canvas.size[0] / 2
    made.set_view("overlay")
    assert lists() == before
    made.set_view("residual")
    assert not any(lists())
    click(made.views.wide)
    assert lists() == before
    click(made.views.wide)
    assert not any(lists())
    made.set_view("leave")
    assert lists() == before
    settle(made, wait)


def test_layers_are_made_once_and_only_when_they_are_seen(opened, viewer, wait):
    dock, _, _ = opened
    added, batches = [], []
    viewer.layers.events.inserted.connect(lambda event: added.append(event.value))
    viewer.layers.events.end_batch.connect(batches.append)
    dock.set_view("overlay")
    assert len(added) == 1
    assert len(batches) == 1
    dock.set_view("side by side")
    assert [dock.view.layers[k] for k in ("a", "b", "residual_a", "residual_b")] == added[1:]
    assert len(batches) == 2
    for name in ("residual", "flicker", "overlay", "side by side"):
        dock.set_view(name)
    assert len(added) == 5
    order = ("a", "b", "residual_a", "residual_b", "agreement")
    places = [viewer.layers.index(dock.view.layers[key]) for key in order]
    assert places == sorted(places)
    dock.set_view("profile")
    assert len(added) == 7  # the line and its pointer
    dock.set_view("leave")
    settle(dock, wait)


@pytest.mark.parametrize(
    ("mode", "canvas", "grid"),
    [
        ("residual", (600, 900), (1, 2)),
        ("residual", (900, 600), (2, 1)),
        ("side by side", (900, 600), (2, 3)),
        ("overlay", (900, 600), None),
    ],
)
def test_cells_are_as_large_as_the_canvas_allows(mode, canvas, grid):
    from napari_labdct.gui.compare.views import best_grid

    assert best_grid(mode, canvas, (508, 508)) == grid


@pytest.mark.parametrize("letters", [40, 20, 12])
def test_captions_keep_their_counts(letters):
    from napari_labdct.gui.compare.captions import shorten

    text = shorten("A: ", "pin 1: standard routine", ", 418", letters)
    assert len(text) <= letters
    assert text.startswith("A: pin")
    assert text.endswith(", 418")
    assert ("…" in text) == (letters < 31)


def test_keys_switch_views_while_the_dock_has_focus(opened, viewer, qtbot, wait):
    from qtpy.QtCore import Qt

    dock, _, _ = opened
    qtbot.keyClick(dock.views.buttons.button(0), Qt.Key.Key_2)
    wait(lambda: dock.view.mode == "overlay")
    qtbot.keyClick(dock.views.buttons.button(0), Qt.Key.Key_0)
    wait(lambda: dock.view.mode == "")
    settle(dock, wait)


def test_removing_a_layer_or_the_stack_leaves_the_view(opened, viewer, wait):
    dock, stack, _ = opened
    dock.set_view("side by side")
    settle(dock, wait)
    viewer.layers.remove(dock.view.layers["residual_a"])
    assert not dock.view.on
    assert stack.visible
    dock.set_view("side by side")
    settle(dock, wait)
    viewer.layers.remove(stack)
    assert not dock.view.on
    assert dock.engine is None
    assert all("iron" in layer.name for layer in viewer.layers)


def test_a_single_image_and_no_scan_do_no_harm(viewer, dock, wait):
    made = dock("Compare")
    assert made.source("a") is None
    made.compare_all()
    made.suggest()
    made.set_view("overlay")
    assert not made.view.on
    viewer.add_image(np.random.default_rng(0).poisson(90, (40, 50)).astype(np.uint16), name="one")
    made.set_view("side by side")
    settle(made, wait)
    assert made.view.on
    assert made.looking.view.match.n_b >= 0
    made.set_view("leave")
    assert [layer.name for layer in viewer.layers] == ["one"]


def test_the_dock_fits_a_small_screen(opened):
    dock, _, _ = opened
    assert dock.minimumSizeHint().height() < 560
    assert dock.minimumSizeHint().width() < 420
    for child in dock.content.findChildren(type(dock.views.buttons.button(0))):
        assert child.accessibleName()
        assert child.toolTip()


def test_closing_the_dock_brings_everything_back(opened, viewer, wait):
    dock, stack, _ = opened
    before = state_of(viewer)
    dock.set_view("side by side")
    settle(dock, wait)
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    wait(lambda: state_of(viewer) == before)
    viewer.dims.set_point(0, 2)
    assert stack in viewer.layers
