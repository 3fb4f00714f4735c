"""The numbers beside the picture: one projection, the stack, the curve, the ranking."""

from __future__ import annotations

import html

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QLabel,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ...evaluation.comparison import FrameResult, Segmentation
from ...evaluation.figures import snr_span
from ...evaluation.report import number, recipe_rows
from ...spots.matching import Match
from ..app import layers as factory
from ..widgets.curve_plot import Curve, Plot
from ..widgets.forms import tame
from .tasks import Tally

_RANKED = 12
_AGAINST_TRUTH = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "pixel_iou": "pixel IoU",
    "centroid_error_px": "centroid error, px",
    "merged": "merged",
    "split": "split",
}


class NumbersPanel(QWidget):
    """Counts of the shown projection and of the stack.

    Attributes
    ----------
    frame_chosen : signal(int)
        The user clicked a projection in the curve or in the ranking.
    """

    frame_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        # not wrapped: the layout squeezes wrapped texts when another part of the dock grows
        self.frame_label = QLabel()
        self.frame_label.setAccessibleName("Numbers of this projection")
        self.summary = QLabel()  # for the dock, to stand where it is always seen
        self.summary.setAccessibleName("Spots of this projection")
        self.summary.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.forget_frame()
        self.stack_label = QLabel()
        self.stack_label.setAccessibleName("Numbers of the stack")
        self.snr_label = QLabel()
        self.snr_label.setAccessibleName("Against the truth, by SNR")
        self.curve = Plot(
            "Spots in every projection", "Click to go to a projection", "rotation angle (deg)"
        )
        self.curve.clicked.connect(self._clicked)
        self.curve.hide()
        self.spread = {
            "snr": Plot("SNR of the spots", "Spots of A and B by SNR, all projections", "SNR"),
            "area_px": Plot("Area of the spots", "Spots of A and B by area", "area (px)"),
        }
        for plot in self.spread.values():
            plot.setMinimumHeight(100)
            plot.hide()
        self.ranking_title = QLabel("Worst first: bright pixels left by A and by B")
        self.ranking = QListWidget()
        self.ranking.setMaximumHeight(130)
        tame(self.ranking, "Worst projections", "Click to go to a projection")
        self.ranking.itemClicked.connect(self._ranked)
        self.ranking.itemActivated.connect(self._ranked)
        for widget in (
            self.frame_label,
            self.stack_label,
            self.snr_label,
            self.curve,
            self.ranking_title,
            self.ranking,
            *self.spread.values(),
        ):
            layout.addWidget(widget)
        self._tally: Tally | None = None
        self._x = np.zeros(0)
        self._ranking_wanted = False
        self.show_ranking(False)

    def forget_frame(self) -> None:
        """Another scan: what was counted is of no use for it."""
        self.frame_label.setText("<small>Choose A and B to count the spots.</small>")
        self.summary.clear()

    def show_match(self, index: int, match: Match) -> None:
        """The counts, which come before the measured numbers."""
        text, rows = _counts(f"projection {index}", match.n_a, match.n_b, match.found)
        self.frame_label.setText(text + _table(rows))
        both, one, two = match.found, len(match.only_a), len(match.only_b)
        self.summary.setText(
            f"<b>projection {index}</b>: {both} spots in both, {one} only in A, {two} only in B"
        )

    def show_frame(self, result: FrameResult) -> None:
        """All numbers of one projection."""
        m = result.match
        angle = f", {result.omega_deg:g} deg" if np.isfinite(result.omega_deg) else ""
        text, rows = _counts(f"projection {result.frame}{angle}", m.n_a, m.n_b, m.found)
        for label, name in (("median area, px", "area_px"), ("median SNR", "snr")):
            values = [
                float(np.median(t[name])) if t.size else float("nan")
                for t in (result.spots_a, result.spots_b)
            ]
            rows.append((label, *values))
        rows.append(("bright pixels left", result.unexplained_a, result.unexplained_b))
        self.frame_label.setText(text + _table(rows))

    def show_stack(self, tally: Tally | None) -> None:
        """Numbers, curve and histograms of the projections compared; None: there are none."""
        self._tally = tally
        for widget in (self.stack_label, self.curve, *self.spread.values()):
            widget.setVisible(tally is not None)
        self.show_ranking(self._ranking_wanted)
        by_snr = None if tally is None else tally.by_snr
        self.snr_label.setVisible(by_snr is not None)
        if tally is None:
            return
        if by_snr is not None:
            self.snr_label.setText(_snr_table(*by_snr))
        table, numbers = tally.frames, tally.numbers
        text, rows = _counts(
            f"{numbers['frames']} projections",
            numbers["spots_a"],
            numbers["spots_b"],
            numbers["both"],
        )
        rows += [
            ("median area, px", numbers["median_area_px_a"], numbers["median_area_px_b"]),
            ("median SNR", numbers["median_snr_a"], numbers["median_snr_b"]),
            ("bright pixels left", numbers["unexplained_a"], numbers["unexplained_b"]),
        ]
        for name, label in _AGAINST_TRUTH.items():
            if f"{name}_a_truth" in numbers:
                rows.append((label, numbers[f"{name}_a_truth"], numbers[f"{name}_b_truth"]))
        self.stack_label.setText(text + _table(rows))
        turning = bool(np.isfinite(table["omega_deg"]).all())
        self._x = table["omega_deg" if turning else "frame"].astype(float)
        self.curve.x_label = "rotation angle (deg)" if turning else "projection"
        self.curve.show_curves(
            [
                Curve("A", factory.CYAN, self._x, table["spots_a"].astype(float)),
                Curve("B", factory.ORANGE, self._x, table["spots_b"].astype(float)),
                Curve("both", factory.WHITE, self._x, table["both"].astype(float)),
            ]
        )
        for name, plot in self.spread.items():
            middle, *counts = tally.spread[name]
            sides = zip(("A", "B"), (factory.CYAN, factory.ORANGE), counts)
            plot.show_curves([Curve(side, colour, middle, y) for side, colour, y in sides])

    def set_frame(self, index: int, omega_deg: float) -> None:
        """Mark the shown projection in the curve."""
        turning = self.curve.x_label.startswith("rotation") and np.isfinite(omega_deg)
        self.curve.set_marker(omega_deg if turning else float(index))

    def show_ranking(self, wanted: bool) -> None:
        """Show the projections with the most unexplained bright pixels."""
        self._ranking_wanted = wanted
        self.ranking_title.setVisible(wanted)
        tally = self._tally
        self.ranking.setVisible(wanted and tally is not None)
        if not wanted:
            return
        if tally is None:
            self.ranking_title.setText("Press Compare all to rank the projections.")
            return
        self.ranking_title.setText("Worst first: bright pixels left by A and by B")
        table = {int(row["frame"]): row for row in tally.frames}
        self.ranking.clear()
        for index in tally.worst[:_RANKED]:
            row = table[index]
            item = QListWidgetItem(
                f"projection {index}: A {row['unexplained_a']}, B {row['unexplained_b']}"
            )
            item.setData(Qt.ItemDataRole.UserRole, index)
            self.ranking.addItem(item)

    def _ranked(self, item: QListWidgetItem) -> None:
        self.frame_chosen.emit(int(item.data(Qt.ItemDataRole.UserRole)))

    def _clicked(self, x: float) -> None:
        if self._x.size and self._tally is not None:
            nearest = int(np.argmin(np.abs(self._x - x)))
            self.frame_chosen.emit(int(self._tally.frames["frame"][nearest]))


