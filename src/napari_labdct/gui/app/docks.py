"""What the manifest offers, asked for by the docks that lead to the next one."""

from __future__ import annotations

from napari.viewer import Viewer

from .preferences import PLUGIN


def has_dock(name: str) -> bool:
    """Whether the manifest has a dock called `name`."""
    from npe2 import PluginManager

    try:
        manifest = PluginManager.instance().get_manifest(PLUGIN)
    except KeyError:
        return False
    return any(w.display_name == name for w in manifest.contributions.widgets or ())


def open_dock(viewer: Viewer, name: str) -> None:
    """Open one of this package's docks as a tab beside the others, or bring it to the front."""
    viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
