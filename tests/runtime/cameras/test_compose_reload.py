"""A composer that goes on with another rig: no step in the picture but what the rig's new lines ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from irvis_runtime.cameras.compose import Composed, Composer
from irvis_runtime.fuser import Fuser
from irvis_runtime.rig import Rig

from .small_frames import HEIGHT, WIDTH, infrared, rig, visible


@pytest.fixture(scope="module")
def fuser() -> Iterator[Fuser]:
    """The shipped model on one thread."""
    with Fuser(precision="fp32", threads=1) as fuser:
        yield fuser


def composed_after_a_reload(fuser: Fuser, before: Rig, after: Rig) -> tuple[Composed, Composed]:
    """The fourth picture of a composer that goes on, and of one that takes over from its equal."""
    pictures = []
    for is_reloaded in (False, True):
        composer = Composer(fuser, before)
        for index in range(4):
            if is_reloaded and index == 3:
                successor = Composer(fuser, after)
                successor.take_over(composer)
                composer = successor
            counts_hw = 7000 + (800 + 100 * index) * np.random.default_rng(0).random((HEIGHT, WIDTH))
            composer.add_infrared(infrared(33 * index, counts_hw.astype(np.uint16)))
            frame = visible(33 * index)
            composed = composer.from_visible(replace(frame, luma_hw=frame.luma_hw // (4 - index)))
        pictures.append(composed)
    return pictures[0], pictures[1]


@pytest.mark.parametrize(
    "changed",
    [
        {"limits": {"hold_ms": 900}},
        {"thermal": {"palette": "ironbow", "spot": [0.2, 0.2], "freeze": "off"}},
        {"picture": {"corner": True}},
    ],
)
def test_a_reload_is_no_step_in_the_picture(fuser: Fuser, changed: dict[str, Any]) -> None:
    """Gain and context go on where they were; only what the rig's new lines say changes."""
    going_on, taken_over = composed_after_a_reload(fuser, rig(), rig(**changed))
    assert np.array_equal(going_on.picture.luma_hw, taken_over.picture.luma_hw)
    assert taken_over.state == "fusing"


@pytest.mark.parametrize(
    "changed", [{"thermal": {"agc": "plateau"}}, {"thermal": {"agc_s": 0.0}}, {"fusion": {"context_s": 0.0}}]
)
def test_what_a_reload_changes_in_gain_or_context_is_taken(fuser: Fuser, changed: dict[str, Any]) -> None:
    going_on, taken_over = composed_after_a_reload(fuser, rig(), rig(**changed))
    assert not np.array_equal(going_on.picture.luma_hw, taken_over.picture.luma_hw)


def test_the_common_view_is_known_at_once_after_a_reload(fuser: Fuser) -> None:
    table = {"homography": [[1, 0, 7], [0, 1, -5], [0, 0, 1]], "crop": "common"}
    before, after = Composer(fuser, rig(registration=table)), Composer(fuser, rig(registration=table))
    before.add_infrared(infrared(0))
    size_hw = before.from_visible(visible(0)).picture.luma_hw.shape
    after.take_over(before)
    assert size_hw != (HEIGHT, WIDTH)
    assert after.from_visible(visible(33)).picture.luma_hw.shape == size_hw
