"""The Scan dock: what is known of a scan, what is still missing, and for which step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLabel, QLineEdit

from ...core.errors import LabDCTError, ScanError
from ...scan.description import ScanDescription
from ...scan.plausibility import implausible
from ...scan.scan import Scan, angles
from ..widgets.dock import Dock, button, describe, heading, wrapped
from ..widgets.forms import WRONG, OptionalNumber, SettingsForm, numbers_of, tame
from .controller import ScanController, checks, told_by_file
from .mask import MaskController

_ANGLE_FILES = "*.csv *.txt *.ang *.dat *.json *.yaml *.yml"


class ScanDock(Dock):
    """Angles, geometry, beam stop, detector mask, a check list, and Save scan.yaml."""

    title = "Scan"
    page = "geometry.md"

    def build(self) -> None:
        self.controller = self.session.controller(ScanController)
        self.controller.said.connect(self.say)
        self.controller.job.changed.connect(self._show_guessing)
        self._build_angles()
        self.body.addWidget(heading("Set-up"))
        self.form = SettingsForm(ScanDescription, reset_button=False)
        self.form.changed.connect(self._described)
        self.form.refused.connect(self._refused)
        self.body.addWidget(self.form)
        self._build_detector()
        self.told = wrapped()
        self.told.setAccessibleName("What the file of the projections says")
        self.told.setTextFormat(Qt.TextFormat.PlainText)
        self.body.addWidget(self.told)
        self._build_beam_stop()
        self._build_mask()
        self.checks = wrapped()
        self.checks.setAccessibleName("What is complete and what is missing")
        self._check_title = heading("Check")
        self.footer.addWidget(self._check_title)
        self.footer.addWidget(self.checks)
        self.save_button = button(
            "Save scan.yaml",
            "Write all this beside the data, where it is found when the scan is opened again",
            self._save,
        )
        self.footer.addWidget(self.save_button)

    def _build_angles(self) -> None:
        self.body.addWidget(heading("Rotation angles"))
        self.start, self.increment = _number(), _number()
        tame(self.start, "First angle", "Rotation angle of the first projection, degrees")
        tame(self.increment, "Angle step", "From one projection to the next, degrees; signed")
        row = QHBoxLayout()
        for name, line in (("Start", self.start), ("Step", self.increment)):
            label = QLabel(name)
            label.setBuddy(line)
            row.addWidget(label)
            row.addWidget(line, 1)
        row.addWidget(
            button("From file...", "Angles from a table, a JSON file or a scan.yaml", self._load)
        )
        self.body.addLayout(row)
        self.angles = wrapped()
        self.angles.setAccessibleName("Angles in use")
        self.forget_button = button(
            "Remove", "The rotation angles are not known", lambda: self._with_stack(self._forget)
        )
        below = QHBoxLayout()
        below.addWidget(self.angles, 1)
        below.addWidget(self.forget_button)
        self.body.addLayout(below)
        self.start.editingFinished.connect(self._angles_typed)
        self.increment.editingFinished.connect(self._angles_typed)

    def _build_detector(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        self.centre, self.tilt = QLineEdit(), QLineEdit()
        self.centre.setPlaceholderText("row, col: middle if not given")
        self.tilt.setPlaceholderText("x, y, z")
        tame(self.centre, "Detector centre", "Where the optical axis meets the detector, pixels")
        tame(self.tilt, "Detector tilt", "Turns of the detector about x, y and z, degrees")
        form.addRow("Centre [px]", self.centre)
        form.addRow("Tilt [deg]", self.tilt)
        self.body.addLayout(form)
        self.centre.editingFinished.connect(self._detector_typed)
        self.tilt.editingFinished.connect(self._detector_typed)

    def _build_beam_stop(self) -> None:
        self.body.addWidget(heading("Beam stop"))
        self.stop = wrapped()
        self.stop.setAccessibleName("Beam stop in use")
        self.body.addWidget(self.stop)
        row = QHBoxLayout()
        self.guess_button = button(
            "Guess", "Find the shadow of the beam stop in the projections", self._guess
        )
        self.edit_button = button(
            "Edit in image", "Show the beam stop as shapes to draw and to drag", self._edit
        )
        self.remove_button = button("Remove", "This scan has no beam stop", self._remove)
        for made in (self.guess_button, self.edit_button, self.remove_button):
            row.addWidget(made)
        self.body.addLayout(row)

    def _build_mask(self) -> None:
        self.masks = self.session.controller(MaskController)
        self.masks.found.connect(self._show_mask)
        self.masks.said.connect(self.say)
        self.body.addWidget(heading("Detector mask"))
        self.mask = wrapped()
        self.mask.setAccessibleName("Detector mask in use")
        self.body.addWidget(self.mask)
        row = QHBoxLayout()
        self.show_mask_button = button(
            "Edit in image",
            "Show as labels, to paint and to erase, which pixels carry no information",
            lambda: self._with_stack(self._edit_mask),
        )
        self.use_mask_button = button(
            "Use as painted",
            "Leave out what is painted; Save scan.yaml keeps it in a file beside the projections",
            lambda: self._with_stack(self.masks.use),
        )
        self.find_mask_button = button(
            "Find again",
            "Leave out what the projections themselves show to carry no information",
            lambda: self._with_stack(self.masks.find_again),
        )
        for made in (self.show_mask_button, self.use_mask_button, self.find_mask_button):
            row.addWidget(made)
        self.body.addLayout(row)
        self.session.stacks_changed.connect(self._show_mask)

    # ------------------------------------------------------------------ what is shown

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        self.save_button.setEnabled(scan is not None)
        self.checks.setText("")
        self._check_title.setVisible(scan is not None)
        if scan is None:
            return
        self.form.set_settings(scan.description, quietly=True)
        omega = scan.omega_deg
        self._show_angles(omega, scan.source_of("omega_deg"))
        told = told_by_file(scan)
        self.told.setText(told)
        self.told.setVisible(bool(told))
        for name, control in self.form.controls.items():
            control.told(scan.source_of(name))
        d = scan.description
        with QSignalBlocker(self.centre), QSignalBlocker(self.tilt):
            self.centre.setText(_join(d.detector_center_px))
            self.tilt.setText(_join(d.detector_tilt_deg) if any(d.detector_tilt_deg) else "")
        corners = sum(len(p) for p in d.beam_stop_px)
        count = len(d.beam_stop_px)
        self.stop.setText(
            f"{count} polygon{'s' if count != 1 else ''}, {corners} corners"
            if count
            else "Not given."
        )
        self.remove_button.setEnabled(bool(count))
        self._show_mask()
        self._mark(scan)
        lines = [f"{'&#10003;' if good else '&#9675;'} {text}" for good, text in checks(scan)]
        self.checks.setText("<small>" + "<br>".join(lines) + "</small>")

    def _show_mask(self) -> None:
        layer = self.session.stack
        if layer is None or self.problem:
            return
        try:
            scan = self.session.scan(layer)
        except LabDCTError:  # shown by `problem` in a moment
            return
        self.mask.setText(self.masks.about(layer))
        self.use_mask_button.setEnabled(self.masks.labels_of(layer) is not None)
        given = scan.mask is not None or scan.description.mask is not None
        self.find_mask_button.setEnabled(given)

    def _mark(self, scan: Scan) -> None:
        """Show at the fields, in red, which values can hardly be meant."""
        odd = implausible(scan)
        for name, control in self.form.controls.items():
            control.mark(odd.get(name, ""))
        self.centre.setStyleSheet(
            f"border: 1px solid {WRONG};" if "detector_center_px" in odd else ""
        )

    def _show_angles(self, omega: np.ndarray | None, source: str = "") -> None:
        even = omega is not None and (
            omega.size < 2
            or np.allclose(omega, angles(omega[0], omega[1] - omega[0], omega.size), atol=1e-6)
        )
        self._even = even
        with QSignalBlocker(self.start), QSignalBlocker(self.increment):
            self.start.setText(f"{omega[0]:g}" if even else "")
            for line in (self.start, self.increment):
                line.setPlaceholderText("deg" if even or omega is None else "uneven")
            step = omega[1] - omega[0] if even and omega.size > 1 else None
            self.increment.setText("" if step is None else f"{step:g}")
        self.forget_button.setVisible(omega is not None)
        if omega is None:
            self.angles.setText("Not given: type start and step, or take them from a file.")
        else:
            kind, where = "" if even else ", uneven", f", {source}" if source else ""
            span = f"{omega[0]:g} to {omega[-1]:g} deg"
            self.angles.setText(f"{omega.size} angles{kind}: {span}{where}")

    def _show_guessing(self) -> None:
        running = self.controller.job.running
        self.guess_button.setEnabled(not running)
        self.guess_button.setText("Looking..." if running else "Guess")

    def _refused(self, sentence: str) -> None:
        if sentence:
            self.say(sentence)

    # ----------------------------------------------------------------- what is typed

    def _try(self, act: Callable[[], Any]) -> Any:
        """Do something; say why if it is refused."""
        try:
            done = act()
        except LabDCTError as error:
            self.say(str(error))
            return None
        return done

    def _described(self, description: ScanDescription) -> None:
        layer = self.session.stack
        if layer is not None and not self.problem:
            changes = {name: getattr(description, name) for name in self.form.controls}
            self._try(lambda: self.controller.describe(layer, **changes))

    def _angles_typed(self) -> None:
        layer = self.session.stack
        if layer is None or self.problem:
            return
        first, step = self.start.text().strip(), self.increment.text().strip()
        scan = self.session.scan(layer)
        incomplete = not first or not (step or scan.n_frames == 1)
        if incomplete and scan.omega_deg is not None and self._even:
            self._try(lambda: self.controller.set_angles(layer, None))
            with QSignalBlocker(self.start), QSignalBlocker(self.increment):
                self.start.setText(first)  # half an entry waits for the other half
                self.increment.setText(step)
        if not first or not (step or scan.n_frames == 1):
            return
        start, turn = numbers_of(first, 1), numbers_of(step or "0", 1)
        if start is None or turn is None:
            self.say("Start and step are numbers, in degrees.")
            return
        omega = angles(start[0], turn[0], scan.n_frames)
        if scan.omega_deg is None or not np.allclose(omega, scan.omega_deg):
            self._try(lambda: self.controller.set_angles(layer, omega))

    def _forget(self, layer: Layer) -> None:
        self.controller.set_angles(layer, None)

    def _detector_typed(self) -> None:
        layer = self.session.stack
        if layer is None or self.problem:
            return

        def act() -> None:
            centre = _split(self.centre.text(), "Detector centre", 2)
            tilt = _split(self.tilt.text(), "Detector tilt", 3) or (0.0, 0.0, 0.0)
            self.controller.describe(layer, detector_center_px=centre, detector_tilt_deg=tilt)

        self._try(act)

    def _load(self) -> None:
        layer = self.session.stack
        path, _ = QFileDialog.getOpenFileName(
            self,
            "Rotation angles",
            "",
            "Angles (*.csv *.txt *.ang *.dat *.json *.yaml *.yml);;All files (*)",
        )
        if layer is not None and path:
            self._try(lambda: self.controller.load_angles(layer, Path(path)))

    def _guess(self) -> None:
        if self.session.stack is not None:
            self.controller.guess(self.session.stack)

    def _edit(self) -> None:
        if self.session.stack is not None:
            self.controller.show_shapes(self.session.stack)

    def _edit_mask(self, layer: Layer) -> None:
        self.masks.show(layer)
        self._show_mask()

    def _with_stack(self, act: Callable[[Layer], Any]) -> None:
        layer = self.session.stack
        if layer is not None and not self.problem:
            self._try(lambda: act(layer))

    def _remove(self) -> None:
        if self.session.stack is not None:
            self.controller.remove(self.session.stack)

    def _save(self) -> None:
        layer = self.session.stack
        if layer is None:
            return
        path: Path | None = None
        if not self.session.scan(layer).source:
            chosen, _ = QFileDialog.getSaveFileName(
                self, "Save the description", "scan.yaml", "YAML (*.yaml)"
            )
            if not chosen:
                return
            path = Path(chosen)
        written = self._try(lambda: self.controller.save(layer, path))
        if written is not None:
            self.say(f"Saved {written}. {describe(self.session.scan(layer))}")


def _number() -> QLineEdit:
    line = QLineEdit()
    line.setPlaceholderText("deg")
    line.setValidator(OptionalNumber(line))
    return line


def _join(numbers: tuple[float, ...] | None) -> str:
    return "" if numbers is None else ", ".join(f"{n:g}" for n in numbers)


def _split(text: str, what: str, count: int) -> tuple[float, ...] | None:
    """Numbers of a line, or None if it is empty."""
    if not text.strip():
        return None
    numbers = numbers_of(text, count)
    if numbers is None:
        raise ScanError(f"{what} needs {count} numbers with commas between, not '{text}'.")
    return numbers
