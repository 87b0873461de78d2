"""One run: reads the pictures, opens the models, measures figure by figure."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

import torch

from irvis_runtime import __version__
from irvis_runtime.bench.file import load_bench
from irvis_runtime.pairs import Pair, find_dataset_pairs, natural_key
from irvis_runtime.report.pareto import Point, find_points
from irvis_train.data import LabelledPair, teacher_identity
from irvis_train.teacher import load_teacher

from .contenders import Contender, Frame, PublishedStudent, make_smoother, open_contenders
from .fidelity import judge_likeness
from .flicker import judge_clips, judge_static
from .judged import SCHEMA, Judged, JudgedModel, Limits, Setting
from .material import list_pairs, read_clips, read_pairs, some_of
from .metrics_table import WANTED, judge_metrics, metric_names
from .moved import judge_moved
from .patch import judge_patch
from .pictures import write_pictures
from .robust import judge_robustness
from .tiles import judge_tiles

FIGURES = ("likeness", "static", "clips", "patch", "tiles", "moved", "robust", "metrics")
Result = TypeVar("Result")


@dataclass(frozen=True)
class JudgeOptions:
    """What is judged, on what, and how much of it."""

    model_dirs: tuple[Path, ...]
    teacher: Path
    val: Path
    output: Path
    clips: Path | None = None
    benchmark: Path | None = None
    fused: Path | None = None
    """<set>/<method>/<stem> of published fused pictures."""
    benches: tuple[Path, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)
    figures: tuple[str, ...] = FIGURES
    exclude: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    cache: Path = Path("runs/teacher-cache")
    threads: int | None = None
    longest_side_px: int = 800
    static_pairs: int = 6
    noise_sigma: float = 3.0
    noise_frames: int = 5
    clip_frames: int = 20
    patch_pairs: int = 20
    context_s: float | None = None
    """None: the runtime's own."""
    tile_pairs: int = 1
    robust_pairs: int = 6
    severities: tuple[float, ...] = (0.4, 0.8)
    command: str = ""


@dataclass(frozen=True)
class Material:
    """The pictures of a run."""

    pairs: list[LabelledPair]
    static: list[LabelledPair]
    patch: list[LabelledPair]
    tiles: list[LabelledPair]
    robust: list[LabelledPair]
    clips: dict[str, list[Frame]]
    sets: dict[str, list[Pair]]


class Clock:
    """Runs the figures that were asked for and keeps what each took."""

    def __init__(self, figures: Sequence[str]) -> None:
        self.figures = figures
        self.seconds: dict[str, float] = {}

    def run(self, figure: str, measure: Callable[[], dict[str, Result]]) -> dict[str, Result]:
        """What `measure` gives; empty where the figure was not asked for."""
        if figure not in self.figures:
            return {}
        start_s = time.monotonic()
        found = measure()
        self.seconds[figure] = round(time.monotonic() - start_s, 1)
        return found


