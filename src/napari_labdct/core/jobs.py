"""What a long job is: made with settings, of a scan and of the results of earlier jobs.

`Job` is the type that everything long shares; `FrameJob` is the kind that makes its result frame by
frame into a `FrameStore`: denoising, tracking, the routine, rolling medians and background
extraction. Running a job is iterating over `Progress`; closing the iterator is cancelling, and
making the same result at the same place again is resuming. So whatever carries a job (a command, a
worker of the window, a batch of many scans) is written once. `napari_labdct.jobs.JOBS` has them by
name.
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from .errors import SettingsError
from .frame_store import FrameStore, spare_inputs
from .in_flight import several_at_once
from .parameters import Settings
from .recipes import Input, recipe

#: Axes of a stack of projections, of a volume on a grid, of one image and of a table.
FRAMES = ("omega", "row", "column")
VOLUME = ("z", "y", "x")
IMAGE = ("row", "column")
TABLE = ("spot",)

#: What results hold, so that one job knows which results of others it can read (`Job.needs`).
DENOISED = "denoised"
MASK = "mask"
MEDIAN = "median"
BACKGROUND = "background"
BACKGROUND_SET = "background set"
SPOTS = "spot table"
GRAINS = "grain map"

#: Frames as they are made, None in between; closing it cancels.
_Frames = Generator[tuple[int, np.ndarray] | None, None, None]


@dataclass(frozen=True)
class Progress:
    """One step of a long job: `done` of `total`, and the frame that was just written."""

    done: int
    total: int
    message: str = ""
    frame: int | None = None


def fill(
    store: FrameStore,
    make: Callable[[int], np.ndarray],
    frames: Iterable[int] | None = None,
    note: str = "",
    prepare: Callable[[int], Iterable[Any]] | None = None,
    remark: Callable[[int], str] | None = None,
    ahead: Callable[[list[int]], _Frames] | None = None,
) -> Iterator[Progress]:
    """Make the frames that a store still lacks, one `Progress` each.

    Parameters
    ----------
    store : FrameStore
    make : callable
        Frame of an index, as the store wants it.
    frames : iterable of int, optional
        Frames wanted; all if not given.
    note : str
        Message of the first step, which comes before anything is made.
    prepare : callable, optional
        What a frame needs first, as steps between which the job can be cancelled.
    remark : callable, optional
        A sentence on a frame that was just made, or nothing.
    ahead : callable, optional
        Makes all frames of a list, several at once, in place of `make`; see `in_flight`.

    Yields
    ------
    Progress
    """
    wanted = list(range(store.shape[0]) if frames is None else frames)
    todo = store.missing(wanted)
    done = len(wanted) - len(todo)
    yield Progress(done, len(wanted), " ".join(part for part in (store.note, note) if part))
    with contextlib.ExitStack() as stack:
        stack.callback(store.let_go)
        made = ahead(todo) if ahead else _one_by_one(todo, make, prepare)
        stack.callback(made.close)
        for frame in made:
            if frame is None:
                yield Progress(done, len(wanted))
                continue
            index, image = frame
            store.write(index, image)
            done += 1
            yield Progress(done, len(wanted), remark(index) if remark else "", frame=index)


def _one_by_one(
    todo: list[int],
    make: Callable[[int], np.ndarray],
    prepare: Callable[[int], Iterable[Any]] | None,
) -> _Frames:
    for index in todo:
        for _ in prepare(index) if prepare else ():
            yield None
        yield index, make(index)


@dataclass(frozen=True)
class Output:
    """The array that a job makes.

    Attributes
    ----------
    shape : tuple of int
        Empty where it is known only when the job has run: rows of a table, voxels of a sample that
        is looked for.
    dtype : dtype-like
    axes : tuple of str
        `FRAMES`, `VOLUME`, `IMAGE` or `TABLE`.
    orientation : int
        TIFF Orientation tag, copied from the input.
    """

    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    axes: tuple[str, ...] = FRAMES
    orientation: int = 1

    @property
    def nbytes(self) -> int:
        """Size of the whole result; 0 where it is not known yet."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize if self.shape else 0


