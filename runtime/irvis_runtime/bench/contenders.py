"""What a bench compares: the student in each precision and its teacher, opened side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.backends.choice import BACKEND_PRECISIONS, choose_backend
from irvis_runtime.context import make_context
from irvis_runtime.contract import PRECISIONS, load_manifest
from irvis_runtime.fuser import Fuser
from irvis_runtime.targets import Engine, Targets, engine_of, open_targets

from .file import TEACHER
from .timing import Sample, Timed, TimedPair

Picture = NDArray[np.uint8]


@dataclass
class Contenders:
    """The opened engines; a context manager that frees them."""

    students: dict[str, Fuser] = field(default_factory=dict)
    """By precision."""
    targets: Targets | None = None
    not_measured: list[str] = field(default_factory=list)
    """What the model lacks."""
    opened: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Contenders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.opened.close()

    def timed(self) -> dict[str, Timed]:
        """One function per engine that fuses a pair and says how long each stage took."""
        timed = {name: _time_student(fuser) for name, fuser in self.students.items()}
        if self.targets is not None and self.targets.engine is not None:
            timed[TEACHER] = _time_teacher(self.targets)
        return timed

    def engines(self) -> dict[str, Engine]:
        """What runs each contender that computes."""
        engines = {name: engine_of(fuser) for name, fuser in self.students.items()}
        targets = self.targets
        if targets is not None and targets.engine is not None:
            engines[TEACHER] = targets.engine
        return engines

    def fuse(self, pair_name: str, infrared_hw: Picture, visible_hw: Picture) -> dict[str, Picture]:
        """The picture of every contender, the teacher's rounded to 8 bits as in a picture file."""
        pictures = {name: fuser.fuse(infrared_hw, visible_hw) for name, fuser in self.students.items()}
        if self.targets is not None:
            target_hw = self.targets.target(pair_name, infrared_hw, visible_hw)
            pictures[TEACHER] = np.rint(target_hw).astype(np.uint8)
        return pictures


def open_contenders(
    model_dir: Path,
    precisions: Sequence[str] | None = None,
    teacher: Path | None = None,
    backend: str = "auto",
    threads: int | None = None,
) -> Contenders:
    """Opens the student in each precision and the teacher.

    `precisions`: those that must be measured; None takes all that the backend runs, and `not_measured` says
    which of them the model lacks. ContractError or BackendError where one cannot be opened.
    """
    manifest, (chosen_backend, _) = load_manifest(model_dir), choose_backend(backend)
    runs = [name for name in PRECISIONS if name in BACKEND_PRECISIONS[chosen_backend]]
    contenders = Contenders(
        not_measured=[
            f"{name}: the model directory has no such file"
            for name in runs
            if precisions is None and name not in manifest.files
        ]
    )
    with ExitStack() as stack:
        if teacher is not None:
            contenders.targets = stack.enter_context(open_targets(teacher, threads))
        for name in precisions or [name for name in runs if name in manifest.files]:
            fuser = Fuser(model_dir, name, chosen_backend, threads)
            contenders.students[name] = stack.enter_context(fuser)
        # All are open: from here on the Contenders close them.
        contenders.opened = stack.pop_all()
    return contenders


def _time_student(fuser: Fuser) -> Timed:
    def run(pair: TimedPair) -> Sample:
        start = time.perf_counter_ns()
        context = make_context(pair.infrared_hw, pair.visible_hw)
        made = time.perf_counter_ns()
        fuser.fuse(pair.infrared_hw, pair.visible_hw, context)
        end = time.perf_counter_ns()
        return {"context": (made - start) / 1e6, "fuse": (end - made) / 1e6, "total": (end - start) / 1e6}

    return run


def _time_teacher(targets: Targets) -> Timed:
    def run(pair: TimedPair) -> Sample:
        start = time.perf_counter_ns()
        targets.target(pair.name, pair.infrared_hw, pair.visible_hw)
        return {"total": (time.perf_counter_ns() - start) / 1e6}

    return run
