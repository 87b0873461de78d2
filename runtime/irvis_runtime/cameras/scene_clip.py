"""One camera of an invented scene, as an endless clip that costs little once it has been seen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

from numpy.typing import NDArray

from irvis_runtime.scenes.renderer import SceneRenderer
from irvis_runtime.scenes.scene import Scene

Band = Literal["infrared", "counts", "visible"]

CLIP_S = 2.0
CLIP_BYTES = 64_000_000


class SceneClip:
    """Pictures of a scene by time: its first seconds forwards, then backwards, and so on.

    A picture takes tens of milliseconds to draw; each is drawn when it is first due, and kept. The clip is
    shorter than two seconds where its pictures would need more than 64 MB.
    """

    def __init__(self, scene: Scene, band: Band, fps: float) -> None:
        self._renderer, self._lock = _renderer(scene, band == "counts")
        draw: dict[Band, Callable[[float], NDArray[Any]]] = {
            "infrared": self._renderer.infrared,
            "counts": self._renderer.infrared_counts,
            "visible": self._renderer.visible,
        }
        self._draw = draw[band]
        self._fps = fps
        first = self._drawn(0)
        self._length = max(1, min(round(CLIP_S * fps), CLIP_BYTES // first.nbytes))
        self._pictures: dict[int, NDArray[Any]] = {0: first}

    def picture(self, time_s: float) -> NDArray[Any]:
        """Returns the picture of that time: uint8 (H, W), uint16 (H, W), or uint8 (H, W, 3), blue first."""
        index = there_and_back(round(time_s * self._fps), self._length)
        if index not in self._pictures:
            self._pictures[index] = self._drawn(index)
        return self._pictures[index]

    def _drawn(self, index: int) -> NDArray[Any]:
        with self._lock:
            return self._draw(index / self._fps)


def there_and_back(count: int, length: int) -> int:
    """Returns the place after `count` steps of a walk 0, 1, ..., length - 1, length - 2, ..., 0, 1, ..."""
    if length == 1:
        return 0
    place = count % (2 * length - 2)
    return min(place, 2 * length - 2 - place)


@lru_cache(maxsize=4)
def _renderer(scene: Scene, is_raw: bool) -> tuple[SceneRenderer, threading.Lock]:
    """A renderer that both cameras of a rig share, with the lock that they draw under."""
    raw_size_hw = (scene.height_px, scene.width_px) if is_raw else None
    return SceneRenderer(scene, raw_size_hw), threading.Lock()
