"""The map on a canvas of its own: the viewer's canvas shows projections at the same time.

A volume in micrometres has no place among projections, whose first axis is the rotation angle; and
a click on one of the two lights something up in the other, so both must be in sight.
"""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QSizePolicy, QSlider

from ..widgets.combos import narrow_combo
from ..widgets.dock import wrapped
from ..widgets.forms import tame
from .canvas import VolumeCanvas
from .volume import KEYS, MODES

#: What is shown: the name, and the axis that the slider moves along.
_SLICES = {"3D": None, "Slices along z": 0, "Slices along y": 1, "Slices along x": 2}


class VolumeView(VolumeCanvas):
    """The canvas with its controls: colouring, 3D or slices, centres, the slice.

    Attributes
    ----------
    mode_changed : signal(str)
        Another colouring is wanted.
    """

    mode_changed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.modes = narrow_combo("Colours", KEYS)
        self.modes.addItems(MODES)
        self.modes.activated.connect(lambda _: self.mode_changed.emit(self.modes.currentText()))
        self.slices = QComboBox()
        tame(self.slices, "View", "The sample in 3D, or slices through it")
        self.slices.addItems(list(_SLICES))
        self.slices.currentIndexChanged.connect(self._on_slices)
        self.ids = QCheckBox("Centres")
        tame(self.ids, "Centres", "Show the centres of the grains, with their ids")
        self.ids.toggled.connect(self._on_ids)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        tame(self.slider, "Slice", "Which slice is shown")
        self.slider.valueChanged.connect(self._on_slider)
        self.slider.hide()
        self.caption = wrapped()
        self.caption.setAccessibleName("What the volume shows")
        self.caption.hide()
        self.said.connect(self._show_caption)
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.modes, 1)
        row.addWidget(self.slices, 1)
        row.addWidget(self.ids)
        self._layout.addLayout(row)
        self._layout.addWidget(self.slider)
        self._layout.addWidget(self.caption)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    @property
    def mode(self) -> str:
        """The colouring that is chosen."""
        return self.modes.currentText()

    def set_mode(self, mode: str) -> None:
        """Show another colouring in the combo, without telling anybody."""
        with QSignalBlocker(self.modes):
            self.modes.setCurrentText(mode)

    def go_to(self, point_um: np.ndarray) -> None:
        """Show the slice that holds a point (z, y, x)."""
        drawn = self._drawn
        if drawn is not None and self.axis is not None:
            index = (point_um[self.axis] - drawn.first_um[self.axis]) / drawn.voxel_um
            self.slider.setValue(round(float(index)))

    def _turn(self) -> None:
        super()._turn()
        drawn = self._drawn
        if self.axis is not None and drawn is not None:
            count = drawn.labels.shape[self.axis]
            with QSignalBlocker(self.slider):
                self.slider.setRange(0, count - 1)
                self.slider.setValue(count // 2)
            self._on_slider(self.slider.value())

    def _on_slices(self, *_: object) -> None:
        self.axis = _SLICES[self.slices.currentText()]
        self.slider.setVisible(self.axis is not None)
        self._turn()

    def _on_slider(self, index: int) -> None:
        if self._drawn is not None and self.axis is not None:
            at = self._drawn.first_um + index * self._drawn.voxel_um
            super().go_to(at)
            self.slider.setToolTip(f"{'zyx'[self.axis]} = {at[self.axis]:.0f} um")

    def _on_ids(self, on: bool) -> None:
        self.with_centres = on
        self._show_centres()

    def _show_caption(self, text: str) -> None:
        self.caption.setText(text)
        self.caption.setVisible(bool(text))
