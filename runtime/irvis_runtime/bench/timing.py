"""How long the contenders take: in turn within one run, so that what disturbs one disturbs all."""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.board import ROOT, load_average, temperatures_c
from irvis_runtime.progress import Progress

from .file import Load, MachineState, Percentiles, Ratio

WARM_UP = 3
# Others hold the machine if they leave less than this of its cores, or keep more than this of them occupied.
FREE_SHARE, FREE_LOAD_PER_CORE = 0.9, 0.25
PROBE_S = 0.25

Sample = Mapping[str, float]
"""Stage -> milliseconds, "total" among them."""


@dataclass(frozen=True)
class TimedPair:
    """A pair at the size at which speed is measured."""

    name: str
    infrared_hw: NDArray[np.uint8]
    visible_hw: NDArray[np.uint8]


Timed = Callable[[TimedPair], Sample]


def time_in_turn(
    contenders: Mapping[str, Timed], pairs: Sequence[TimedPair], repeats: int, seconds: float = 0.0
) -> dict[str, list[Sample]]:
    """Runs every contender once in each repeat, all on the same pair, and returns their samples by name.

    The order moves on by one with each repeat, and so does the pair. Each contender first runs `WARM_UP`
    times untimed. Ends after `repeats` repeats, or after `seconds` if that is later.
    """
    names = list(contenders)
    for name in names:
        for _ in range(WARM_UP):
            contenders[name](pairs[0])
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    start_s = time.monotonic()
    with Progress("timing", repeats) as progress:
        done = 0
        while done < repeats or time.monotonic() - start_s < seconds:
            pair = pairs[done % len(pairs)]
            for turn in range(len(names)):
                name = names[(done + turn) % len(names)]
                samples[name].append(contenders[name](pair))
            done += 1
            progress.total = max(progress.total, done)
            progress.step()
    return samples


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the values lie, interpolated between neighbours as NumPy does."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def summarize_stages(samples: Sequence[Sample]) -> dict[str, Percentiles]:
    """Percentiles of each stage."""
    return {stage: _percentiles([sample[stage] for sample in samples]) for stage in samples[0]}


def paired_ratio(samples: Sequence[Sample], others: Sequence[Sample]) -> Ratio:
    """Total time divided by the other's in the same repeat."""
    ratios = [sample["total"] / other["total"] for sample, other in zip(samples, others, strict=True)]
    return Ratio(
        median=percentile(ratios, 50),
        p10=percentile(ratios, 10),
        p90=percentile(ratios, 90),
        count=len(ratios),
    )


def machine_state(root: Path = ROOT) -> MachineState:
    """How busy and how warm the machine is now, while this process does nothing else."""
    # The load average first: the probe is a load itself.
    load = load_average(root)
    return MachineState(load_average=load, cpu_share=cpu_share(), temperatures_c=temperatures_c(root))


def judge_load(before: MachineState, after: MachineState, cores: int) -> Load:
    """Whether others used the machine; the load average afterwards is this run's own and does not count."""
    was_busy = min(before.cpu_share, after.cpu_share) < FREE_SHARE
    if before.load_average is not None:
        was_busy = was_busy or before.load_average > FREE_LOAD_PER_CORE * cores
    return Load(before=before, after=after, was_busy=was_busy)


def cpu_share() -> float:
    """The part of its cores that this process gets when it asks for all of them for a moment, 0..1."""
    cores = len(os.sched_getaffinity(0))
    shares: list[float] = []
    threads = [threading.Thread(target=_occupy, args=(shares,)) for _ in range(cores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return min(1.0, sum(shares) / cores)


def _occupy(shares: list[float]) -> None:
    # hashlib lets go of the interpreter's lock for a block this large, so the threads run side by side.
    block = bytes(1 << 20)
    start_s, start_cpu_s = time.perf_counter(), time.thread_time()
    while time.perf_counter() - start_s < PROBE_S:
        hashlib.sha256(block)
    shares.append((time.thread_time() - start_cpu_s) / (time.perf_counter() - start_s))


def _percentiles(values_ms: Sequence[float]) -> Percentiles:
    p50, p90, p99 = (percentile(values_ms, percent) for percent in (50, 90, 99))
    return Percentiles(p50=p50, p90=p90, p99=p99, mean=sum(values_ms) / len(values_ms), count=len(values_ms))
