"""The table model keeps to its keys however it is sorted, filtered and renewed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qtpy.QtCore import Qt

from napari_labdct.gui.review.layers import EditableFrames, LabelCache, StatusFrames, spot_at
from napari_labdct.gui.review.table import COLUMNS, STATUS_INKS, SpotModel, SpotView, row_of
from napari_labdct.gui.review.tasks import StoredSpots
from napari_labdct.review.review import ACCEPTED, REVIEW_DTYPE, Review

pytestmark = pytest.mark.gui
RNG = np.random.default_rng(9)


def _table(count: int, frames: int = 181) -> np.ndarray:
    table = np.zeros(count, REVIEW_DTYPE)
    table["frame"] = np.sort(RNG.integers(0, frames, count))
    table["id"] = np.arange(count)
    for name in ("snr", "area_px", "row", "col", "peak", "confidence"):
        table[name] = RNG.integers(0, 50, count)
    table["status"] = RNG.integers(0, 3, count)
    return table


def test_two_hundred_thousand_rows(qtbot):
    table = _table(200_000)
    view = SpotView()
    qtbot.addWidget(view)
    model = view.model_
    model.show_table(table, None)
    assert model.rowCount() == 200_000
    view.go_to(model.key(123_456))
    key = view.current_key()
    view.sortByColumn(3, Qt.SortOrder.DescendingOrder)
    assert view.current_key() == key
    assert model.table["snr"][model.order[0]] == 49
    view.keeping(lambda: model.show_table(table, np.flatnonzero(table["snr"] > 48)))
    assert model.rowCount() == (table["snr"] > 48).sum()
    assert [c.name for c in COLUMNS if c.name not in REVIEW_DTYPE.names] == []
    assert {c.name for c in COLUMNS} == set(REVIEW_DTYPE.names)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    column=st.integers(0, len(COLUMNS) - 1),
    down=st.booleans(),
    keep=st.lists(st.integers(0, 59), unique=True, min_size=1),
)
def test_rows_and_keys_agree_after_any_sort_and_filter(qapp, column, down, keep):
    table = _table(60, frames=5)
    model = SpotModel()
    model.show_table(table, np.sort(np.array(keep)))
    order = Qt.SortOrder.DescendingOrder if down else Qt.SortOrder.AscendingOrder
    model.sort(column, order)
    assert sorted(model.order.tolist()) == sorted(keep)
    values = table[COLUMNS[column].name][model.order]
    assert (np.diff(values.astype(float)) * (-1 if down else 1) >= 0).all()
    for row in range(model.rowCount()):
        assert model.row(model.key(row)) == row
    gone = next((k for k in range(60) if k not in keep), None)
    if gone is not None:
        assert model.row((int(table["frame"][gone]), int(table["id"][gone]))) == -1


def test_every_cell_can_be_read(qapp):
    table = _table(3)
    table["confidence"] = np.nan
    model = SpotModel()
    model.show_table(table, None)
    for row in range(3):
        for column in range(model.columnCount()):
            assert isinstance(model.data(model.index(row, column)), str)
    head = [model.headerData(k, Qt.Orientation.Horizontal) for k in range(model.columnCount())]
    assert all(head)
    hint = model.headerData(3, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
    assert "snr" in hint
    assert row_of(table, None) == row_of(table, (999, 1)) == -1


@pytest.fixture
def cache():
    labels = np.zeros((2, 12, 14), np.int32)
    labels[0, 3:5, 3:6], labels[0, 3:5, 6:8] = 4, 5
    pixels = {0: (np.flatnonzero(labels[0]), labels[0][labels[0] > 0])}
    table = np.zeros(2, REVIEW_DTYPE)
    table["id"] = [4, 5]
    return LabelCache(StoredSpots(labels.shape, pixels, table), Review(labels.shape))


def test_the_ring_leaves_the_spot_free_and_has_its_status(cache):
    cache.review.set_status([(0, 5)], ACCEPTED)
    ring = StatusFrames(cache)[0]
    labels = cache[0]
    assert not ring[labels > 0].any()
    assert ring[2, 3] == 1
    assert ring[2, 7] == 1 + ACCEPTED
    assert not StatusFrames(cache)[1].any()


def test_the_brush_may_write_boxes_and_points_and_only_changes_are_told(cache):
    told = []
    frames = EditableFrames(cache, lambda *what: told.append(what))
    box = frames[0:1, 2:5, 2:5]
    assert box.shape == (1, 3, 3)
    box[0, 0] = 9
    frames[0:1, 2:5, 2:5] = box
    assert told[0][0] == 0
    assert told[0][1].tolist() == [30, 31, 32]
    assert told[0][2].tolist() == [9, 9, 9]
    at = (np.array([0, 1]), np.array([2, 5]), np.array([2, 5]))
    assert frames[at].tolist() == [9, 0]
    frames[at] = 0
    assert [t[0] for t in told[1:]] == [0]
    assert frames[0][2].tolist() == [0, 0, 0, 9, 9] + [0] * 9 or frames[0][2, 2] == 0


def test_the_nearest_spot_under_a_click():
    table = np.zeros(3, REVIEW_DTYPE)
    table["frame"], table["id"] = [0, 0, 1], [1, 2, 1]
    table["row"], table["col"] = 5, [5, 7, 5]
    for name in ("row_min", "row_max"):
        table[name] = 5
    table["col_min"], table["col_max"] = table["col"] - 1, table["col"] + 1
    assert spot_at(table, 0, 5.2, 5.4) == 0
    assert spot_at(table, 0, 5, 6.6) == 1
    assert spot_at(table, 1, 5, 5) == 2
    assert spot_at(table, 1, 9, 9) == -1


def _luminance(colour: str) -> float:
    """Relative luminance of a colour (WCAG 2)."""
    parts = [int(colour.lstrip("#")[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_statuses_are_read_on_both_themes(theme):
    from napari.utils.theme import get_theme

    colours = get_theme(theme)
    for behind in (colours.background, colours.foreground):
        for ink in STATUS_INKS[theme].values():
            low, high = sorted([_luminance(ink), _luminance(behind.as_hex("long"))])
            assert (high + 0.05) / (low + 0.05) >= 4.5


def test_the_table_follows_the_theme(dock, viewer):
    model = dock("Review").table.model_
    for theme in ("light", "dark"):
        viewer.theme = theme
        assert model.theme == theme