Rows = list[tuple[str, float, float]]


def _counts(title: str, n_a: float, n_b: float, both: float) -> tuple[str, Rows]:
    """The title of a table, and its first rows."""
    rows = [("spots", n_a, n_b), ("only there", n_a - both, n_b - both)]
    return f"<b>{title}</b>: both have {number(both)}", rows


def _table(rows: Rows) -> str:
    cells = "".join(
        f"<tr><td>{html.escape(label)}&nbsp;&nbsp;</td><td align='right'>{number(float(a))}"
        f"&nbsp;&nbsp;</td><td align='right'>{number(float(b))}</td></tr>"
        for label, a, b in rows
    )
    return f"<table><tr><td></td>{_heads('A', 'B')}</tr>{cells}</table>"


def _heads(*names: str) -> str:
    """Heads of columns in the colour of their side."""
    colours = {"A": "#00b4c8", "B": "#e08000"}
    return "".join(
        f"<td align='right'>&nbsp;&nbsp;<b style='color:{colours[n[0]]}'>{n}</b></td>"
        for n in names
    )


def _snr_table(a: np.ndarray, b: np.ndarray) -> str:
    """Recall, precision and F1 of A and B in bins of SNR; empty bins are left out."""
    gap = "&nbsp;&nbsp;"
    head = _heads(*(f"{side} {what}" for side in "AB" for what in ("rec.", "prec.", "F1")))
    rows = []
    for one, two in zip(a, b):
        if not (one["truth"] or one["spots"] or two["spots"]):
            continue
        values = [side[n] for side in (one, two) for n in ("recall", "precision", "f1")]
        cells = "".join(f"<td align='right'>{gap}{_share(float(v))}</td>" for v in values)
        rows.append(
            f"<tr><td>{snr_span(one)}</td><td align='right'>{one['truth']}</td>{cells}</tr>"
        )
    return (
        "<b>Against the truth, by SNR</b><small><table>"
        f"<tr><td>SNR</td><td>true</td>{head}</tr>{''.join(rows)}</table></small>"
    )


def _share(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"


def recipes_html(a: Segmentation, b: Segmentation) -> str:
    """Two recipes side by side, differing values bold."""
    rows = []
    for name, one, two, differ in recipe_rows(a.recipe, b.recipe):
        values = (html.escape(v) for v in (one, two))
        cells = "".join(f"<td>{f'<b>{v}</b>' if differ else v}</td>" for v in values)
        rows.append(f"<tr><td>{html.escape(name)}</td>{cells}</tr>")
    return (
        f"<table cellspacing=6><tr><td></td><td>A: {html.escape(a.name)}</td>"
        f"<td>B: {html.escape(b.name)}</td></tr>{''.join(rows)}</table>"
    )
