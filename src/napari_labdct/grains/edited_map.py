"""A grain map that somebody corrects: grains deleted, merged, locked and seeded, with undo."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import SettingsError
from ..core.files import make_folder
from ..crystal import GrainMap, matrices_to_quaternions
from ..io.grain_map_files import write_grain_map
from ..io.grainmapper import MeasuredMap
from ..io.grainmapper_writer import write_grainmapper
from .edit_journal import GrainCommand, GrainJournal, RowChange, from_json, to_json
from .finishing import mean_orientation, touching
from .opened_map import OpenedMap, turn
from .results import write_grain_csv

__all__ = ["EditedMap", "measured_map", "write_edited"]


class EditedMap:
    """A map and what was made of it; every step is written down before it counts.

    Grains are known by their labels, 1 for the first row of the table; a grain that is gone keeps
    its label and its row. Arrays are replaced, never written to, so that a window may read them
    while a worker takes a step.

    Parameters
    ----------
    opened : OpenedMap
    journal : path, optional
        Read if it exists; without one nothing is kept.

    Attributes
    ----------
    labels : ndarray of int32 (nz, ny, nx) or None
    orientations : ndarray (n, 3, 3)
    table : ndarray of GRAIN_DTYPE (n,)
    gone, locked : ndarray of bool (n,)
    neighbours : ndarray of int (n,)
        How many grains each one touches.
    note : str
        What had to be left out of a damaged journal.

    Raises
    ------
    OutputError
        The journal cannot be read or belongs to another map.
    """

    def __init__(self, opened: OpenedMap, journal: str | Path | None = None) -> None:
        self.opened = opened
        self.labels = None if opened.grains is None else opened.grains.labels
        self.orientations, self.table = opened.orientations, opened.table
        count = len(opened.table)
        self.gone, self.locked = np.zeros(count, bool), np.zeros(count, bool)
        self.neighbours = np.zeros(count, int)
        self._history: list[GrainCommand] = []
        self._at = 0
        self._journal = GrainJournal(journal, opened.key)
        self._journal.replay(self._follow)
        self.note = self._journal.note
        self._count_neighbours()

    # ----------------------------------------------------------------- looking

    @property
    def steps(self) -> int:
        """Steps that were taken and not taken back."""
        return self._at

    @property
    def numbers(self) -> np.ndarray:
        """Labels (n,) of the grains that are there."""
        return np.flatnonzero(~self.gone) + 1

    @property
    def undo_name(self) -> str:
        """What `undo` would take back; empty if there is nothing."""
        return self._history[self._at - 1].name if self._at else ""

    @property
    def redo_name(self) -> str:
        """What `redo` would bring back; empty if there is nothing."""
        return self._history[self._at].name if self._at < len(self._history) else ""

    def center_mm(self, number: int) -> np.ndarray:
        """Centre (3,) of a grain."""
        row = self.table[number - 1]
        return np.array([row["x_um"], row["y_um"], row["z_um"]]) * 1e-3

    def name(self, number: int) -> int:
        """What a grain is called in the table."""
        return int(self.table["grain"][number - 1])

    # ---------------------------------------------------------------- changing

    def delete(self, numbers: Sequence[int]) -> GrainCommand:
        """Take grains away; their voxels are empty then.

        Raises
        ------
        SettingsError
            A grain is locked, or none would be left.
        """
        numbers = self._free(numbers, "deleted")
        if len(numbers) == int((~self.gone).sum()):
            raise SettingsError("These are all grains of the map; leave one at least.")
        index = self._voxels(numbers)
        new = np.zeros(len(index), np.int64)
        return self._make(GrainCommand(
            f"delete {self._words(numbers)}", tuple(numbers), (), index, self._at_voxels(index), new
        ))  # fmt: skip

    def merge(self, numbers: Sequence[int]) -> GrainCommand:
        """Make several grains one: the largest, with the mean of their orientations.

        Raises
        ------
        SettingsError
            Fewer than two, one is locked, or they are not one crystal.
        """
        numbers = self._free(numbers, "merged")
        if len(numbers) < 2:
            raise SettingsError("Choose two grains or more to merge.")
        rows = np.array(numbers) - 1
        weights = np.maximum(self.table["voxels"][rows], 1).astype(float)
        symmetry = self.opened.material.symmetry
        u, spread = mean_orientation(self.orientations[rows], weights, symmetry)
        if spread > 15:
            raise SettingsError(
                f"The orientations of {self._words(numbers)} are {spread:.0f} degrees apart; they "
                "are not one crystal."
            )
        kept = numbers[int(weights.argmax())]
        others = [n for n in numbers if n != kept]
        index = self._voxels(others)
        row = self.table[kept - 1].copy()
        for name in ("completeness", "x_um", "y_um", "z_um"):
            row[name] = np.average(self.table[name][rows], weights=weights)
        row["spread_deg"] = np.hypot(row["spread_deg"], spread)
        row["parts"] = self.table["parts"][rows].sum()
        turn(row, u, self.opened.material)
        after = self._patched(index, np.full(len(index), kept))
        change = RowChange(kept, self._known(kept), (self._measured(row, kept, after), u))
        return self._make(GrainCommand(
            f"merge {self._words(numbers)}", tuple(others), (), index, self._at_voxels(index),
            np.full(len(index), kept), (change,),
        ))  # fmt: skip

    def lock(self, numbers: Sequence[int], on: bool = True) -> GrainCommand | None:
        """Keep grains from being changed, or let them go; None if that changes nothing."""
        turned = [n for n in numbers if self.locked[n - 1] != on and not self.gone[n - 1]]
        if not turned:
            return None
        verb = "lock" if on else "unlock"
        return self._make(GrainCommand(f"{verb} {self._words(turned)}", (), tuple(turned)))

    def add(self, row: np.ndarray, u: np.ndarray, voxels: np.ndarray) -> GrainCommand:
        """Add a grain that was seeded by hand; locked grains keep their voxels.

        Parameters
        ----------
        row : GRAIN_DTYPE
        u : ndarray (3, 3)
        voxels : int array (k,)
            Flat voxels it takes.

        Raises
        ------
        SettingsError
            No voxel is left for it.
        """
        number = len(self.table) + 1
        old = self._at_voxels(voxels)
        keeps = np.concatenate([[False], self.locked])[old]
        voxels, old = voxels[~keeps], old[~keeps]
        if len(voxels) == 0:
            raise SettingsError("Locked grains hold every voxel there; unlock them first.")
        after = self._patched(voxels, np.full(len(voxels), number))
        row = np.array(row)
        row["grain"] = int(self.table["grain"].max()) + 1
        changes = [RowChange(number, None, (self._measured(row, number, after), u))]
        emptied = []
        for n in np.unique(old[old > 0]).tolist():
            smaller = self._measured(self.table[n - 1].copy(), n, after)
            if smaller["voxels"]:
                changes.append(RowChange(n, self._known(n), (smaller, self.orientations[n - 1])))
            else:
                emptied.append(n)
        return self._make(GrainCommand(
            f"seed grain {int(row['grain'])}", tuple(emptied), (), voxels, old,
            np.full(len(voxels), number), tuple(changes),
        ))  # fmt: skip

    def undo(self) -> GrainCommand | None:
        """Take back the last step; returns it, or None if there is none."""
        if not self._at:
            return None
        self._journal.append({"step": "undo"})
        command = self._back()
        self._count_neighbours()
        return command

    def redo(self) -> GrainCommand | None:
        """Bring back the step undone last; returns it, or None if there is none."""
        if self._at == len(self._history):
            return None
        self._journal.append({"step": "redo"})
        command = self._forth()
        self._count_neighbours()
        return command

    # ------------------------------------------------------------------ inside

    def _free(self, numbers: Sequence[int], verb: str) -> list[int]:
        numbers = sorted({int(n) for n in numbers if not self.gone[n - 1]})
        if not numbers:
            raise SettingsError("Choose a grain first.")
        locked = [n for n in numbers if self.locked[n - 1]]
        if locked:
            raise SettingsError(
                f"{self._words(locked).capitalize()} is locked and cannot be {verb}; unlock it "
                "first."
            )
        return numbers

    def _words(self, numbers: Sequence[int]) -> str:
        names = [str(self.name(n)) for n in numbers]
        if len(names) == 1:
            return f"grain {names[0]}"
        return f"grains {', '.join(names)}" if len(names) < 5 else f"{len(names)} grains"

    def _known(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        return self.table[number - 1].copy(), self.orientations[number - 1]

    def _voxels(self, numbers: Sequence[int]) -> np.ndarray:
        if self.labels is None:
            return np.zeros(0, np.int64)
        return np.flatnonzero(np.isin(self.labels, numbers))

    def _at_voxels(self, index: np.ndarray) -> np.ndarray:
        if self.labels is None:
            return np.zeros(0, np.int64)
        return self.labels.ravel()[index].astype(np.int64)

    def _patched(self, index: np.ndarray, values: np.ndarray) -> np.ndarray | None:
        if self.labels is None:
            return None
        labels = self.labels.copy()
        labels.ravel()[index] = values
        return labels

    def _measured(self, row: np.ndarray, number: int, labels: np.ndarray | None) -> np.ndarray:
        """A row with size and centre of the voxels that a grain has in a volume."""
        if labels is None:
            return row
        grains = self.opened.grains
        voxels = np.argwhere(labels == number)
        row["voxels"] = len(voxels)
        row["diameter_um"] = np.cbrt(6 / np.pi * len(voxels)) * grains.voxel_um
        if len(voxels):
            middle = (np.array(labels.shape) - 1) / 2
            off = (voxels.mean(axis=0) - middle)[::-1] * grains.voxel_um
            for name, value in zip(
                ("x_um", "y_um", "z_um"), off + np.array(grains.center_mm) * 1e3, strict=True
            ):
                row[name] = value
        return row

    def _make(self, command: GrainCommand) -> GrainCommand:
        self._journal.append(to_json(command))
        self._take(command)
        self._count_neighbours()
        return command

    def _take(self, command: GrainCommand) -> None:
        del self._history[self._at :]
        self._history.append(command)
        self._at += 1
        self._apply(command, forward=True)

    def _back(self) -> GrainCommand:
        self._at -= 1
        command = self._history[self._at]
        self._apply(command, forward=False)
        return command

    def _forth(self) -> GrainCommand:
        command = self._history[self._at]
        self._at += 1
        self._apply(command, forward=True)
        return command

    def _apply(self, command: GrainCommand, forward: bool) -> None:
        table, turns = self.table.copy(), self.orientations.copy()
        gone, locked = self.gone.copy(), self.locked.copy()
        for change in command.rows:
            at = change.number - 1
            if change.old is None and at == len(table):  # a new grain, the first time
                table = np.append(table, np.array([change.new[0]], table.dtype))
                turns = np.concatenate([turns, change.new[1][None]])
                gone, locked = np.append(gone, False), np.append(locked, False)
            elif change.old is None:
                table[at], turns[at] = change.new
                gone[at] = not forward
            else:
                table[at], turns[at] = change.new if forward else change.old
        gone[np.array(command.gone, int) - 1] = forward
        turned = np.array(command.locked, int) - 1
        locked[turned] = ~locked[turned]
        labels = self.labels
        if len(command.index):
            labels = self._patched(command.index, command.new if forward else command.old)
        self.labels, self.table, self.orientations = labels, table, turns
        self.gone, self.locked = gone, locked

    def _follow(self, values: dict[str, Any]) -> None:
        """Do what a line of the journal says."""
        step = values.get("step")
        if step == "undo":
            if not self._at:
                raise ValueError("there is nothing to undo")
            self._back()
        elif step == "redo":
            self._forth()
        elif step is None:
            size = 0 if self.labels is None else self.labels.size
            self._take(from_json(values, size, len(self.table)))
        else:
            raise ValueError(f"there is no step {step}")

    def _count_neighbours(self) -> None:
        counts = np.zeros(len(self.table), int)
        if self.labels is not None:
            pairs = touching(self.labels)
            counts = np.bincount(pairs.ravel(), minlength=len(self.table))
        self.neighbours = counts


def measured_map(edited: EditedMap) -> MeasuredMap:
    """A map as it is now, for `write_grain_map`; grains that are gone are left out.

    Raises
    ------
    SettingsError
        It is a list of point grains.
    """
    opened, before = edited.opened, edited.opened.grains
    if before is None:
        raise SettingsError("A list of point grains has no volume; write its table (.csv) instead.")
    numbers, table = edited.numbers, edited.table
    order = np.zeros(len(table) + 1, np.int32)
    order[numbers] = np.arange(1, len(numbers) + 1)
    phases = np.zeros(len(table), int)
    phases[: before.n_grains] = before.phases
    labels = order[edited.labels]
    grains = GrainMap(
        labels, before.voxel_um, edited.orientations[numbers - 1], before.center_mm,
        table["grain"][numbers - 1].astype(int), phases[numbers - 1],
        table["spread_deg"][numbers - 1].astype(float),
    )  # fmt: skip
    rotations, share = opened.rotations, opened.completeness
    if edited.steps and rotations is not None:
        own = np.concatenate([[[np.nan] * 4], matrices_to_quaternions(edited.orientations)])
        fresh = (edited.labels > before.n_grains) | ((labels > 0) & (before.labels == 0))
        rotations = np.where(labels[..., None] > 0, rotations, np.nan).astype(np.float32)
        rotations[fresh] = own[edited.labels[fresh]]
    if edited.steps and share is not None:
        share = np.where(labels > 0, np.where(share > 0, share, 1), 0).astype(np.float32)
    facts = opened.scan
    return MeasuredMap(
        grains, opened.material, facts.get("source_sample_mm"), facts.get("sample_detector_mm"),
        facts.get("tube_kv"), facts.get("n_projections"), opened.phases, share, rotations,
    )  # fmt: skip


def write_edited(path: str | Path, edited: EditedMap) -> list[Path]:
    """Write a corrected map in the format that the end of the name tells, and its table beside it.

    Raises
    ------
    OutputError
        The format is not known, or the files cannot be written.
    """
    path = Path(path).expanduser()
    rows = edited.table[edited.numbers - 1]
    if path.suffix.lower() == ".csv":
        return [write_grain_csv(path, rows)]
    made = measured_map(edited)
    if path.suffix.lower() not in (".h5", ".hdf5"):
        return write_grain_map(path, made)
    recipe = {**edited.opened.recipe, "corrections": edited.steps}
    make_folder(path.parent)

    def more(file: Any) -> None:
        own = file.create_group("napari_labdct")
        own["Grains"], own["Recipe"] = rows, json.dumps(recipe)

    write_grainmapper(
        path, made.grains, list(made.phases) or made.material,
        completeness=made.completeness, rotations=made.rotations, more=more, **edited.opened.scan,
    )  # fmt: skip
    return [path, write_grain_csv(path.with_suffix(".csv"), rows)]
