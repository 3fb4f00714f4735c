"""Ctrl-C in the first moments of ``labdct``, while modules are read: a sentence, no traceback.

Nothing is done when the package is imported by anything but its own command.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from itertools import pairwise

_NAMES = ("labdct", "labdct.exe", "labdct-script.py")


def is_command() -> bool:
    """Whether this process is ``labdct`` or ``python -m napari_labdct``."""
    return ("-m", "napari_labdct") in pairwise(sys.orig_argv) or os.path.basename(
        sys.argv[0] if sys.argv else ""
    ) in _NAMES


def end(_number: int, _frame: object) -> None:
    """Nothing was begun yet, so that nothing need be brought to its end."""
    os.write(2, b"labdct: stopped; the same command begins again.\n")
    os._exit(130)


if (
    is_command()
    and threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, end)
