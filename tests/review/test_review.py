from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_labdct.core.errors import OutputError
from napari_labdct.review.corrections import Edit, edit, erase
from napari_labdct.review.review import (
    ACCEPTED,
    REJECTED,
    UNDECIDED,
    Review,
    ReviewedFrames,
    review_path,
    reviews_of,
    training_pairs,
    with_status,
)
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.measurement import SPOT_DTYPE, FrameMeasurer

SHAPE = (3, 8, 9)


def _detections():
    stack = np.zeros(SHAPE, np.int32)
    for frame in range(3):
        stack[frame, 1:3, 1:3], stack[frame, 5:7, 5:8] = 1, 2
    return stack


DETECTIONS = _detections()

_status = st.tuples(
    st.just("status"),
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6)), min_size=1, max_size=4, unique=True),
    st.integers(0, 2),
)
_paint = st.tuples(
    st.just("paint"),
    st.integers(0, 2),
    st.lists(st.tuples(st.integers(0, 71), st.integers(0, 6)), min_size=1, max_size=9),
)
_steps = st.lists(st.one_of(_status, _paint, st.just(("undo",)), st.just(("redo",))), max_size=25)


def _do(review, step):
    if step[0] == "status":
        return review.set_status(step[1], step[2])
    if step[0] == "paint":
        labels = review.labels(step[1], DETECTIONS)
        index, ids = np.array(step[2]).T
        return review.edit(step[1], edit(labels, index, ids), labels, "paint", accept=[6])
    return review.undo() if step[0] == "undo" else review.redo()


def _state(review):
    keys = np.array([(f, i) for f in range(3) for i in range(1, 7)])
    rows = np.zeros(len(keys), SPOT_DTYPE)
    rows["frame"], rows["id"] = keys.T
    labels = [review.labels(f, DETECTIONS) for f in range(3)]
    return (
        review.status_of(rows).tobytes()
        + np.stack(labels).tobytes()
        + str(review.corrected).encode()
    )


@settings(max_examples=80, deadline=None)
@given(steps=_steps)
def test_undo_and_redo_go_through_every_state(steps):
    """A list of states and a cursor is all that an undo history may be."""
    review = Review(SHAPE)
    states, at = [_state(review)], 0
    for step in steps:
        made = _do(review, step)
        if step[0] == "undo":
            at = max(0, at - 1)
        elif step[0] == "redo":
            at = min(len(states) - 1, at + 1)
        elif made is not None:
            states[at + 1 :] = [_state(review)]
            at += 1
        assert _state(review) == states[at]
        assert bool(review.undo_name) == (at > 0)
        assert bool(review.redo_name) == (at < len(states) - 1)
    while review.undo():
        at -= 1
        assert _state(review) == states[at]
    assert at == 0
    while review.redo():
        at += 1
        assert _state(review) == states[at]


