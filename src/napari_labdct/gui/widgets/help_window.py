"""The pages of the documentation in a window of napari: offline, for the version that runs."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from qtpy.QtCore import QUrl
from qtpy.QtGui import QColor, QDesktopServices, QPalette, QTextBlock, QTextCursor
from qtpy.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from .forms import tame

#: Where the pages begin.
START = "tutorial.md"
_PICTURE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\s*$", re.MULTILINE)


def pages_folder() -> Path:
    """The folder of the pages, in an installed package or in a checkout."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "pages"
    return installed if (installed / START).is_file() else package.parent.parent / "docs"


def page_text(name: str) -> str | None:
    """The Markdown of a page without its pictures, which are not shipped; None if there is none."""
    if name.startswith(("/", "..")):
        return None
    try:
        text = (pages_folder() / name).read_text(encoding="utf-8")
    except OSError:
        return None
    return _PICTURE.sub("", text)


def anchor(heading: str) -> str:
    """The anchor that the site gives a heading: ``## 3. Denoise`` is ``#3-denoise``."""
    kept = re.sub(r"[^\w\s-]", "", heading).strip().lower()
    return re.sub(r"[-\s]+", "-", kept)


class HelpWindow(QDialog):
    """Shows one page; links lead to others, and those to the outside into the browser.

    Parameters
    ----------
    parent : QWidget
        The window it belongs to.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("LabDCT help")
        self.resize(720, 560)
        self._visited: list[str] = []
        self.back = QPushButton("Back")
        tame(self.back, "Back", "The page before")
        self.back.clicked.connect(self._go_back)
        contents = QPushButton("First ten minutes")
        tame(contents, "First ten minutes", "The page that a newcomer reads first")
        contents.clicked.connect(lambda: self.show_page(START))
        self.note = QLabel()
        self.text = QTextBrowser()
        self.text.setOpenLinks(False)
        self.text.setAccessibleName("Help page")
        self.text.anchorClicked.connect(self._follow)
        row = QHBoxLayout()
        row.addWidget(self.back)
        row.addWidget(contents)
        row.addWidget(self.note, 1)
        layout = QVBoxLayout(self)
        layout.addLayout(row)
        layout.addWidget(self.text)

    @property
    def page(self) -> str:
        """The page that is shown, such as ``compare.md``; empty before the first."""
        return self._visited[-1] if self._visited else ""

    def show_page(self, address: str) -> None:
        """Show a page, from one of its headings on.

        Parameters
        ----------
        address : str
            As a link between pages: ``geometry.md`` or ``geometry.md#detector-mask``.
        """
        name, _, part = address.partition("#")
        text = page_text(name)
        if text is None:
            self.note.setText(f"{name} is not among the pages that come with the package.")
            return
        self.note.clear()
        if name != self.page:
            self._visited.append(name)
        self.back.setEnabled(len(self._visited) > 1)
        self._colour_links()
        self.text.setMarkdown(text)
        self.text.moveCursor(QTextCursor.MoveOperation.Start)
        if part:
            self._scroll_to(part)

    def _go_back(self) -> None:
        if len(self._visited) > 1:
            self._visited.pop()
            self.show_page(self._visited[-1])

    def _follow(self, url: QUrl) -> None:
        if url.scheme() in ("http", "https"):
            QDesktopServices.openUrl(url)
            return
        address, part = url.path(), url.fragment()
        folder = posixpath.dirname(self.page)
        name = posixpath.normpath(posixpath.join(folder, address)) if address else self.page
        self.show_page(f"{name}#{part}" if part else name)

    def _colour_links(self) -> None:
        """Links that can be read: napari's style sheet leaves them dark blue on black."""
        palette = self.text.palette()
        text = palette.color(QPalette.ColorRole.Text)
        palette.setColor(
            QPalette.ColorRole.Link, QColor("#6cb6ff" if text.lightnessF() > 0.5 else "#0a4f9e")
        )
        self.text.setPalette(palette)

    def _scroll_to(self, part: str) -> None:
        block = self.text.document().begin()
        while block.isValid():
            if block.blockFormat().headingLevel() and anchor(block.text()) == part:
                self._show_at_top(block)
                return
            block = block.next()

    def _show_at_top(self, block: QTextBlock) -> None:
        self.text.moveCursor(QTextCursor.MoveOperation.End)  # so that the block comes in from above
        self.text.setTextCursor(QTextCursor(block))


def show_help(window: QWidget, address: str) -> HelpWindow:
    """Show a page in the help window of a main window, made when it is first asked for."""
    shown = window.findChild(HelpWindow) or HelpWindow(window)
    shown.show_page(address)
    shown.show()
    shown.raise_()
    return shown
