"""What to train, in plain words: where the spots come from, the network, the time there is."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QLineEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ...core.errors import LabDCTError, SettingsError
from ...core.parameters import arguments_of, fields_of
from ...io import open_scan
from ...scan.scan import Scan
from ...simulation.settings import SimulateSettings
from ...training.crops.own_scan import settings_of_scan
from ...training.settings import SynthesisSettings, TrainSettings
from ..app import preferences
from ..widgets.combos import narrow_combo
from ..widgets.dock import wrapped
from ..widgets.forms import SettingsForm, tame, with_button
from ..widgets.section import Section
from .more_section import MoreSection, put_into, rows
from .tasks import Plan

SCAN, REVIEWED, SCRATCH = "a model for my scan", "from my reviewed spots", "from scratch"
_ABOUT = {
    SCAN: "Goes on with a trained model: simulated spots are put on the background of the open "
    "scan, so that the model learns this background, this noise and this geometry.",
    REVIEWED: "Goes on with a trained model: it learns from the spots that you accepted, rejected "
    "and corrected (Review dock, Export, training pairs), mixed with simulated ones.",
    SCRATCH: "Starts with random weights and learns from simulated spots on simulated "
    "backgrounds. It takes long, and needs no scan.",
}
_BUDGETS = {"about 10 minutes": 600.0, "about an hour": 3600.0, "overnight, 10 hours": 36000.0}
_COUNTED = "a number of iterations"
# What the user is asked about the simulated spots; everything else is as in the Simulate dock.
_SPOT_FIELDS = ("material", "mean_grain_um", "diameter_um", "height_um", "families", "tube_kv")
_FROM_SCAN = "of the open scan"


class TrainForm(QWidget):
    """Every choice of a training; `plan` says what they come to.

    Attributes
    ----------
    changed : signal
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._scan: Scan | None = None
        self._networks: dict[str, str] = {}
        self._last = preferences.load_last("train_dock")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.kind = narrow_combo("Train", "What to learn from")
        self.kind.addItems((SCAN, REVIEWED, SCRATCH))
        self.about = wrapped()
        self.about.setAccessibleName("About this kind of training")
        head = rows()
        head.addRow("Train", self.kind)
        layout.addLayout(head)
        layout.addWidget(self.about)
        self._rows = rows()
        self._build_rows()
        layout.addLayout(self._rows)
        self.note = wrapped()
        self.note.setAccessibleName("What the time comes to")
        layout.addWidget(self.note)
        self._build_sections(layout)
        self._recall()
        for signal in (
            self.kind.currentTextChanged, self.network.currentTextChanged,
            self.loss.currentTextChanged, self.budget.currentTextChanged,
            self.iterations.valueChanged, self.model.currentTextChanged,
            self.background.currentTextChanged, self.pairs.textChanged, self.name.textEdited,
            self.device.currentTextChanged, self.train.refused, self.tune.refused,
            self.synthesis.refused, self.spots.refused, self.keep_going.toggled,
        ):  # fmt: skip
            signal.connect(self._on_changed)
        self._show_rows()

    # ------------------------------------------------------------------------ building

    def _build_rows(self) -> None:
        self.model = narrow_combo("Start from", "The trained model to go on with")
        self.background = narrow_combo(
            "Background", "What the simulated spots are put on: of this scan, or a saved set"
        )
        self.background.addItem(_FROM_SCAN, "")
        self.pairs = QLineEdit()
        self.pairs.setPlaceholderText("folder of training pairs")
        tame(self.pairs, "Reviewed pairs", "Folder written by the Review dock: training pairs")
        self._pairs_row = with_button(
            self.pairs, "Folder...", "Choose the folder of training pairs", self._ask_pairs
        )
        self.network = narrow_combo("Network", "compact is quick, larger ones see a little more")
        self.loss = narrow_combo("Loss", "What the training makes small")
        for box, name in ((self.network, "network"), (self.loss, "loss")):
            field = next(f for f in fields_of(TrainSettings) if f.name == name)
            box.addItems(field.param.choices)
            box.setCurrentText(field.default)
        self.budget = narrow_combo(
            "Time", "How long it may take; Stop and Resume are always possible"
        )
        self.budget.addItems((*_BUDGETS, _COUNTED))
        self.iterations = QSpinBox()
        self.iterations.setRange(1, 10_000_000)
        self.iterations.setValue(TrainSettings().iterations)
        tame(self.iterations, "Iterations", "Steps of the optimiser")
        self.name = QLineEdit()
        tame(self.name, "Name", "What the new model is called")
        for label, widget in (
            ("Start from", self.model),
            ("Background", self.background),
            ("Pairs", self._pairs_row),
            ("Network", self.network),
            ("Loss", self.loss),
            ("Time", self.budget),
            ("Iterations", self.iterations),
            ("Name", self.name),
        ):
            self._rows.addRow(label, widget)

    def _build_sections(self, layout: QVBoxLayout) -> None:
        others = [f.name for f in fields_of(SimulateSettings) if f.name not in _SPOT_FIELDS]
        self.spots = SettingsForm(SimulateSettings, exclude=others, reset_button=False)
        self.spots_section = Section(
            "Simulated spots", "Material and grains; the geometry is that of the open scan"
        )
        put_into(self.spots_section, self.spots)
        self.more = MoreSection()
        self.train, self.tune = self.more.train, self.more.tune
        self.synthesis = self.more.synthesis
        self.device, self.keep_going = self.more.device, self.more.keep_going
        layout.addWidget(self.spots_section)
        layout.addWidget(self.more)

    # ------------------------------------------------------------------------- filling

    def set_models(self, models: dict[str, str], devices: dict[str, str]) -> None:
        """Offer models (name and network) and devices (name and what they are)."""
        wanted = self.model.currentData() or self._last.get("model", "compact")
        with QSignalBlocker(self.model), QSignalBlocker(self.device):
            self.model.clear()
            for name, network in models.items():
                self.model.addItem(f"{name} ({network})" if network != name else name, name)
            self.model.setCurrentIndex(max(0, self.model.findData(wanted)))
            device = self.device.currentData()
            self.device.clear()
            self.device.addItem("auto", "auto")
            for name, what in devices.items():
                self.device.addItem(f"{name}: {what}", name)
            self.device.setCurrentIndex(max(0, self.device.findData(device)))
        self._networks = models
        self.changed.emit()

    def set_backgrounds(self, sets: list[tuple[str, Path]]) -> None:
        """Offer background sets."""
        wanted = self.background.currentData()
        with QSignalBlocker(self.background):
            while self.background.count() > 1:
                self.background.removeItem(1)
            for name, path in sets:
                self.background.addItem(name, str(path))
            self.background.setCurrentIndex(max(0, self.background.findData(wanted)))

    def set_scan(self, scan: Scan | None) -> None:
        """Take geometry and material of the open scan; they may be edited afterwards."""
        self._scan = scan
        if scan is not None:
            try:
                last = preferences.load_last("simulate")
                grains = {k: last[k] for k in ("mean_grain_um", "diameter_um", "height_um")
                          if k in last}  # fmt: skip
                self.spots.set_settings(settings_of_scan(scan, **grains), quietly=True)
            except LabDCTError:
                pass  # what is missing is said when it counts, see `plan`
        self._on_changed()

    def _recall(self) -> None:
        last = self._last
        for box, name in ((self.kind, "kind"), (self.budget, "budget"), (self.network, "network"),
                          (self.loss, "loss")):  # fmt: skip
            if last.get(name):
                box.setCurrentText(str(last[name]))
        self.iterations.setValue(int(last.get("iterations", self.iterations.value())))
        self.pairs.setText(str(last.get("pairs", "")))

    def _on_changed(self, *_: object) -> None:
        self._last.update(
            kind=self.kind.currentText(), budget=self.budget.currentText(),
            network=self.network.currentText(), loss=self.loss.currentText(),
            iterations=self.iterations.value(), pairs=self.pairs.text(),
            model=self.model.currentData() or self._last.get("model", "compact"),
        )  # fmt: skip
        preferences.save_last("train_dock", self._last)
        self._show_rows()
        self.changed.emit()

    def _show_rows(self) -> None:
        kind = self.kind.currentText()
        self.about.setText(f"<small>{_ABOUT[kind]}</small>")
        shown = {
            self.model: kind != SCRATCH,
            self.background: kind == SCAN,
            self._pairs_row: kind == REVIEWED,
            self.network: kind == SCRATCH,
            self.loss: kind == SCRATCH,
            self.iterations: self.budget.currentText() == _COUNTED,
        }
        for widget, on in shown.items():
            self._rows.setRowVisible(widget, on)
        self.name.setPlaceholderText(self._usual_name())
        self.spots_section.setVisible(kind == SCAN)
        self.train.setVisible(kind == SCRATCH)
        self.synthesis.setVisible(kind == SCRATCH)
        self.tune.setVisible(kind != SCRATCH)
        try:
            s = self.spots.settings()
            self.spots_section.say(f"{s.material}, grains of {s.mean_grain_um:g} um")
        except SettingsError as error:
            self.spots_section.say(str(error))

    def _usual_name(self) -> str:
        kind = self.kind.currentText()
        if kind == SCAN:
            return self._scan.name if self._scan is not None else "my scan"
        return "reviewed" if kind == REVIEWED else f"{self.network.currentText()} from scratch"

    def _ask_pairs(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of training pairs")
        if path:
            self.pairs.setText(path)

    # -------------------------------------------------------------------------- result

    def plan(self) -> Plan:
        """What is to be trained, as it stands in the form.

        Raises
        ------
        LabDCTError
            Something is missing or refused.
        """
        kind = self.kind.currentText()
        device = ("--device", self.device.currentData() or "auto")
        if kind == SCRATCH:
            settings = self.train.settings().replace(
                network=self.network.currentText(), loss=self.loss.currentText()
            )
            synthesis = self.synthesis.settings()
            more = (*device, *arguments_of(synthesis))
            crop_px, command = synthesis.crop_px, "train"
        else:
            settings = self.tune.settings()
            more = (*self._inputs(kind), "--model", self.model.currentData() or "compact", *device)
            crop_px, command = settings.crop_px, "finetune"
        known = ("network", "loss", "batch", "precision", "encoder", "features")
        alike = {k: getattr(settings, k) for k in known if hasattr(settings, k)}
        if kind != SCRATCH:
            alike["network"] = self._networks.get(self.model.currentData(), "compact")
        crop = arguments_of(SynthesisSettings(crop_px=crop_px))
        return Plan(
            title=self.name.text().strip() or self._usual_name(),
            command=command,
            settings=settings.replace(iterations=self.iterations.value()),
            more=more,
            seconds=_BUDGETS.get(self.budget.currentText()),
            same_speed=(*arguments_of(TrainSettings(**alike)), *crop, *device),
            keep_going=self.keep_going.isChecked(),
        )

    def check_saved(self) -> None:
        """Raise SettingsError if the scan on disk is not described as the open one is."""
        scan = self._scan
        if self.kind.currentText() != SCAN or scan is None:
            return
        saved = open_scan(scan.address)
        if saved.description != scan.description or saved.n_frames != scan.n_frames:
            raise SettingsError(
                f"The description of '{scan.name}' differs from the one on disk, which the "
                "training reads; save it in the Scan dock first."
            )

    def _inputs(self, kind: str) -> tuple[str, ...]:
        """The arguments that say what a fine-tuning learns from."""
        if kind == REVIEWED:
            folder = Path(self.pairs.text().strip()).expanduser()
            if not self.pairs.text().strip() or not folder.is_dir():
                raise SettingsError(
                    "Choose the folder of training pairs; the Review dock writes it after a review."
                )
            return (str(folder.absolute()),)
        scan = self._scan
        if scan is None:
            raise SettingsError("Open the scan that the model is for.")
        if not scan.source or not Path(scan.source).exists():
            raise SettingsError(
                f"'{scan.name}' is not on disk; save it as TIFF and open that file, because the "
                "training reads it in a process of its own."
            )
        scan.geometry()  # says what is missing
        chosen = self.background.currentData()
        return (
            "--scan", str(Path(scan.address).absolute()),
            *(("--background", chosen) if chosen else ()),
            *(w for w in arguments_of(self.spots.settings(), always=_SPOT_FIELDS) if _is_spot(w)),
        )  # fmt: skip


def _is_spot(word: str) -> bool:
    """Whether a flag is one that the scan does not decide."""
    return word.partition("=")[0].removeprefix("--").replace("-", "_") in _SPOT_FIELDS