@settings(max_examples=30, deadline=None)
@given(steps=_steps, cut=st.floats(0, 1))
def test_a_crash_at_any_byte_leaves_the_steps_before_it(steps, cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("r") / "a.review.jsonl"
    review = Review(SHAPE, path)
    sizes, states = [0], [_state(review)]
    for step in steps:
        _do(review, step)
        sizes.append(path.stat().st_size if path.exists() else 0)
        states.append(_state(review))
    if not path.exists():
        return
    keep = int(cut * sizes[-1])
    os.truncate(path, keep)
    back = Review(SHAPE, path)
    expected = max(k for k, size in enumerate(sizes) if size <= keep)
    assert _state(back) == states[expected]
    back.set_status([(0, 1)], ACCEPTED)
    assert _state(Review(SHAPE, path)) == _state(back)


def test_closing_and_reopening_brings_back_the_undo_history_too(tmp_path):
    path = tmp_path / "deep" / "a.review.jsonl"
    review = Review(SHAPE, path, {"scan": "abc"})
    review.set_status([(0, 1), (2, 2)], REJECTED)
    labels = review.labels(1, DETECTIONS)
    review.edit(1, erase(labels, [1]), labels, "erase spot 1")
    back = Review(SHAPE, path)
    assert back.about == {"scan": "abc"}
    assert back.corrected == [1]
    assert back.undo_name == "erase spot 1"
    assert back.undo().name == "erase spot 1"
    assert back.undo_name == "reject 2 spots"
    assert Review(SHAPE, path).redo_name == "erase spot 1"


def test_only_touched_frames_are_kept():
    review = Review(SHAPE)
    labels = review.labels(2, DETECTIONS)
    assert review.edit(2, Edit(np.zeros(0, int), np.zeros(0, int)), labels, "nothing") is None
    review.edit(2, edit(labels, [0], 9), labels, "paint")
    assert review.corrected == [2]
    assert review.next_id(2, review.labels(2, DETECTIONS)) == 10
    review.undo()
    assert review.corrected == []
    assert review.next_id(2, review.labels(2, DETECTIONS)) == 10  # an id is never used twice


def test_the_same_status_again_is_no_step():
    review = Review(SHAPE)
    assert review.set_status([(0, 1)], UNDECIDED) is None
    assert review.set_status([(0, 1)], ACCEPTED).name == "accept 1 spot"
    assert review.set_status([(0, 1), (0, 2)], ACCEPTED).keys.tolist() == [[0, 2]]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ({"labdct_review": 99, "shape": SHAPE, "about": {}}, "newer version"),
        ({"labdct_review": 1, "shape": [9, 9, 9], "about": {}}, "another scan"),
    ],
)
def test_foreign_reviews_are_refused(tmp_path, head, words):
    path = tmp_path / "a.review.jsonl"
    path.write_text(json.dumps(head) + "\n")
    with pytest.raises(OutputError, match=words):
        Review(SHAPE, path)


def test_two_windows_do_not_spoil_each_others_review(tmp_path):
    path = tmp_path / "a.review.jsonl"
    first, second = Review(SHAPE, path), Review(SHAPE, path)
    first.set_status([(0, 1)], ACCEPTED)
    with pytest.raises(OutputError, match="another window"):
        second.set_status([(0, 2)], ACCEPTED)
    assert not second.undo_name
    (tmp_path / "file").write_text("")
    blocked = Review(SHAPE, tmp_path / "file" / "a.review.jsonl")
    with pytest.raises(OutputError, match="Cannot write"):
        blocked.set_status([(0, 1)], ACCEPTED)


def test_a_damaged_line_is_set_aside_and_said(tmp_path):
    path = tmp_path / "a.review.jsonl"
    Review(SHAPE, path).set_status([(0, 1)], ACCEPTED)
    with open(path, "ab") as file:
        file.write(b'{"do": "acc')
    back = Review(SHAPE, path)
    assert "cut off" in back.note
    assert (tmp_path / "a.review.jsonl.damaged").read_bytes() == b'{"do": "acc'
    assert not Review(SHAPE, path).note


def test_decisions_follow_the_spots_to_another_threshold():
    old_table, table = np.zeros(3, SPOT_DTYPE), np.zeros(4, SPOT_DTYPE)
    old_table["id"], old_table["row"] = [1, 2, 3], [10, 20, 30]
    table["id"], table["row"] = [1, 2, 3, 4], [5, 10.5, 28, 90]
    old, new = Review(SHAPE), Review(SHAPE)
    old.set_status([(0, 1)], ACCEPTED)
    old.set_status([(0, 2), (0, 3)], REJECTED)
    assert new.carry_over(old, old_table, table)
    assert new.status_of(table).tolist() == [0, ACCEPTED, REJECTED, 0]
    new.undo()
    assert not new.status_of(table).any()
    assert Review(SHAPE).carry_over(Review(SHAPE), old_table, table) is None


def test_reviewed_frames_keep_what_was_kept():
    review = Review(SHAPE)
    review.set_status([(0, 2)], REJECTED)
    review.set_status([(1, 1)], ACCEPTED)
    not_rejected = ReviewedFrames(DETECTIONS, review, [UNDECIDED, ACCEPTED])
    accepted = ReviewedFrames(DETECTIONS, review, [ACCEPTED])
    assert np.unique(not_rejected[0]).tolist() == [0, 1]
    assert np.unique(not_rejected[1]).tolist() == [0, 1, 2]
    assert [np.unique(accepted[i]).tolist() for i in range(3)] == [[0], [0, 1], [0]]
    table = with_status(np.zeros(2, SPOT_DTYPE), review)
    assert table["status"].tolist() == [0, 0]


