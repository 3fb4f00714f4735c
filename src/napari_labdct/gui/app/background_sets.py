"""The list of background sets in the user's folder, read in a worker."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from ...background.sets import Card, read_card
from ...core.errors import LabDCTError
from . import preferences
from .job import LatestJob

if TYPE_CHECKING:
    from .session import Session


def read_cards(folder: Path) -> Generator[list[tuple[Path, Card | str]], None, None]:
    """What is in the folder of sets: a card each, or the sentence that says why not."""
    found: list[tuple[Path, Card | str]] = []
    for path in sorted(folder.glob("*.h5")):
        if path.name.endswith(".part.h5"):
            continue
        try:
            found.append((path, read_card(path)))
        except LabDCTError as error:
            found.append((path, str(error)))
    yield found


class BackgroundSets(QObject):
    """What the folder of background sets holds; the docks that use it share one in a viewer.

    Attributes
    ----------
    listed : signal(list of (Path, Card or str))
        Every set's card, or the sentence that says why it cannot be used.
    """

    listed = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._latest = LatestJob(session.job("background sets"), _list)
        self.job = self._latest.job
        self.job.delivered.connect(self.listed)

    def read(self) -> None:
        """Read the folder again."""
        self._latest.ask(preferences.backgrounds_folder())


def _list(folder: Path):
    return lambda: read_cards(folder), "List background sets"
