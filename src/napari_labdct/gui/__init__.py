"""The napari side: one session a viewer, a layer factory, forms, a run bar, one file a dock.

Everything that imports Qt or napari lives here, and nothing here computes: docks collect
settings and hand generators from the rest of the package to a worker.

Read in this order: `session`, `layers`, `forms`, `job`, `run_bar`, `dock`; then the docks.
"""

from __future__ import annotations
