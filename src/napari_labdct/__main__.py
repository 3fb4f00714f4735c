"""``python -m napari_labdct`` is the ``labdct`` command."""

from .cli import main

raise SystemExit(main())
