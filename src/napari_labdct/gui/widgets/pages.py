"""Pages of which one is seen: as high as that one, where a tab widget is as high as its highest."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QTabBar, QVBoxLayout, QWidget

from .forms import tame


class Pages(QWidget):
    """A row of tabs over the page that is chosen.

    Parameters
    ----------
    name : str
        For screen readers.

    Attributes
    ----------
    turned : signal(str)
        Another page is seen.
    """

    turned = Signal(str)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.tabs = QTabBar()
        self.tabs.setExpanding(True)
        self.tabs.setDrawBase(False)
        tame(self.tabs, name, "Which of the parts below is seen")
        self.pages: list[QWidget] = []
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self._layout.addWidget(self.tabs)
        self.tabs.currentChanged.connect(self._show)

    def add(self, title: str, page: QWidget) -> None:
        """One page more; the first one is seen at first."""
        self.pages.append(page)
        self._layout.addWidget(page)
        self.tabs.addTab(title)
        self._show()

    @property
    def current(self) -> str:
        """Title of the page that is seen."""
        return self.tabs.tabText(self.tabs.currentIndex())

    def choose(self, title: str) -> None:
        """See the page of this title."""
        titles = [self.tabs.tabText(k) for k in range(self.tabs.count())]
        self.tabs.setCurrentIndex(titles.index(title))

    def _show(self, *_: object) -> None:
        for k, page in enumerate(self.pages):
            page.setVisible(k == self.tabs.currentIndex())
        self.turned.emit(self.current)
