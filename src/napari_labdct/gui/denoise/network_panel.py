"""The upper half of the Denoise dock: model, device, projections, output, and what a run needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ...core.errors import LabDCTError
from ...networks.denoising import DenoiseSettings
from ...networks.devices import quickest
from ...scan.scan import Scan
from ..app import preferences
from ..app.loaded_model import ModelCard
from ..widgets.combos import narrow_combo
from ..widgets.dock import wrapped
from ..widgets.forms import SettingsForm, WholeBox, tame
from ..widgets.model_choice import ModelChoice
from .tasks import disk_bytes, memory_bytes

if TYPE_CHECKING:
    from ..app.session import Session

_PAPER_PX = 1200
_SCOPES = ("This projection", "Range", "Whole stack")


class NetworkPanel(QWidget):
    """Which network runs, how, on which projections; kept for the next session.

    Parameters
    ----------
    session : Session

    Attributes
    ----------
    read : signal(ModelCard)
        The chosen model was read.
    """

    read = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._scan: Scan | None = None
        self._last = preferences.load_last("denoise_dock")
        self._build()
        self.choice.changed.connect(self._remember)
        self.choice.read.connect(self._on_card)
        self.device.activated.connect(self._remember)
        self.scope.currentIndexChanged.connect(self._scope_changed)
        self.output.currentIndexChanged.connect(self._remember)
        self.form.changed.connect(self._show_estimate)
        self.first.valueChanged.connect(self._show_estimate)
        self.last.valueChanged.connect(self._show_estimate)
        self._fill_devices({})

    def _build(self) -> None:
        self.choice = ModelChoice(
            self._session,
            str(self._last.get("model") or preferences.preference("default_model")),
            self._last.get("recent", []),
            self,
        )
        self.model, self.card = self.choice.box, self.choice.label
        self.device = narrow_combo("Device", "Where the network runs; only what this computer has")
        self.scope = narrow_combo(
            "Projections", "Try the projection on the screen first, then the whole stack"
        )
        self.scope.addItems(_SCOPES)
        self.scope.setCurrentText(str(self._last.get("scope", _SCOPES[0])))
        self.first, self.last = WholeBox(), WholeBox()
        tame(self.first, "First projection", "First projection, counted from 0")
        tame(self.last, "Last projection", "Last projection, counted from 0, included")
        self._range = QWidget()
        row = QHBoxLayout(self._range)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.first, 1)
        row.addWidget(QLabel("to"))
        row.addWidget(self.last, 1)
        self.output = narrow_combo(
            "Output size", "Size of the network result; the paper used 1200 px"
        )
        self.output.addItem("Full size", None)
        self.output.addItem("1200 px, as in the paper", _PAPER_PX)
        self.output.setCurrentIndex(1 if self._last.get("output_px") == _PAPER_PX else 0)
        self.form = SettingsForm(
            DenoiseSettings, exclude=("model", "device", "output_px"), remember_as="denoise"
        )
        self.estimate = wrapped()
        self.estimate.setAccessibleName("What the run needs")
        self.controls = QWidget()
        form = QFormLayout(self.controls)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Model", self.choice.row)
        form.addRow(self.card)
        form.addRow("Device", self.device)
        form.addRow("Projections", self.scope)
        form.addRow(self._range)
        form.addRow("Output", self.output)
        form.addRow(self.form)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.controls)
        layout.addWidget(self.estimate)

    # ----------------------------------------------------------------------- model

    def use_model(self, model: str) -> None:
        """Choose a model by its name or file, as if the user had."""
        self.choice.choose(model)
        self._remember()

    def _on_card(self, card: ModelCard) -> None:
        self._fill_devices(card.devices)
        self._show_estimate()
        self.read.emit(card)

    def _fill_devices(self, devices: dict[str, str]) -> None:
        wanted = self._last.get("device") or preferences.preference("device")
        best = quickest(devices)
        with QSignalBlocker(self.device):
            self.device.clear()
            self.device.addItem(f"Auto ({devices.get(best, 'CPU')})", "auto")
            for name, what in devices.items():
                self.device.addItem(f"{name}: {what}", name)
            self.device.setCurrentIndex(max(0, self.device.findData(wanted)))

    def settings(self) -> DenoiseSettings:
        """What the form says.

        Raises
        ------
        SettingsError
            A value is refused.
        """
        return self.form.settings().replace(
            model=self.choice.model,
            device=self.device.currentData() or "auto",
            output_px=self.output.currentData(),
        )

    def frames(self, scan: Scan) -> range:
        """The projections that a run would denoise."""
        scope = self.scope.currentText()
        if scope == "This projection":
            index = self._session.shown_frame()
            return range(index, index + 1)
        if scope == "Range":
            low, high = sorted((self.first.value(), self.last.value()))
            return range(low, high + 1)
        return range(scan.n_frames)

    def _remember(self, *_: object) -> None:
        self._last.update(
            model=self.choice.model,
            recent=self.choice.recent,
            device=self.device.currentData(),
            scope=self.scope.currentText(),
            output_px=self.output.currentData(),
        )
        preferences.save_last("denoise_dock", self._last)
        self._show_estimate()

    def _scope_changed(self, *_: object) -> None:
        self._range.setVisible(self.scope.currentText() == "Range")
        self._remember()

    # ------------------------------------------------------------------- the stack

    def show_scan(self, scan: Scan | None) -> None:
        """Follow the active stack; None if there is none or it is unusable."""
        self._scan = scan
        if scan is not None:
            for box, value in ((self.first, 0), (self.last, scan.n_frames - 1)):
                with QSignalBlocker(box):
                    box.setRange(0, scan.n_frames - 1)
                    box.setValue(value)
        self._range.setVisible(self.scope.currentText() == "Range")
        self._show_estimate()

    def _show_estimate(self, *_: object) -> None:
        scan = self._scan
        if scan is None:
            self.estimate.setText("")
            return
        try:
            settings = self.settings()
        except LabDCTError as error:
            self.estimate.setText(str(error))
            return
        card = self.choice.card.info if self.choice.card else {}
        window = settings.median_window or card.get("median_window", 31)
        uses_median = settings.use_median and scan.n_frames >= 3
        ram = memory_bytes(scan, window if uses_median else 0, card.get("network", "compact"))
        disk = disk_bytes(scan, settings.output_px)
        text = f"Needs about {_size(ram)} of memory and {_size(disk)} on disk."
        if not settings.use_median:
            text += " Without the rolling median the network is clearly weaker."
        elif not uses_median:
            text += (
                f" A scan of {scan.n_frames} has no rolling median; single projections come out "
                "weaker."
            )
        self.estimate.setText(f"<small>{text}</small>")


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 5e8 else f"{max(1, n_bytes / 1e6):.0f} MB"