class Job(ABC):
    """A long job: settings and inputs in, one result out.

    Attributes
    ----------
    name : str
        Of the kind of job; part of the recipe, so it stays as it is.
    settings_type : type of Settings
    needs : tuple of str
        What it reads beside the scan: contents of results, such as `DENOISED`.
    also : tuple of str
        What it reads too, if it is given.
    makes : str
        Content of its result.
    ending : str
        Of the name of its result.
    suffix : str
        What the name of a result in the cache has behind the name of the scan.
    scan : Scan
    settings : Settings
    note : str
        Empty, or what the user should know before the work begins.
    """

    name: ClassVar[str]
    settings_type: ClassVar[type[Settings]]
    needs: ClassVar[tuple[str, ...]] = ()
    also: ClassVar[tuple[str, ...]] = ()
    makes: ClassVar[str] = ""
    ending: ClassVar[str] = ".tif"
    suffix: ClassVar[str] = ""
    scan: Input
    settings: Settings
    note: str = ""

    @classmethod
    def of(cls, scan: Any, settings: Any, files: Mapping[str, Path] | None = None) -> Self:
        """The job of a scan, with the files of earlier results that it needs.

        Parameters
        ----------
        scan : Scan
        settings : Settings
            Of `settings_type`.
        files : dict of str to path, optional
            A result for every content in `needs`, and for those in `also` that are there.

        Raises
        ------
        SettingsError
            A result that is needed is not given, or is not what it should be.
        ScanError
            The scan lacks what the job must know of it.
        """
        given = {} if files is None else files
        lacking = [content for content in cls.needs if content not in given]
        if lacking:
            raise SettingsError(
                f"'{cls.name}' needs these results of the scan: {', '.join(lacking)}; make them "
                "first."
            )
        return cls._of(scan, settings, {content: Path(path) for content, path in given.items()})

    @classmethod
    def _of(cls, scan: Any, settings: Any, files: Mapping[str, Path]) -> Self:
        """As `of`, when it is known that nothing is lacking."""
        build: Callable[..., Self] = cls
        return build(scan, settings)

    @property
    @abstractmethod
    def output(self) -> Output:
        """Shape, type and axes of the result."""

    @property
    def inputs(self) -> tuple[Any, ...]:
        """Scans, stacks and files that are read; none of them is ever written to."""
        return (self.scan,)

    def recipe(self) -> dict[str, Any]:
        """What the result is made of; results of equal recipes are equal."""
        return recipe(self.name, self.settings, self.scan)

    @abstractmethod
    def make(self, path: str | Path, *, overwrite: bool = False) -> Iterator[Progress]:
        """Make the result at `path`: from the beginning, or from where it was stopped.

        A result of the same recipe that is there already is left as it is.

        Parameters
        ----------
        path : path
        overwrite : bool
            Replace a result of another recipe, or of inputs that changed, instead of refusing.

        Yields
        ------
        Progress

        Raises
        ------
        OutputError
            The file would replace an input or something else, or cannot be written.
        """

    def files(self, path: str | Path) -> list[Path]:
        """The files that the result at `path` consists of, the recipe beside it left out."""
        return [Path(path).expanduser()]


class FrameJob(Job):
    """A long job that makes its result frame by frame, in any order.

    A kind of job says what it is called, what it reads, what comes out and how one frame is made.
    Opening the result, going on with it and running are written here.
    """

    @abstractmethod
    def frame(self, index: int) -> np.ndarray:
        """One frame of the result."""

    def survey(self) -> Iterator[Progress]:
        """Learn from the whole scan what every frame needs, if anything."""
        return iter(())

    def load(self, index: int) -> Iterable[Any]:
        """What one frame needs first, in steps between which the job can be cancelled."""
        return ()

    @property
    def at_once(self) -> int:
        """How many frames may be worked on at once, each on some of the cores; usually one."""
        return 1

    def begin(self, index: int) -> Any:
        """What of a frame is done in order and never twice at once; only where `at_once` > 1."""
        return None

    def finish(self, index: int, begun: Any) -> np.ndarray:
        """The rest of a frame, from what `begin` gave; in several threads at once."""
        return self.frame(index)

    def sharing(self, parts: int) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """While frames are made in so many threads; gives what each thread begins with."""
        return contextlib.nullcontext(lambda: None)

    def remark(self, index: int) -> str:
        """What the user should know of a frame that was just made; usually nothing."""
        return ""

    def open_store(self, path: str | Path, *, overwrite: bool = False) -> FrameStore:
        """The file the result goes to: begun, or gone on with.

        Parameters
        ----------
        path : path
        overwrite : bool
            Replace a result of another recipe, or of inputs that changed, instead of refusing.

        Raises
        ------
        OutputError
            The file would replace an input or something else, or cannot be written.
        """
        spare_inputs([path], *self.inputs)
        out = self.output
        count, rows, columns = out.shape
        return FrameStore.open_or_create(
            path, (count, rows, columns), np.dtype(out.dtype), self.recipe(),
            orientation=out.orientation, overwrite=overwrite, inputs=self.inputs,
        )  # fmt: skip

    def make(self, path: str | Path, *, overwrite: bool = False) -> Iterator[Progress]:
        """As `Job.make`: the store is opened, and the frames it lacks are made."""
        store = self.open_store(path, overwrite=overwrite)
        yield from self.run(store)

    def run(self, store: FrameStore, frames: Iterable[int] | None = None) -> Iterator[Progress]:
        """Make the frames that the result still lacks, one `Progress` each.

        Parameters
        ----------
        store : FrameStore
            From `open_store`.
        frames : iterable of int, optional
            Frames wanted; all if not given.
        """
        wanted = None if frames is None else list(frames)
        if store.missing(wanted):
            yield from self.survey()
        todo = store.missing(wanted)
        parts = min(self.at_once, len(todo))
        ahead = None
        if parts > 1:

            def ahead(todo: list[int]) -> _Frames:
                with self.sharing(parts) as enter:
                    yield from several_at_once(todo, self.begin, self.finish, parts, enter)

        yield from fill(store, self.frame, wanted, self.note, self.load, self.remark, ahead)
