"""One bench run: speed in turn at one size, then every pair judged at its own size, then a few pictures."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from irvis_runtime import __version__
from irvis_runtime.board import read_board
from irvis_runtime.contract import load_manifest, sha256_of
from irvis_runtime.errors import ContractError
from irvis_runtime.kernels.library import kind_of_kernels
from irvis_runtime.metrics import METRICS
from irvis_runtime.pairs import Pair, find_dataset_pairs, leave_out
from irvis_runtime.targets import Engine, Targets

from .contenders import Contenders, open_contenders
from .file import (
    BENCH_SCHEMA,
    TEACHER,
    Bench,
    Contender,
    Load,
    Model,
    PairRow,
    Pairs,
    PictureSet,
    Ratio,
    Teacher,
    Timing,
)
from .judging import Judge, open_resized
from .pictures import Album, spread
from .quality import DEFAULT_METRICS, mean_metrics, summarize_fidelity
from .timing import (
    WARM_UP,
    Sample,
    TimedPair,
    judge_load,
    machine_state,
    paired_ratio,
    summarize_stages,
    time_in_turn,
)

MAX_TIMED_PAIRS = 8


@dataclass(frozen=True)
class BenchOptions:
    """What to measure."""

    model_dir: Path
    pairs: Path
    """A folder with ir/ and vis/ somewhere in it."""
    output: Path
    """The bench file; the pictures lie beside it, or below."""
    pictures: Path
    exclude: tuple[str, ...] = ()
    """Parts of pair names that are left out."""
    teacher: Path | None = None
    """As `targets.open_targets` takes it."""
    precisions: tuple[str, ...] | None = None
    """None: all that the backend runs and the model has."""
    width: int = 640
    height: int = 480
    """The size at which speed is measured."""
    repeats: int = 100
    seconds: float = 0.0
    """Time at least this long, to see whether the machine slows down as it warms up."""
    threads: int | None = None
    """CPU threads; None takes all cores that the process may use."""
    backend: str = "auto"
    judge: str | None = None
    """"native" or "timed", as in Timing.judged; None: native, but timed with TensorRT, which builds an engine
    for every size."""
    metrics: tuple[str, ...] = DEFAULT_METRICS
    picture_count: int = 4
    command: str = ""
    """What was typed, for the record."""


@dataclass(frozen=True)
class _Measured:
    """What the run itself gave."""

    date: datetime
    samples: Mapping[str, Sequence[Sample]]
    seconds: float
    load: Load
    judged: str
    rows: Sequence[PairRow]
    pictures: Sequence[PictureSet]


def run_bench(options: BenchOptions) -> Bench:
    """Measures and writes the pictures; the caller writes the file."""
    _check_metrics(options.metrics)
    pairs = leave_out(find_dataset_pairs(options.pairs), options.exclude)
    with open_contenders(
        options.model_dir, options.precisions, options.teacher, options.backend, options.threads
    ) as contenders:
        if contenders.targets is not None:
            contenders.targets.check([pair.name for pair in pairs])
        return _compose(options, contenders, pairs, _measure(options, contenders, pairs))


def _measure(options: BenchOptions, contenders: Contenders, pairs: Sequence[Pair]) -> _Measured:
    size_hw = (options.height, options.width)
    timed_pairs = [_timed_pair(pairs[index], size_hw) for index in spread(MAX_TIMED_PAIRS, len(pairs))]
    has_tensorrt = any(fuser.backend == "tensorrt" for fuser in contenders.students.values())
    judged = options.judge or ("timed" if has_tensorrt else "native")
    before, date, start_s = machine_state(), datetime.now(timezone.utc), time.monotonic()
    samples = time_in_turn(contenders.timed(), timed_pairs, options.repeats, options.seconds)
    seconds = time.monotonic() - start_s
    load = judge_load(before, machine_state(), len(os.sched_getaffinity(0)))
    judge = Judge(contenders, options.metrics, size_hw if judged == "timed" else None)
    rows = judge.judge(pairs)
    album = Album(options.pictures, options.output.parent)
    pictures = judge.take_pictures(pairs, rows, album, options.picture_count)
    return _Measured(date, samples, seconds, load, judged, rows, pictures)


def _compose(
    options: BenchOptions, contenders: Contenders, pairs: Sequence[Pair], measured: _Measured
) -> Bench:
    engines, rows, samples = contenders.engines(), measured.rows, measured.samples
    return Bench(
        schema=BENCH_SCHEMA,
        date=measured.date.isoformat(timespec="seconds").replace("+00:00", "Z"),
        command=options.command,
        irvis=__version__,
        board=read_board(),
        model=_describe_model(options.model_dir),
        teacher=_describe_teacher(contenders.targets),
        pairs_of=_describe_pairs(options.pairs, pairs),
        timing=Timing(
            width=options.width,
            height=options.height,
            judged=measured.judged,
            repeats=len(next(iter(samples.values()))),
            warm_up=WARM_UP,
            threads=options.threads or len(os.sched_getaffinity(0)),
            kernels=kind_of_kernels(),
            seconds=measured.seconds,
        ),
        load=measured.load,
        contenders=tuple(_summarize(name, engines.get(name), samples, rows) for name in rows[0].scores),
        pairs=tuple(rows),
        pictures=tuple(measured.pictures),
        not_measured=tuple(_not_measured(contenders)),
    )


def _timed_pair(pair: Pair, size_hw: tuple[int, int]) -> TimedPair:
    opened = open_resized(pair, size_hw)
    return TimedPair(pair.name, opened.infrared_hw, opened.visible.luma_hw)


def _check_metrics(names: Sequence[str]) -> None:
    for name in names:
        if name not in METRICS:
            raise ContractError(
                f"metrics: expected some of {', '.join(METRICS)}, got {name!r}; correct the list"
            )


def _summarize(
    name: str, engine: Engine | None, samples: Mapping[str, Sequence[Sample]], rows: Sequence[PairRow]
) -> Contender:
    to_teacher = {row.name: value for row in rows if (value := row.scores[name].to_teacher) is not None}
    to_fp32 = {row.name: value for row in rows if (value := row.scores[name].to_fp32) is not None}
    return Contender(
        name=name,
        engine=engine,
        latency_ms=summarize_stages(samples[name]) if name in samples else None,
        ratio_to_teacher=_ratio(name, TEACHER, samples),
        ratio_to_fp32=_ratio(name, "fp32", samples),
        to_teacher=summarize_fidelity(to_teacher) if to_teacher else None,
        to_fp32=summarize_fidelity(to_fp32) if to_fp32 else None,
        metrics=mean_metrics([row.scores[name].metrics for row in rows]),
    )


def _ratio(name: str, other: str, samples: Mapping[str, Sequence[Sample]]) -> Ratio | None:
    if name == other or name not in samples or other not in samples:
        return None
    return paired_ratio(samples[name], samples[other])


def _describe_model(model_dir: Path) -> Model:
    manifest = load_manifest(model_dir)
    files = {precision: file.sha256 for precision, file in manifest.files.items()}
    return Model(name=manifest.name, files=files, provenance=dict(manifest.provenance))


def _describe_teacher(targets: Targets | None) -> Teacher | None:
    if targets is None:
        return None
    return Teacher(kind=targets.kind, name=targets.path.name or str(targets.path))


def _describe_pairs(folder: Path, pairs: Sequence[Pair]) -> Pairs:
    digest = hashlib.sha256()
    for pair in pairs:
        row = f"{pair.name} {sha256_of(pair.infrared)} {sha256_of(pair.visible)}\n"
        # A file's name may be any bytes.
        digest.update(row.encode("utf-8", "surrogateescape"))
    return Pairs(folder=str(folder), count=len(pairs), sha256=digest.hexdigest())


def _not_measured(contenders: Contenders) -> list[str]:
    sentences = list(contenders.not_measured)
    if contenders.targets is None:
        sentences.append("likeness to the teacher and its speed: no teacher was named (--teacher)")
    elif contenders.targets.engine is None:
        sentences.append("speed of the teacher: its pictures were made beforehand")
    return [*sentences, "power and energy: irvis bench reads no power rails"]