def test_training_pairs_are_the_frames_somebody_looked_at():
    scan = Scan(np.full(SHAPE, 5, np.uint16))
    review = Review(SHAPE)
    review.set_status([(0, 1)], ACCEPTED)
    labels = review.labels(2, DETECTIONS)
    review.edit(2, edit(labels, [8], 7), labels, "paint", accept=[7])
    pairs = list(training_pairs(FrameMeasurer(scan, 3), DETECTIONS, review))
    assert [p[0] for p in pairs] == [0, 2]
    np.testing.assert_array_equal(pairs[0][3], DETECTIONS[0] == 1)
    np.testing.assert_array_equal(pairs[0][4], DETECTIONS[0] == 2)
    assert pairs[1][3].sum() == 1


def test_reviews_of_a_scan_are_found_again(tmp_path):
    assert reviews_of(tmp_path / "none", "abc") == []
    paths = [review_path(tmp_path, "abc", name) for name in ("one", "two")]
    for k, path in enumerate(paths):
        path.write_text("")
        os.utime(path, (k, k))
    review_path(tmp_path, "other", "one").write_text("")
    assert reviews_of(tmp_path, "abc") == paths[::-1]


def _decided(path, count):
    review = Review(SHAPE, path)
    for i in range(count):
        review.set_status([(0, i + 1)], ACCEPTED)
    return path.read_bytes().split(b"\n")


def test_a_damaged_line_costs_that_line_only(tmp_path):
    path = tmp_path / "a.review.jsonl"
    lines = _decided(path, 20)
    bad = lines[3] = lines[3].replace(b'"do"', b'"dX"')
    path.write_bytes(b"\n".join(lines))
    back = Review(SHAPE, path)
    assert np.flatnonzero(back.statuses(0)).tolist() == [i for i in range(1, 21) if i != 3]
    assert back.note == (
        "The review had 1 damaged line; 19 changes were kept, and the rest is in "
        "a.review.jsonl.damaged."
    )
    assert (tmp_path / "a.review.jsonl.damaged").read_bytes() == bad
    back.set_status([(1, 1)], REJECTED)
    again = Review(SHAPE, path)
    assert not again.note
    assert _state(again) == _state(back)


def test_a_second_damage_does_not_take_the_place_of_the_first(tmp_path):
    path = tmp_path / "a.review.jsonl"
    lines = _decided(path, 5)
    path.write_bytes(b"\n".join([*lines[:2], b"first", *lines[3:]]))
    Review(SHAPE, path)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:4], b"second", *lines[5:]]))
    assert "damaged-2" in Review(SHAPE, path).note
    assert (tmp_path / "a.review.jsonl.damaged").read_bytes() == b"first"
    assert (tmp_path / "a.review.jsonl.damaged-2").read_bytes() == b"second"


def test_an_undo_after_a_damaged_line_takes_back_what_it_took_back(tmp_path):
    """Decide on 1, 2 and 3; take 3 and 2 back.  With the line of 3 damaged, 1 stays."""
    path = tmp_path / "a.review.jsonl"
    review = Review(SHAPE, path)
    for i in (1, 2, 3):
        review.set_status([(0, i)], ACCEPTED)
    review.undo()
    review.undo()
    lines = path.read_bytes().split(b"\n")
    lines[3] = b"?"
    path.write_bytes(b"\n".join(lines))
    assert np.flatnonzero(Review(SHAPE, path).statuses(0)).tolist() == [1]


def test_a_damaged_first_line_costs_no_decision(tmp_path):
    path = tmp_path / "a.review.jsonl"
    lines = _decided(path, 3)
    path.write_bytes(b"\n".join([lines[0].replace(b"shape", b"shxpe"), *lines[1:]]))
    assert Review(SHAPE, path).statuses(0).tolist() == [0, 1, 1, 1]
    assert not Review(SHAPE, path).note


