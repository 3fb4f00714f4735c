"""Every command may be killed before any file operation, and in the middle of any writing: run
again, it gives the same files, leaves nothing over, and does nothing twice but one frame.
"""

from __future__ import annotations

import pytest
from crash_commands import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_before_any_file_operation(name, ask, undisturbed, look, twice, tmp_path):
    whole = undisturbed(name)
    assert whole.operations > 3
    assert not [path for path in whole.files if ".tmp" in path or ".part" in path]
    # before which no file had changed since the one before is a kill that was tried already
    points = sorted({*whole.changed, whole.operations})
    runs = []
    for at in points:
        words = ask.words(name, tmp_path / str(at))
        runs.append([{"words": words, "at": at, "signal": "SIGKILL"}, {"words": words}])
    wrong = {}
    for at, (killed, again) in zip(points, ask.several(runs), strict=True):
        assert killed.status == -9, (at, killed.operations, killed.printed)
        differs = look(tmp_path / str(at), whole.files)
        if again.status or differs or twice(killed, again) > 1:
            wrong[at] = (again.status, differs, killed.done, again.done, again.printed[-300:])
    assert not wrong
