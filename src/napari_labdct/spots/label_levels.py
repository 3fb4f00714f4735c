"""At which part of its peak a spot ends: the training target and the truth of phantoms."""

from __future__ import annotations

# A label ends where the spot falls to the truth's part of its own peak (as a simulated scan's truth
# does, `SimulateSettings.truth_fraction`), but not below the noise: what nobody can see of a weak
# spot's foot is not asked for. Of spots hardly above the noise it keeps the core.
LABEL_LEVEL = 0.11


CORE_LEVEL = 0.4