def test_packed_numbers_that_repeat_without_end_are_set_aside(tmp_path):
    """130 KB that stand for 16 million times the same spot; real ones are no such numbers."""
    import base64
    import zlib

    path = tmp_path / "a.review.jsonl"
    review = Review((4, 30, 40), path)
    review.set_status([(1, 1)], ACCEPTED)

    def packed(count: int) -> str:
        return base64.b64encode(zlib.compress(np.zeros(count, "<i4").tobytes())).decode()

    keys, codes = packed(1 << 25), packed(1 << 24)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps({"do": "x", "keys": keys, "was": codes, "now": codes}) + "\n")
    again = Review((4, 30, 40), path)
    assert again.statuses(1)[1] == ACCEPTED
    assert "1 damaged line" in again.note


def test_every_spot_of_a_large_scan_may_be_accepted_at_once(tmp_path):
    path = tmp_path / "a.review.jsonl"
    keys = np.array([(frame, spot) for frame in range(20) for spot in range(1, 20_001)], np.int32)
    Review((20, 600, 600), path).set_status(keys, ACCEPTED)
    again = Review((20, 600, 600), path)
    assert not again.note
    assert all((again.statuses(frame)[1:] == ACCEPTED).sum() == 20_000 for frame in range(20))


def test_a_correction_that_stands_there_twice_can_be_taken_back(tmp_path):
    """A line doubled by a broken copy, or whose undo was lost, has its first labels once more."""
    path = tmp_path / "a.review.jsonl"
    review = Review(SHAPE, path)
    labels = review.labels(1, DETECTIONS)
    review.edit(1, erase(labels, [1]), labels, "erase")
    head, line = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(head + line + line)
    again = Review(SHAPE, path)
    np.testing.assert_array_equal(again.labels(1, DETECTIONS), review.labels(1, DETECTIONS))
    while again.undo():
        pass
    np.testing.assert_array_equal(again.labels(1, DETECTIONS), DETECTIONS[1])
    assert again.redo()
    assert again.redo()
    np.testing.assert_array_equal(again.labels(1, DETECTIONS), review.labels(1, DETECTIONS))


DECIDES = """
import sys
from pathlib import Path
from napari_labdct.core.errors import OutputError
from napari_labdct.review.review import Review

path, first = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
review, made, told = Review((3, 8, 9), path), 0, 0
for k in range(60):
    try:
        made += review.set_status([(k % 3, first + k)], 1) is not None
    except OutputError as error:
        assert "another" in str(error), error
        told += 1
        review = Review((3, 8, 9), path)  # with the other one's decisions
print(made, told, flush=True)
"""


def test_two_processes_on_one_review_lose_nothing(tmp_path):
    """Whoever comes second is told; every decision that was taken stands in the journal."""
    path = tmp_path / "a.review.jsonl"
    Review(SHAPE, path).set_status([(0, 1)], REJECTED)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", DECIDES, str(path), str(first)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for first in (10, 1000)
    ]  # fmt: skip
    for process in both:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    waiting = Review(SHAPE, path)  # of a third one, which looks only
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    made = sum(int(out.split()[0]) for out, _ in ends)
    after = Review(SHAPE, path)
    assert after.note == ""
    decided = sum(int((after.statuses(frame) > 0).sum()) for frame in range(3))
    assert decided == 1 + made
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(OutputError, match="another window"):
        waiting.set_status([(2, 2)], ACCEPTED)
    assert waiting.statuses(2).size == 0


def test_a_review_that_another_process_writes_is_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "a.review.jsonl"
    review = Review(SHAPE, path)
    review.set_status([(0, 1)], ACCEPTED)
    monkeypatch.setattr("napari_labdct.review.review._PATIENCE_S", 0.05)
    code = (
        "import sys; from napari_labdct.core.locks import hold; hold(sys.argv[1]); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout.readline() == "held\n"
        for asked in (lambda: review.set_status([(1, 1)], ACCEPTED), lambda: Review(SHAPE, path)):
            with pytest.raises(OutputError, match="Another process is writing"):
                asked()
        other.stdin.close()
    assert review.set_status([(1, 1)], ACCEPTED)
    assert Review(SHAPE, path).statuses(1).tolist() == [0, 1]
