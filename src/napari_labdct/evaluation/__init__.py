"""How good spots are: comparisons, metrics, baselines, phantoms, figures, reports."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "comparison": ["Comparison", "Segmentation", "compare", "open_segmentation"],
        "report": ["write_report"],
    },
)