def run_judge(options: JudgeOptions) -> Judged:
    """Measures everything and writes the pictures; the caller writes the files."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    teacher = load_teacher(options.teacher)
    published = PublishedStudent(teacher, options.cache)
    material = _read(options, teacher)
    with open_contenders(options.model_dirs, options.precisions, published, options.threads) as contenders:
        judged = _measure(options, contenders, material, teacher_identity(teacher))
        write_pictures(options.output, contenders, judged, material.pairs, material.clips)
    return judged


def _measure(
    options: JudgeOptions, contenders: Sequence[Contender], material: Material, teacher_sha256: str
) -> Judged:
    clock, smoothing = Clock(options.figures), options.context_s
    sigma, count = options.noise_sigma, options.noise_frames
    return Judged(
        schema=SCHEMA,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=options.command,
        irvis=__version__,
        models=tuple(
            JudgedModel(c.name, str(c.model_dir), c.engine.sha256, c.engine.backend, c.engine.versions)
            for c in contenders
            if c.engine is not None
        ),
        setting=_setting(options, material, teacher_sha256),
        limits=options.limits,
        patch=clock.run("patch", lambda: judge_patch(contenders, material.patch, smoothing)),
        static_flicker=clock.run(
            "static", lambda: judge_static(contenders, material.static, sigma, count, smoothing)
        ),
        clip_flicker=clock.run("clips", lambda: judge_clips(contenders, material.clips, smoothing)),
        likeness=clock.run("likeness", lambda: judge_likeness(contenders, material.pairs)),
        tiles=clock.run("tiles", lambda: judge_tiles(contenders, material.tiles)),
        moved=clock.run("moved", lambda: judge_moved(contenders, material.static)),
        robustness=clock.run(
            "robust", lambda: judge_robustness(contenders, material.robust, options.severities)
        ),
        metrics=clock.run("metrics", lambda: judge_metrics(contenders, material.sets, options.fused)),
        speed=_speed(options.benches),
        seconds=clock.seconds,
        not_measured=tuple(_not_measured(options)),
    )


def _read(options: JudgeOptions, teacher: torch.nn.Module) -> Material:
    pairs = read_pairs(options.val, options.exclude, teacher, options.longest_side_px, options.cache)
    by_area = sorted(pairs, key=lambda pair: pair.visible_hw.size, reverse=True)
    clips = {}
    if options.clips is not None and "clips" in options.figures:
        clips = read_clips(options.clips, options.clip_frames, options.longest_side_px)
    sets = {options.val.name: list_pairs(options.val, options.exclude)}
    if options.benchmark is not None:
        sets |= _sets_of(options.benchmark)
    return Material(
        pairs=pairs,
        static=some_of(pairs, options.static_pairs),
        patch=some_of(pairs, options.patch_pairs),
        tiles=by_area[: options.tile_pairs],
        robust=some_of(pairs, options.robust_pairs),
        clips=clips,
        sets=sets,
    )


def _sets_of(folder: Path) -> dict[str, list[Pair]]:
    """The pairs by the first folder of their names; those at the top belong to the whole."""
    sets: dict[str, list[Pair]] = {}
    for pair in find_dataset_pairs(folder):
        name = pair.name.split("/", 1)[0] if "/" in pair.name else folder.name
        sets.setdefault(name, []).append(pair)
    return dict(sorted(sets.items(), key=lambda item: natural_key(item[0])))


def _setting(options: JudgeOptions, material: Material, teacher_sha256: str) -> Setting:
    def names(pairs: Sequence[LabelledPair]) -> tuple[str, ...]:
        return tuple(pair.name for pair in pairs)

    return Setting(
        teacher=str(options.teacher),
        teacher_sha256=teacher_sha256,
        pairs=names(material.pairs),
        longest_side_px=options.longest_side_px,
        static_pairs=names(material.static),
        noise_sigma=options.noise_sigma,
        noise_frames=options.noise_frames,
        clips={name: len(frames) for name, frames in material.clips.items()},
        patch_pairs=names(material.patch),
        context_s=make_smoother(options.context_s).time_constant_s,
        tile_pairs=names(material.tiles),
        robust_pairs=names(material.robust),
        severities=options.severities,
    )


def _speed(paths: Sequence[Path]) -> tuple[Point, ...]:
    return tuple(find_points([load_bench(path) for path in paths]))


def _not_measured(options: JudgeOptions) -> list[str]:
    sentences = [f"{figure}: left out by --figures" for figure in FIGURES if figure not in options.figures]
    if options.clips is None and "clips" in options.figures:
        sentences.append("flicker on clips: no folder of clips was named (--clips)")
    if not options.benches:
        sentences.append("speed: no bench file was named (--bench)")
    if "metrics" in options.figures:
        sentences += [
            f"{name}: not among this version's metrics" for name in WANTED if name not in metric_names()
        ]
    return sentences
