"""Networks learn here: crops to learn from, losses, the loop, fine-tuning.

Read `loop` first; `crops` makes what it learns from."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "loop": ["train"],
        "settings": ["SynthesisSettings", "TrainSettings"],
        "finetuning": ["fine_tune", "fine_tune_on_scan"],
        "run_folder": ["RunFolder"],
    },
)
