"""Lines of the log of a training, as anybody may have left them."""

from __future__ import annotations

from typing import Any

from ..core.schema import NUMBER, check, parse_json

_MOST = 2**53  # iterations
_LINE = {
    "done": int, "total": int, "loss?": NUMBER, "seconds?": NUMBER, "stage?": str, "end?": str,
    "validation?": {"f1": NUMBER, "precision?": NUMBER, "recall?": NUMBER, "loss?": NUMBER,
                    "crops?": int},
}  # fmt: skip


def log_line(text: str | bytes) -> dict[str, Any] | None:
    """The report of a line of ``log.jsonl``; None for one that is cut off or no report."""
    try:
        line = check(parse_json(text), dict)
        # a loss that was no number, and no validation, are null or empty
        check({k: v for k, v in line.items() if v not in (None, {})}, _LINE)
        return line if max(abs(line["done"]), abs(line["total"])) <= _MOST else None
    except ValueError:
        return None
