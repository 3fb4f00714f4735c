"""A person looks at the spots: accept, reject, correct, undo, select, export."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "review": ["ACCEPTED", "REJECTED", "Review", "ReviewedFrames", "UNDECIDED"],
        "corrections": ["GrowSettings", "edit"],
        "selection": ["where"],
        "export": ["export_stack", "export_table"],
    },
)
