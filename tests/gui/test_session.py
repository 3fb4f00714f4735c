"""The session and its stack chooser: opening order, renaming, removal, two viewers, closing."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from napari_labdct.core.errors import ScanError
from napari_labdct.core.jobs import Progress
from napari_labdct.gui.app.session import session_of
from napari_labdct.gui.widgets.combos import StackCombo
from napari_labdct.scan.scan import Scan

pytestmark = pytest.mark.gui


@pytest.fixture
def combo(viewer, qtbot):
    combo = StackCombo(session_of(viewer))
    qtbot.addWidget(combo)
    return combo


def entries(combo: StackCombo) -> list[str]:
    return [combo.itemText(i) for i in range(combo.count())]


def test_no_layers(combo, viewer):
    assert entries(combo) == []
    assert not combo.isEnabled()
    assert session_of(viewer).stack is None
    with pytest.raises(ScanError, match="No scan is open"):
        session_of(viewer).scan()


def test_opened_before_the_data(combo, viewer, add_scan, scan):
    add_scan(scan)
    assert entries(combo) == ["iron"]
    assert combo.currentIndex() == 0
    assert session_of(viewer).scan().n_frames == scan.n_frames


def test_opened_after_the_data(viewer, add_scan, scan, qtbot):
    layer = add_scan(scan)
    combo = StackCombo(session_of(viewer))
    qtbot.addWidget(combo)
    assert entries(combo) == ["iron"]
    assert session_of(viewer).stack is layer


def test_choosing_renaming_and_removing(combo, viewer, add_scan, scan):
    session = session_of(viewer)
    first, second = add_scan(scan), add_scan(scan.replace(name="nickel"))
    changes = []
    session.stack_changed.connect(changes.append)
    combo.setCurrentIndex(1)
    combo.activated.emit(1)
    assert session.stack is second
    second.name = "nickel 2"
    assert entries(combo) == ["iron", "nickel 2"]
    assert combo.currentText() == "nickel 2"
    viewer.layers.remove(second)
    assert session.stack is first
    assert entries(combo) == ["iron"]
    viewer.layers.remove(first)
    assert session.stack is None
    assert entries(combo) == []
    assert changes == [second, first, None]


def test_only_images_that_are_not_results_are_stacks(combo, viewer, add_scan, scan):
    layer = add_scan(scan)
    viewer.add_labels(np.zeros((3, 8, 8), np.uint8))
    viewer.add_points()
    session = session_of(viewer)
    session.add_result(layer, np.zeros(scan.frames.shape, np.uint8), "cleaned")
    plain = viewer.add_image(np.zeros((3, 8, 8)), name="plain")
    assert entries(combo) == ["iron", "plain"]
    session.set_stack(plain)
    assert session.scan().shape == (8, 8)


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (np.zeros((20, 30, 3), np.uint8), {"rgb": True}, "colour"),
        (np.zeros((2, 3, 8, 9)), {}, "shape"),
    ],
)
def test_what_is_no_scan_gets_a_sentence(viewer, image, options, words):
    layer = viewer.add_image(image, name="odd", **options)
    with pytest.raises(ScanError, match=words):
        session_of(viewer).scan(layer)


def test_anything_with_frames_is_a_scan(viewer, frames, tmp_path):
    import dask.array as da

    np.save(tmp_path / "a.npy", frames)
    session = session_of(viewer)
    for data in (frames, np.load(tmp_path / "a.npy", mmap_mode="r"), da.from_array(frames)):
        layer = viewer.add_image(data, contrast_limits=(0, 900))
        np.testing.assert_array_equal(session.scan(layer).frame(2), frames[2])
    single = viewer.add_image(frames[0])
    assert session.scan(single).n_frames == 1
    assert session.scan(single) is session.scan(single)


def test_changed_data_make_a_new_scan(viewer, add_scan, scan, frames):
    layer = add_scan(scan)
    session = session_of(viewer)
    assert session.scan(layer).omega_deg is not None
    layer.data = frames[:4]
    assert session.scan(layer).n_frames == 4


def test_results_belong_to_their_stack(viewer, add_scan, scan):
    session = session_of(viewer)
    first, second = add_scan(scan), add_scan(scan.replace(name="nickel"))
    data = np.zeros(scan.frames.shape, np.uint8)
    changed = []
    session.results_changed.connect(changed.append)
    a = session.add_result(first, data, "cleaned")
    b = session.add_result(first, data, "cleaned")
    c = session.add_result(second, data, "network mask")
    assert (a.name, b.name, c.name) == (
        "iron [network result]",
        "iron [network result] #2",
        "nickel [network mask]",
    )
    assert session.results(first) == [a, b]
    assert session.results(second, "network mask") == [c]
    assert session.results(second, "cleaned") == []
    viewer.layers.remove(a)
    assert session.results(first) == [b]
    assert changed == [first, first, second, first]
    viewer.layers.remove(first)
    assert session.add_result(first, data, "cleaned") is None


def test_results_leave_the_users_layers_alone(viewer, add_scan, scan):
    layer = add_scan(scan)
    other = viewer.add_image(np.zeros((8, 8)), visible=False)
    before = [(x, x.visible, x.opacity) for x in viewer.layers]
    session_of(viewer).add_result(layer, np.zeros(scan.frames.shape, np.uint8), "cleaned")
    assert [(x, x.visible, x.opacity) for x in viewer.layers][: len(before)] == before
    assert not other.visible


def test_results_leave_the_users_selection_alone(viewer, add_scan, scan):
    session, layer = session_of(viewer), add_scan(scan)
    mine = viewer.add_labels(np.zeros(scan.frames.shape, np.uint8), name="mine")
    for chosen in ({mine}, {mine, layer}):
        viewer.layers.selection = chosen
        session.add_result(layer, np.zeros(scan.frames.shape, np.uint8), "mask")
        assert set(viewer.layers.selection) == chosen


def test_the_shown_frame(viewer, add_scan, scan, qtbot):
    layer = add_scan(scan)
    session = session_of(viewer)
    with qtbot.waitSignal(session.frame_changed):
        session.show_frame(6)
    assert session.shown_frame() == 6
    viewer.add_image(np.zeros((2, 9, 8, 8)))  # one axis more
    session.show_frame(4, layer)
    assert session.shown_frame(layer) == 4


def test_refresh_reads_the_shown_frame_only(viewer, add_scan, scan):
    layer = add_scan(scan)
    session = session_of(viewer)
    session.show_frame(3)
    calls = []
    layer.events.set_data.connect(lambda event: calls.append(1))
    session.refresh(layer, [0, 1, 2])
    assert calls == []
    session.refresh(layer, [2, 3])
    assert calls
    session.refresh(None)


def test_the_proxy_napari_gives_plugins_is_the_same_viewer(make_napari_viewer_proxy):
    proxy = make_napari_viewer_proxy()
    session = session_of(proxy)
    assert session_of(proxy) is session
    layer = proxy.add_image(np.zeros((3, 8, 8)))
    assert session.stack.name == layer.name
    assert session.contains(session.stack)


def test_two_viewers_are_independent(make_napari_viewer, scan):
    one, two = make_napari_viewer(), make_napari_viewer()
    assert session_of(one) is not session_of(two)
    layer = one.add_image(scan.frames)
    assert session_of(one).stack is layer
    assert session_of(two).stack is None
    assert session_of(one).job("denoise") is not session_of(two).job("denoise")
    two.close()
    assert not session_of(one).closed


def test_closing_the_viewer_stops_the_job(make_napari_viewer, wait):
    viewer = make_napari_viewer(show=True)
    viewer.window.add_plugin_dock_widget("napari-labdct", "Scan")
    session = session_of(viewer)
    entered, go, closed = threading.Event(), threading.Event(), threading.Event()

    def make():
        try:
            entered.set()
            go.wait(30)
            yield Progress(1, 9)
            yield Progress(2, 9)
        finally:
            closed.set()

    job = session.job("denoise")
    job.start(make, "test")
    wait(entered.is_set)
    viewer.close()
    go.set()
    wait(closed.is_set)
    wait(lambda: session.closed)
    assert session.viewer is None
    assert session.stacks() == []


def test_a_closed_session_is_let_go(viewer, add_scan, scan):
    layer = add_scan(scan)
    session = session_of(viewer)
    session.add_result(layer, np.zeros(scan.frames.shape, np.uint8), "cleaned")
    session.job("denoise")
    ref = weakref.ref(session)
    session.close()
    assert session.viewer is None
    del session
    gc.collect()
    assert ref() is None
    assert session_of(viewer).stack is layer  # a new one, for a dock opened again


def test_a_reopened_dock_finds_the_job_at_work(viewer, dock, wait):
    go = threading.Event()

    def make():
        yield Progress(1, 2)
        go.wait(30)
        yield Progress(2, 2)

    first = dock("Denoise")
    session_of(viewer).job("denoise").start(make, "test")
    viewer.window.remove_dock_widget(first)
    second = dock("Denoise")
    assert second is not first
    assert second.bar.button.text() == "Cancel"
    go.set()
    wait(lambda: not session_of(viewer).job("denoise").running)
    assert second.bar.button.text() == "Denoise"


def test_scans_open_in_a_worker(viewer, wait, tmp_path, frames, monkeypatch):
    import tifffile

    tifffile.imwrite(tmp_path / "all.tif", frames, photometric="minisblack")
    threads, said = [], []

    from napari_labdct.gui.app import layers

    real = layers.scan_layer

    def spy(path):
        threads.append(threading.current_thread())
        return real(path)

    monkeypatch.setattr(layers, "scan_layer", spy)
    session = session_of(viewer)
    session.open([tmp_path / "all.tif"], said.append)
    wait(lambda: session.stack is not None)
    wait(lambda: not session.job("open").running)
    assert threads[0] is not threading.main_thread()
    session.open([tmp_path / "none.tif"], said.append)
    wait(lambda: bool(said))
    assert "does not exist" in said[0]
    assert Scan(session.stack.data).n_frames == len(frames)


def test_the_canvas_is_current_while_napari_deletes_what_it_drew(shown, wait):
    # else buffers are deleted behind its back, and the process ends in a later draw
    from qtpy.QtGui import QOpenGLContext

    canvas = shown.window._qt_viewer.canvas
    session_of(shown)
    wait(canvas.native.isValid)
    delete, current = canvas._scene_canvas.context.finish, []

    def finish() -> None:
        here = QOpenGLContext.currentContext()
        current.append(here is not None and here.surface() is canvas.native.context().surface())
        delete()

    for _ in range(2):
        shown.add_image(np.random.default_rng(0).random((48, 64)))
    for _ in range(2):
        shown.add_labels(np.eye(48, 64, dtype=np.uint8))
    drawn = []
    canvas._scene_canvas.events.draw.connect(lambda _event: drawn.append(len(shown.layers)))
    canvas._scene_canvas.context.finish = finish
    while shown.layers:
        wait(lambda: drawn[-1:] == [len(shown.layers)])
        shown.layers.pop(0)
    assert current == [True] * 4
