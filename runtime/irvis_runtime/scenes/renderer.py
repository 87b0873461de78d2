"""A scene's pictures at any time: registered pairs, and what the thermal camera gives before registration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.errors import BackendError, ContractError

from .aerial import aerial_world
from .backdrop import Backdrop, backdrop
from .noise import Floats
from .road import road_world
from .scene import MIN_SIDE_PX, Scene
from .sensors import ThermalCamera, VisibleCamera
from .shot import Shot
from .stage import Stage
from .world import World

_TICKS_PER_S = 1000
_SMALLEST_TARGET_PX = 4


@dataclass(frozen=True)
class Frame:
    """A registered pair at one time."""

    time_s: float
    infrared_hw: NDArray[np.uint8]
    """White is hot; lies on the visible picture pixel by pixel."""
    visible_hw3: NDArray[np.uint8]
    """Colour, blue first."""


@dataclass(frozen=True)
class RawFrame:
    """A pair before registration: the infrared has its own size and view."""

    time_s: float
    infrared_hw: NDArray[np.uint8]
    counts_hw: NDArray[np.uint16]
    """The same picture as radiometric counts ("Y16"): hundredths of a kelvin."""
    visible_hw3: NDArray[np.uint8]
    homography_33: NDArray[np.float64]
    """From infrared pixels to visible pixels, as the rig file has it; whole numbers are pixel centres."""


@dataclass(frozen=True)
class Target:
    """Someone or something warm that the visible picture's frame holds."""

    label: str
    """"person", "car", "van" or "bus"."""
    box_px: tuple[int, int, int, int]
    """Left, top, right, bottom of what can be seen of it, in visible pixels; right and bottom are outside."""
    centre_px: tuple[float, float]
    """Mean place (x, y) of what can be seen of it."""
    area_px: float
    """How many pixels it covers."""
    distance_m: float


