"""Peak memory of a benchmark's own process."""

from __future__ import annotations

from pathlib import Path


def peak_gb() -> float:
    """Peak memory of this process (Linux, else NaN); `ru_maxrss` would begin with its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e9
