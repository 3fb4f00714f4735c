"""Crops to learn from: synthetic ones, simulated scans, reviewed pairs, the paper's pairs."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "synthesis": ["make_crop"],
        "reviewed_pairs": ["ReviewedPairs"],
        "simulated_scans": ["SimulatedScans"],
        "paper_pairs": ["TrainingSet"],
    },
)
