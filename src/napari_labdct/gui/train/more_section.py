"""What few need of a training: its device and every setting that the form does not ask for."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QCheckBox, QFormLayout, QVBoxLayout, QWidget

from ...training.crops.reviewed_pairs import FineTuneSettings
from ...training.settings import SynthesisSettings, TrainSettings
from ..widgets.combos import narrow_combo
from ..widgets.forms import SettingsForm, tame
from ..widgets.section import Section

_ELSEWHERE = ("network", "loss", "iterations")
_FORM_PX = 345  # the longest label beside a number with its unit and buttons


class MoreSection(Section):
    """Device, whether it outlives the window, and all settings, folded away."""

    def __init__(self) -> None:
        super().__init__("More", "Device, and every other setting of the training")
        self.say("device, all settings")
        self.train = SettingsForm(
            TrainSettings, exclude=_ELSEWHERE, remember_as="train", reset_button=False
        )
        self.tune = SettingsForm(
            FineTuneSettings, exclude=_ELSEWHERE, remember_as="finetune", reset_button=False
        )
        self.synthesis = SettingsForm(
            SynthesisSettings, remember_as="synthesis", reset_button=False
        )
        for form in (self.train, self.tune, self.synthesis):
            form.setMinimumWidth(_FORM_PX)
        self.device = narrow_combo("Device", "Where it runs; auto takes a GPU if there is one")
        self.device.addItem("auto", "auto")
        self.keep_going = QCheckBox("Go on when this window is closed")
        tame(
            self.keep_going,
            "Go on when this window is closed",
            "Otherwise closing the window writes a checkpoint and stops; Resume goes on from it",
        )
        where = rows()
        where.addRow("Device", self.device)
        put_into(
            self, where, self.keep_going, self.train, self.tune, self.synthesis,
        )  # fmt: skip


def rows() -> QFormLayout:
    """A narrow form."""
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setVerticalSpacing(4)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form


def put_into(section: Section, *things: QWidget | QFormLayout) -> None:
    """Fill a section."""
    layout = QVBoxLayout(section.inside)
    layout.setContentsMargins(12, 0, 0, 4)
    layout.setSpacing(4)
    add: Callable
    for thing in things:
        add = layout.addWidget if isinstance(thing, QWidget) else layout.addLayout
        add(thing)
