"""Reads damaged files in children that may hang, take all memory or die, and says what happened.

A warm process that a test starts once: it loads the package, then takes lines ``READER FIRST LAST``
and answers each with one line of JSON, ``{"inputs": n, "findings": [...]}``.  A child of it reads
the inputs; when one ends it, the next child goes on after that input.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "io"))  # writers of instruments' files

from readers import BROKEN, READERS, Reader

MEMORY_BYTES = 1 << 30  # over what the process takes before
SECONDS = 10.0  # of computing
WAITING_SECONDS = 300.0  # whatever else the computer does meanwhile
LONGEST_MESSAGE = 300
LONGEST_QUOTE = 80
_KILLED = {signal.SIGPROF: "time", signal.SIGALRM: "it hangs"}


def main() -> None:
    asked = {reader.name: reader for reader in (*READERS, *BROKEN)}
    _warm()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no answer
    for line in sys.stdin:
        name, first, last = line.split()
        found = run(asked[name], int(first), int(last))
        print(
            json.dumps({"inputs": int(last) - int(first), "findings": found}),
            file=answers,
            flush=True,
        )


def _warm() -> None:
    """Import what the readers need; each child would do it again and again.

    A child finds out what that is by reading sound files: threads that start here would not be
    there in the children, which would wait for them for ever.
    """
    out, into = os.pipe()
    if os.fork() == 0:
        os.close(out)
        before = set(sys.modules)
        try:
            _read_sound_files()
            names = json.dumps([n for n in sys.modules if n not in before]).encode()
        except BaseException:
            traceback.print_exc()
            os._exit(3)
        with os.fdopen(into, "wb") as file:
            file.write(names)
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as file:
        text = file.read()
    if os.wait()[1] != 0:
        raise SystemExit("a sound file cannot be read")
    for name in json.loads(text):
        if not name.startswith("__"):
            with contextlib.suppress(ImportError, KeyError, AttributeError):
                importlib.import_module(name)


def _read_sound_files() -> None:
    for reader in READERS:
        with tempfile.TemporaryDirectory() as folder:
            for path in reader.seed(Path(folder)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    reader.read(path)


def run(reader: Reader, first: int, last: int) -> list[dict]:
    """What inputs `first` to `last` brought to light."""
    findings = []
    with tempfile.TemporaryDirectory(prefix="f") as folder:
        while first < last:
            out, into = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(out)
                _child(reader, first, last, Path(folder), into)
            os.close(into)
            with os.fdopen(out) as lines:
                told = [json.loads(line) for line in lines]
            _, status = os.waitpid(child, 0)
            findings += [t for t in told if "fault" in t]
            reached = max((t["input"] for t in told), default=first)
            if status == 0 and told and told[-1].get("end"):
                break
            why = (
                _KILLED.get(os.WTERMSIG(status), f"signal {os.WTERMSIG(status)}")
                if os.WIFSIGNALED(status)
                else f"exit {os.WEXITSTATUS(status)}"
            )
            findings.append({"reader": reader.name, "input": reached, "fault": why, "text": ""})
            first = reached + 1
    return findings


def _child(reader: Reader, first: int, last: int, folder: Path, into: int) -> None:
    def tell(**what) -> None:
        os.write(into, (json.dumps(what) + "\n").encode())

    try:
        # dot-folders of the user are none of ours
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            os.environ[name] = str(folder / "home")
        place = folder / "in"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        targets = reader.seed(place)
        sound = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in range(first, last):
            tell(input=number)
            rng = random.Random(f"{reader.name} {number}")
            path = rng.choice(targets)
            _restore(place, sound)
            if number < 0:  # there is something else than a file
                path, content = targets[0], b""
                path.unlink()
                STRANGE[-number - 1](path)
            else:
                content = mutated(reader, sound[path], rng)
                path.write_bytes(content)
            fault = look(reader, path, content)
            if fault is not None:
                tell(reader=reader.name, input=number, fault=fault[0], text=fault[1][-1500:])
        tell(input=last, end=True)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(3)


def mutated(reader: Reader, content: bytes, rng: random.Random) -> bytes:
    """Another content; a mutator that stumbles over what it made itself damages bytes instead."""
    from mutations import damaged

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return reader.mutate(content, rng)
        except Exception:
            return damaged(content, rng)


#: What may stand under a name instead of a file, and nothing; input -1 is the first.
STRANGE = (
    os.mkfifo,
    lambda path: path.symlink_to("/dev/zero"),
    lambda path: path.symlink_to("/dev/null"),
    lambda path: path.symlink_to(path.name),
    lambda path: path.mkdir(),
    lambda path: path.write_bytes(b""),
    lambda path: None,
)


def _restore(place: Path, sound: dict[Path, bytes]) -> None:
    for path in sorted(place.rglob("*"), reverse=True):
        if path not in sound:
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for path, content in sound.items():
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.is_symlink():
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        path.write_bytes(content)


def look(reader: Reader, path: Path, content: bytes) -> tuple[str, str] | None:
    """What is wrong with how a reader takes a file: a kind and details; None if nothing."""
    from napari_labdct.core.errors import LabDCTError

    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAITING_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
    except LabDCTError as error:
        text = str(error)
        message = text.replace(str(path.parent) + "/", "").replace(str(path.parent), "")
        if len(message) > LONGEST_MESSAGE:
            return "long message", text
        if "\n" in message:
            return "message of several lines", text
        if _quotes(message, content):
            return "message holds the file", text
    except MemoryError:
        return "memory", traceback.format_exc()
    except BaseException:
        return "traceback", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def _quotes(message: str, content: bytes) -> bool:
    """Whether a message holds more than 80 characters in a row of the file."""
    if len(message) <= LONGEST_QUOTE:
        return False
    text = content.decode("utf-8", "replace")
    pieces = (message[k : k + LONGEST_QUOTE + 1] for k in range(len(message) - LONGEST_QUOTE))
    return any(piece in text for piece in pieces)


if __name__ == "__main__":
    main()
