"""What the tests of all readers share: the warm process, and what they ask it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

#: Inputs a reader; `make fuzz` asks for more.
INPUTS = int(os.environ.get("LABDCT_FUZZ", "300"))

Ask = Callable[[str, int, int], list[dict]]


@contextlib.contextmanager
def warm_runner(folder: Path) -> Iterator[Ask]:
    """``ask(reader, first, last)`` gives what these inputs brought to light."""
    errors = folder / "errors.txt"
    with (
        open(errors, "w") as log,
        subprocess.Popen(
            [sys.executable, Path(__file__).with_name("runner.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)},
        ) as runner,
    ):

        def ask(reader: str, first: int, last: int) -> list[dict]:
            runner.stdin.write(f"{reader} {first} {last}\n")
            runner.stdin.flush()
            answer = runner.stdout.readline()
            assert answer, errors.read_text()[-3000:]
            told = json.loads(answer)
            assert told["inputs"] == last - first
            return told["findings"]

        yield ask
        runner.stdin.close()


def shown(findings: list[dict]) -> str:
    """Findings for a message: the first few of them."""
    return "\n".join(
        f"{f['reader']} input {f['input']}: {f['fault']}\n{f['text'][-700:]}" for f in findings[:5]
    )
