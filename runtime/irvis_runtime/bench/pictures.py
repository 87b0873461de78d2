"""Pictures beside the numbers: a few pairs as each contender fused them, the worst pair among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.image import join_colour, write_picture
from irvis_runtime.pairs import OpenPair

from .file import BASELINES, TEACHER, PairRow, PictureSet

Picture = NDArray[np.uint8]

DIFFERENCE_FACTOR = 8
SPREAD = "one of a few taken evenly from the folder"


def choose_pairs(rows: Sequence[PairRow], count: int) -> list[tuple[int, str]]:
    """Picks up to `count` pairs, the one with the worst fidelity and others spread evenly: (index, why)."""
    if count <= 0:
        return []
    worst = find_worst(rows)
    chosen = {worst[0]: worst[1]} if worst else {}
    others = [index for index in range(len(rows)) if index not in chosen]
    chosen |= {others[index]: SPREAD for index in spread(count - len(chosen), len(others))}
    return sorted(chosen.items())


def spread(count: int, of: int) -> list[int]:
    """Up to `count` different indices below `of`, evenly spread, in order."""
    count = min(count, of)
    return [(2 * step + 1) * of // (2 * count) for step in range(count)]


def find_worst(rows: Sequence[PairRow]) -> tuple[int, str] | None:
    """The pair in which a student is furthest from the teacher, else from FP32; None without either."""
    for reference in (TEACHER, "fp32"):
        worst = min(_decibels(rows, reference), default=None)
        if worst is not None:
            decibels, index, name = worst
            of = "the teacher" if reference == TEACHER else "FP32"
            return index, f"the worst pair: {name} is {decibels:.1f} dB from {of}"
    return None


@dataclass(frozen=True)
class Album:
    """Where the pictures of one run go, and from where their paths count."""

    folder: Path
    beside: Path

    def write(
        self, number: int, row: PairRow, why: str, opened: OpenPair, fused: Mapping[str, Picture]
    ) -> PictureSet:
        """Writes the pictures of one pair as PNG: the two sources, each contender's and the difference.

        Fused pictures carry the visible one's colour, as `irvis fuse` writes them; the difference is of luma.
        """
        visible = opened.visible
        pictures = {"infrared": opened.infrared_hw, "visible": join_colour(visible.luma_hw, visible)}
        pictures |= {name: join_colour(picture_hw, visible) for name, picture_hw in fused.items()}
        lossy = lossiest(list(fused))
        if lossy:
            pictures["difference"] = amplified_difference(fused[lossy], fused["fp32"])
        files = {}
        for name, picture in pictures.items():
            path = self.folder / f"{number:02d}_{name}.png"
            write_picture(path, picture)
            files[name] = path.resolve().relative_to(self.beside.resolve()).as_posix()
        difference = f"{lossy} - fp32" if lossy else None
        return PictureSet(row.name, why, files, difference, DIFFERENCE_FACTOR)


def lossiest(names: Sequence[str]) -> str | None:
    """The precision whose difference to FP32 is worth showing: INT8, else FP16; None without FP32."""
    candidates = [name for name in ("int8", "int8-trt", "int8-fp16-trt", "fp16") if name in names]
    return candidates[0] if candidates and "fp32" in names else None


def amplified_difference(picture_hw: Picture, reference_hw: Picture) -> Picture:
    """128 + 8 * (picture - reference), clamped to 0..255: mid grey where the two agree."""
    difference_hw = picture_hw.astype(np.int16) - reference_hw
    amplified_hw: Picture = np.clip(128 + DIFFERENCE_FACTOR * difference_hw, 0, 255).astype(np.uint8)
    return amplified_hw


def _decibels(rows: Sequence[PairRow], reference: str) -> list[tuple[float, int, str]]:
    """(dB, pair, contender) of every student's picture that is not identical to its reference."""
    found = []
    for index, row in enumerate(rows):
        for name, score in row.scores.items():
            fidelity = score.to_teacher if reference == TEACHER else score.to_fp32
            if fidelity is not None and fidelity.psnr_db is not None and name not in BASELINES:
                found.append((fidelity.psnr_db, index, name))
    return found