class SceneRenderer:
    """Renders one scene; building it takes a second or so, a frame some milliseconds.

    Equal scenes and times give equal pictures. `raw_size_hw` is the size of the thermal camera before
    registration; four fifths of the visible size if not given. BackendError where OpenCV is missing.
    """

    def __init__(self, scene: Scene, raw_size_hw: tuple[int, int] | None = None) -> None:
        _require_opencv()
        self.scene = scene
        self.size_hw = (scene.height_px, scene.width_px)
        self.raw_size_hw = raw_size_hw or (_four_fifths(scene.height_px), _four_fifths(scene.width_px))
        if min(self.raw_size_hw) < MIN_SIDE_PX:
            raise ContractError(
                f"raw infrared needs sides of {MIN_SIDE_PX} px or more, got {self.raw_size_hw}; ask for more"
            )
        world = aerial_world(scene) if scene.viewpoint == "aerial" else road_world(scene)
        still = backdrop(world)
        self._world, self._stage = world, Stage(world, still)
        self._margin_px = (world.view.width_px - scene.width_px) // 2
        self._border_px = max(2, self._margin_px // 2)
        # One stream of random numbers each: the size of one camera must not change what another sees.
        grey, thermal, raw, visible, sway, view = (
            np.random.default_rng([scene.seed, k]) for k in range(20, 26)
        )
        window_c = _grey_window_c(still, world, grey)
        lift = float(np.clip(grey.uniform(-0.3, 0.75), 0, 1))
        self._thermal = ThermalCamera(self.size_hw, window_c, lift, thermal)
        self._raw_thermal = ThermalCamera(self.raw_size_hw, window_c, lift, raw)
        self._visible = VisibleCamera(self.size_hw, world.weather.grain, visible)
        self._phases = sway.uniform(0, 2 * np.pi, 8)
        self.homography_33 = _random_homography(self.raw_size_hw, self.size_hw, view)

    def frame(self, time_s: float) -> Frame:
        """The registered pair at `time_s` seconds."""
        shot = self._shot(time_s, "vi")
        return Frame(time_s, self._registered(shot, time_s), self._developed(shot, time_s))

    def infrared(self, time_s: float) -> NDArray[np.uint8]:
        """The registered infrared picture (H, W) alone: equal to frame()'s."""
        return self._registered(self._shot(time_s, "i"), time_s)

    def visible(self, time_s: float) -> NDArray[np.uint8]:
        """The visible picture (H, W, 3), blue first, alone: equal to frame()'s."""
        return self._developed(self._shot(time_s, "v"), time_s)

    def frame_raw(self, time_s: float) -> RawFrame:
        """The pair as the cameras give it, and the homography that would register it."""
        shot = self._shot(time_s, "vi")
        measured = self._raw_measured(shot, time_s)
        grey, counts = self._raw_thermal.grey(measured), self._raw_thermal.counts(measured)
        return RawFrame(time_s, grey, counts, self._developed(shot, time_s), self.homography_33.copy())

    def infrared_counts(self, time_s: float) -> NDArray[np.uint16]:
        """The raw radiometric counts (h, w) alone: equal to frame_raw()'s."""
        return self._raw_thermal.counts(self._raw_measured(self._shot(time_s, "i"), time_s))

    def targets(self, time_s: float) -> tuple[Target, ...]:
        """People and vehicles that can be seen at `time_s`, the nearest first."""
        height, width = self.size_hw
        border, found = self._border_px, []
        shot = Shot(self._world.view, self._affine(time_s), (height + 2 * border, width + 2 * border))
        for actor in reversed(self._stage.from_afar(time_s)):
            cutout = self._stage.cutout(shot, actor.faces(time_s, self._stage.eye), actor.is_solid)
            if cutout is None:
                continue
            cover = np.zeros(shot.size_hw, np.float32)
            cover[cutout.window] = cutout.cover_hw
            cover = cover[border:-border, border:-border]
            rows, columns = np.nonzero(cover > 0.5)
            if len(rows) < _SMALLEST_TARGET_PX:
                continue
            away_m = float(np.linalg.norm(np.subtract(actor.ground(time_s)[0], self._stage.eye)))
            box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
            centre = (float(columns.mean()), float(rows.mean()))
            found.append(Target(actor.label, box, centre, float(cover.sum()), away_m))
        return tuple(found)

    def _shot(self, time_s: float, bands: str) -> Shot:
        """Both bands with a border around the picture, which the raw infrared's wider view needs."""
        height, width = self.size_hw
        size = (height + 2 * self._border_px, width + 2 * self._border_px)
        return self._stage.shot(self._affine(time_s), size, bands, time_s)

    def _registered(self, shot: Shot, time_s: float) -> NDArray[np.uint8]:
        heat = np.ascontiguousarray(self._inner(shot.heat_c_hw))
        return self._thermal.grey(self._thermal.seen(heat, _tick(time_s)))

    def _raw_measured(self, shot: Shot, time_s: float) -> Floats:
        import cv2

        shift = np.array([[1, 0, self._border_px], [0, 1, self._border_px], [0, 0, 1.0]])
        height, width = self.raw_size_hw
        heat = cv2.warpPerspective(
            np.asarray(shot.heat_c_hw), shift @ self.homography_33, (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return self._raw_thermal.seen(np.asarray(heat, np.float32), _tick(time_s))

    def _developed(self, shot: Shot, time_s: float) -> NDArray[np.uint8]:
        return self._visible.seen(np.ascontiguousarray(self._inner(shot.visible_hw3)), _tick(time_s))

    def _inner(self, image: NDArray[Any] | None) -> NDArray[Any]:
        border = self._border_px
        return np.asarray(image)[border:-border, border:-border]

    def _affine(self, time_s: float) -> NDArray[np.float64]:
        """From canvas to picture with border: a slow swing, a little zoom and roll, the mast's vibration."""
        scene, phase = self.scene, self._phases
        unit = max(scene.height_px, scene.width_px) / 640
        room = max(0.0, self._margin_px - self._border_px - 1 - 7 * unit)
        rate = self._world.drift_px_s * unit / max(room, 1e-6) if room > 0 else 0.0
        swing = room * np.array([np.sin(rate * time_s + phase[0]), np.sin(0.77 * rate * time_s + phase[1])])
        shake = 0.35 * unit * np.array([
            np.sin(2 * np.pi * 2.3 * time_s + phase[2]) + 0.6 * np.sin(2 * np.pi * 5.1 * time_s + phase[3]),
            np.sin(2 * np.pi * 3.1 * time_s + phase[4]) + 0.6 * np.sin(2 * np.pi * 6.7 * time_s + phase[5]),
        ])  # fmt: skip
        roll = 0.004 * np.sin(0.31 * time_s + phase[6])
        zoom = 1.012 + 0.012 * np.sin(0.23 * time_s + phase[7])
        turn = zoom * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        centre = np.array(self._world.view.centre_px)
        target = np.array([scene.width_px - 1, scene.height_px - 1]) / 2 + self._border_px + swing + shake
        return np.column_stack([turn, target - turn @ centre])


def _four_fifths(side_px: int) -> int:
    return max(MIN_SIDE_PX, round(0.8 * side_px))


def _require_opencv() -> None:
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise BackendError(
            "scenes are drawn with OpenCV, which is missing; run `pip install opencv-python-headless`"
        ) from error


def _tick(time_s: float) -> int:
    """The number of the noise: one for each millisecond."""
    return round(time_s * _TICKS_PER_S)


def _grey_window_c(still: Backdrop, world: World, rng: np.random.Generator) -> tuple[float, float]:
    """Which temperatures are black and white: mostly cold ground to warm bodies; some flat, some clipped."""
    solid = still.infrared_c_hw[still.depth_hw < 1000]
    low, high = (
        float(value) for value in np.percentile(solid if solid.size else still.infrared_c_hw, [1, 99.5])
    )
    bodies = [
        float(np.percentile(actor.faces(0.0, np.array(world.view.position_m)).temperature_n, 85))
        for actor in world.actors
    ]
    hot = max([high + 1.5, *bodies])
    style = rng.random()
    if style < 0.15:
        return low - 12, hot + 25
    if style < 0.35:
        return low - 0.5, high + 0.35 * (hot - high) + 0.5
    return low - 0.12 * (hot - low), hot


def _random_homography(
    raw_hw: tuple[int, int], size_hw: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float64]:
    """From raw infrared to visible pixels: another size, a slightly wider view, a little turn and tilt."""
    size, raw = np.array(size_hw[::-1], np.float64), np.array(raw_hw[::-1], np.float64)
    scale = float(rng.uniform(1.035, 1.055)) * size / raw
    roll = float(rng.uniform(-0.008, 0.008))
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]) * scale
    shift = (size - 1) / 2 + rng.uniform(-0.006, 0.006, 2) * size - turn @ ((raw - 1) / 2)
    tilt = rng.uniform(-0.008, 0.008, 2) / raw
    homography = np.eye(3)
    homography[:2, :2], homography[:2, 2], homography[2, :2] = turn, shift, tilt
    return np.asarray(homography / homography[2, 2])
