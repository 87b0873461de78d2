"""A bench file with invented numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from irvis_runtime.bench.file import (
    BENCH_SCHEMA,
    Bench,
    Contender,
    Fidelity,
    FidelitySummary,
    Load,
    MachineState,
    Model,
    PairRow,
    Pairs,
    Percentiles,
    PictureSet,
    Ratio,
    Score,
    Teacher,
    Timing,
    bench_to_json,
)
from irvis_runtime.board import Board, Jetson
from irvis_runtime.image import write_picture
from irvis_runtime.targets import Engine

EVIL = "<img src=x onerror=alert(1)>|`\"&'*_[a](javascript:b)"
DESKTOP = Board("x86_64", "Example CPU", 4, ("avx2",), False, 8000, "6.1", "3.11.2", None, {"numpy": "2.0"})
ORIN = replace(DESKTOP, cpu="Cortex-A78AE", jetson=Jetson("NVIDIA Jetson Orin Nano", "36.4.3", 0, "15W"))
# Invented: EN and SSIM, so that INT8 is ahead of both baselines in one and behind one of them in the other.
METRICS = {
    "teacher": (7.0, 1.0),
    "fp32": (6.9, 1.1),
    "int8": (6.8, 1.0),
    "average": (6.0, 1.4),
    "maximum": (6.5, 0.9),
}


def latency(total_ms: float, stages: tuple[str, ...] = ("context", "fuse")) -> dict[str, Percentiles]:
    parts = {stage: total_ms / len(stages) for stage in stages} | {"total": total_ms}
    return {stage: Percentiles(value, value * 1.1, value * 1.2, value, 200) for stage, value in parts.items()}


def likeness(mean_db: float, worst_db: float, pair: str) -> FidelitySummary:
    return FidelitySummary(mean_db, worst_db, pair, 0.9, 0.8, 40, 9, 2, 0)


def contender(name: str, pair: str) -> Contender:
    engine = Engine("onnxruntime", {"onnxruntime": "1.20"}, "0" * 64, 700_000)
    en, ssim = METRICS[name]
    times = {"teacher": latency(200.0, ()), "fp32": latency(40.0), "int8": latency(16.0)}
    to_teacher = {"fp32": 0.2, "int8": 0.08}.get(name)
    to_fp32 = {"teacher": 5.0, "int8": 0.4}.get(name)
    return Contender(
        name=name,
        engine=engine if name in times else None,
        latency_ms=times.get(name),
        ratio_to_teacher=Ratio(to_teacher, to_teacher * 0.9, to_teacher * 1.1, 200) if to_teacher else None,
        ratio_to_fp32=Ratio(to_fp32, to_fp32 * 0.9, to_fp32 * 1.1, 200) if to_fp32 else None,
        to_teacher={"fp32": likeness(26.0, 22.0, pair), "int8": likeness(25.0, 20.0, pair)}.get(name),
        to_fp32={"int8": likeness(37.0, 33.0, pair)}.get(name),
        metrics={"EN": en, "SSIM": ssim, "VIF": None},
    )


def make_bench(board: Board = DESKTOP, pair: str = "set/1", was_busy: bool = False) -> Bench:
    score = Score(Fidelity(25.0, 0.9, 30, 8), None, {"EN": 6.9, "SSIM": 1.0, "VIF": None})
    state = MachineState(0.1, 1.0, {"cpu-thermal": 50.5})
    files = {"infrared": "p/01_infrared.png", "int8": "p/01_int8.png", "difference": "p/01_difference.png"}
    return Bench(
        schema=BENCH_SCHEMA,
        date="2026-01-02T03:04:05Z",
        command=f"irvis bench --pairs '{pair}'",
        irvis="0.1.0",
        board=board,
        model=Model("irvis-x", {"fp32": "1" * 64, "int8": "2" * 64}, {"commit": "abc", "note": EVIL}),
        teacher=Teacher("onnx", "teacher.onnx"),
        pairs_of=Pairs("pairs", 2, "3" * 64),
        timing=Timing(640, 480, "native", 200, 3, 4, "compiled", 60.0),
        load=Load(state, state, was_busy),
        contenders=tuple(contender(name, pair) for name in METRICS),
        pairs=(PairRow(pair, 640, 480, False, {"fp32": score, "int8": score}),),
        pictures=(PictureSet(pair, "the worst pair", files, "int8 - fp32", 8),),
        not_measured=("power and energy: no rails",),
    )


def write_bench(folder: Path, bench: Bench, has_pictures: bool = True) -> Path:
    path = folder / "bench.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(bench_to_json(bench))
    if has_pictures:
        for pictures in bench.pictures:
            for number, name in enumerate(pictures.files.values()):
                write_picture(folder / name, np.full((60, 1000), 40 * number, np.uint8))
    return path
