"""Backgrounds of real scans: extraction (paper, Appendix A) and sets of them to use again."""

from .extraction import Extraction, Steps, open_store, run
from .sets import BackgroundSet, Card, Measurement, read_card
from .steps import ExtractionSettings

__all__ = [
    "BackgroundSet",
    "Card",
    "Extraction",
    "ExtractionSettings",
    "Measurement",
    "Steps",
    "open_store",
    "read_card",
    "run",
]
