"""The tutorial's pictures, from the sample scan in a real window.

xvfb-run -s "-screen 0 1280x720x24" python scripts/docs_pictures.py [NAME...]

With names only those pictures are written.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from screenshots import Tour

from napari_labdct.io.sample import sample_folder

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"


class DocsTour(Tour):
    """Every dock once, with something in it."""

    def picture(self, name: str) -> None:
        from qtpy.QtWidgets import QApplication

        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            return
        self.rest(2.0)
        path = IMAGES / f"{name}.png"
        QApplication.primaryScreen().grabWindow(0).save(str(path))
        print(path)

    def dock(self, name: str):
        return self.viewer.window.add_plugin_dock_widget("napari-labdct", name, tabify=True)[1]

    def go(self) -> None:
        self.viewer.open_sample("napari-labdct", "demo")
        self.dock("Scan")
        self.picture("scan_dock")

        denoise = self.dock("Denoise")
        self.until(lambda: denoise.bar.button.isEnabled())
        self.until(lambda: not denoise.session.job("model").running)
        self.choose(denoise.network.scope, "Whole stack")
        self.click(denoise.bar.button)
        self.until(lambda: denoise.controller.job.state == "done")
        self.picture("denoise_dock")

        compare = self.dock("Compare")
        self.rest(6.0)
        compare.suggest()
        self.until(lambda: not compare.side_job.running)
        compare.set_view("side by side")
        self.rest(3.0)
        self.picture("compare_dock")
        self.until(lambda: compare.picker.beside and compare.grains.prediction is not None)
        self.click(compare.grains.title)
        compare.grains.choose(28)
        self.rest(3.0)
        compare.scroll.ensureWidgetVisible(compare.grains)
        self.picture("compare_grain")
        compare.grains.choose(None)
        compare.picker.set_source("truth", compare.picker.beside[0].key)
        self.click(compare.grains.title)
        compare.compare_all()
        self.until(lambda: not compare.compare_job.running)
        self.rest(1.0)
        compare.scroll.ensureWidgetVisible(compare.numbers.snr_label)
        self.picture("compare_numbers")
        compare.set_view("leave")

        spots = self.dock("Review")
        self.rest(1.0)
        spots.sources.measure()
        self.rest(8.0)
        self.picture("spots_dock")
        self.viewer.layers.clear()
        self.grains()
        self.viewer.close()
        self.rest(0.5)

    def grains(self) -> None:
        """The second sample, mapped, with a grain chosen."""
        self.viewer.open(str(sample_folder() / "grains"), plugin="napari-labdct")
        denoise = self.dock("Denoise")
        self.until(lambda: denoise.bar.button.isEnabled())
        self.choose(denoise.network.scope, "Whole stack")
        self.click(denoise.bar.button)
        self.until(lambda: denoise.controller.job.state == "done")
        grains = self.dock("Grains")
        self.click(grains.setup.section.title)
        self.choose(grains.setup.sample, "a cylinder")
        self.type(grains.setup.diameter, "90")
        self.type(grains.setup.height, "110")
        self.type(grains.setup.form.controls["voxel_um"].widget, "2.5")
        self.click(grains.setup.section.title)
        self.click(grains.bar.button)
        self.until(lambda: grains.controller.study is not None)
        grains.controller.select(20)
        self.rest(2.0)
        self.picture("grains_dock")


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CACHE_HOME"] = home
        DocsTour(sample_folder() / "demo", IMAGES, "dark", None).go()


if __name__ == "__main__":
    main()
