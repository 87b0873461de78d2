"""Judges every pair: each contender's picture against the teacher's, against FP32's and by the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.image import join_colour, match_infrared, opencv, split_colour
from irvis_runtime.pairs import OpenPair, Pair, open_pair
from irvis_runtime.progress import Progress

from .contenders import Contenders
from .file import PairRow, PictureSet
from .pictures import Album, choose_pairs
from .quality import baselines, score_pair


@dataclass(frozen=True)
class Judge:
    """Judges the contenders' pictures, each pair at its own size or all at one.

    `size_hw`: None for each pair's own. `metrics`: keys of `metrics.METRICS`.
    """

    contenders: Contenders
    metrics: Sequence[str]
    size_hw: tuple[int, int] | None = None

    def judge(self, pairs: Sequence[Pair]) -> list[PairRow]:
        """One row a pair, baselines included."""
        rows = []
        with Progress("judging", len(pairs)) as progress:
            for pair in pairs:
                opened = open_resized(pair, self.size_hw)
                infrared_hw, visible_hw = opened.infrared_hw, opened.visible.luma_hw
                fused = self.contenders.fuse(pair.name, infrared_hw, visible_hw)
                fused |= baselines(infrared_hw, visible_hw)
                height, width = visible_hw.shape
                scores = score_pair(fused, infrared_hw, visible_hw, self.metrics)
                rows.append(PairRow(pair.name, width, height, opened.was_resized, scores))
                progress.step(pair.name)
        return rows

    def take_pictures(
        self, pairs: Sequence[Pair], rows: Sequence[PairRow], album: Album, count: int
    ) -> list[PictureSet]:
        """Writes the pictures of up to `count` pairs."""
        taken = []
        for number, (index, why) in enumerate(choose_pairs(rows, count), start=1):
            opened = open_resized(pairs[index], self.size_hw)
            fused = self.contenders.fuse(pairs[index].name, opened.infrared_hw, opened.visible.luma_hw)
            taken.append(album.write(number, rows[index], why, opened, fused))
        return taken


def open_resized(pair: Pair, size_hw: tuple[int, int] | None) -> OpenPair:
    """Both pictures at `size_hw`; None leaves them at the visible picture's size."""
    opened = open_pair(pair)
    if size_hw is None or opened.infrared_hw.shape == size_hw:
        return opened
    cv2 = opencv()
    colour: NDArray[np.uint8] = join_colour(opened.visible.luma_hw, opened.visible)
    resized = cv2.resize(colour, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_AREA)
    return OpenPair(match_infrared(opened.infrared_hw, size_hw)[0], split_colour(resized), was_resized=True)
