"""The infrared picture laid onto the visible one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.calibration.parallax import parallax_33
from irvis_runtime.image import opencv
from irvis_runtime.kernels.library import kernels
from irvis_runtime.kernels.warp import plan_warp
from irvis_runtime.rig import RegistrationConfig

from .common_view import Window, common_view
from .frames import Frame

Size = tuple[int, int]
Warp = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


class Registration:
    """Warps infrared pictures onto the visible picture's pixels; the warp is made once for a pair of sizes.

    `homography`: 3x3, infrared pixel (x, y, 1) -> visible pixel, pixel centres at whole numbers. None
    stretches the infrared picture onto the whole visible one. `shift_33`: then moves it by visible pixels.
    Both are of pictures of `sizes`, infrared and visible, or else of the first ones that come; others are
    taken as the same view in other pixels.
    """

    def __init__(
        self,
        homography: Sequence[Sequence[float]] | None,
        shift_33: NDArray[np.float64] | None = None,
        crops: bool = False,
        sizes: tuple[Size | None, Size | None] = (None, None),
    ) -> None:
        self._homography = None if homography is None else np.array(homography, np.float64)
        self._shift_33 = shift_33
        self._crops = crops
        self._calibrated = sizes
        self._infrared_hw: Size | None = None
        self._window: tuple[Size, Size, Window] | None = None
        self._sizes: tuple[Size, Size] | None = None
        self._warp: Warp | None = None
        self._outside_hw: NDArray[np.uint8] | None = None

    @classmethod
    def of_rig(cls, config: RegistrationConfig) -> Registration:
        """Returns the registration that the rig file describes, for the distance that it names."""
        shift_33 = None
        if config.focal_px is not None and config.baseline_m is not None:
            shift_33 = parallax_33(config.focal_px, config.baseline_m, config.calibrated_m, config.distance_m)
        sizes = (_size_hw(config.infrared_size), _size_hw(config.visible_size))
        return cls(config.homography, shift_33, config.crop == "common", sizes)

    def see_infrared(self, size_hw: Size) -> None:
        """Takes the size of the infrared camera's pictures, on which the common view depends."""
        self._infrared_hw = size_hw

    def take_over(self, other: Registration) -> None:
        """Goes on with the infrared camera's size, so that the common view is known from the first frame.

        And with the sizes that a homography is of, where it is the same one and the rig does not tell them.
        """
        self._infrared_hw = other._infrared_hw
        one, two = self._homography, other._homography
        if one is two or (one is not None and two is not None and np.array_equal(one, two)):
            infrared_hw, visible_hw = self._calibrated
            self._calibrated = infrared_hw or other._calibrated[0], visible_hw or other._calibrated[1]

    def cropped(self, frame: Frame) -> Frame:
        """Returns the visible frame, or the part of it that both cameras see where the rig asks for that.

        ContractError where they see nothing together.
        """
        if not self._crops or self._infrared_hw is None:
            return frame
        size_hw = frame.luma_hw.shape[0], frame.luma_hw.shape[1]
        if self._window is None or self._window[:2] != (self._infrared_hw, size_hw):
            homography_33 = self._full_homography(self._infrared_hw, size_hw)
            window = common_view(
                _inside(*source_pixels(homography_33, self._infrared_hw, size_hw), self._infrared_hw)
            )
            self._window, self._sizes = (self._infrared_hw, size_hw, window), None
        rows, columns = self._window[2].slices
        # NV12 has a chroma row for two rows of luma, and a byte of it for each column.
        chroma = frame.chroma
        if chroma is not None:
            chroma = np.ascontiguousarray(chroma[rows.start // 2 : rows.stop // 2, columns])
        return replace(frame, luma_hw=np.ascontiguousarray(frame.luma_hw[rows, columns]), chroma=chroma)

    def warp(self, infrared_hw: NDArray[np.uint8], size_hw: Size) -> NDArray[np.uint8]:
        """Returns the infrared picture in the visible one's size; what it does not see repeats its border."""
        self._prepare((infrared_hw.shape[0], infrared_hw.shape[1]), size_hw)
        return infrared_hw if self._warp is None else self._warp(infrared_hw)

    def fill(self, warped_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the warped picture with the visible one where the infrared camera sees nothing.

        There both cameras then agree, and the fused picture is the visible one without an edge of black.
        """
        if self._outside_hw is None:
            return warped_hw
        # A tenth of np.where's time.
        filled_hw = opencv().copyTo(visible_hw, self._outside_hw, warped_hw.copy())
        return np.asarray(filled_hw)

    def _prepare(self, infrared_hw: Size, visible_hw: Size) -> None:
        if self._sizes == (infrared_hw, visible_hw):
            return
        self._sizes, self._warp, self._outside_hw = (infrared_hw, visible_hw), None, None
        full_hw, part = visible_hw, (slice(0, visible_hw[0]), slice(0, visible_hw[1]))
        if self._window is not None and visible_hw == self._window[2].size_hw:
            full_hw, part = self._window[1], self._window[2].slices
        homography = self._full_homography(infrared_hw, full_hw)
        if infrared_hw == visible_hw == full_hw and np.array_equal(homography, homography[2, 2] * np.eye(3)):
            return
        x_hw, y_hw = (positions[part] for positions in source_pixels(homography, infrared_hw, full_hw))
        inside_hw = _inside(x_hw, y_hw, infrared_hw)
        self._outside_hw = None if inside_hw.all() else (~inside_hw).astype(np.uint8)
        self._warp = _compiled(x_hw, y_hw, infrared_hw)
        if self._warp is not None:
            return
        if visible_hw == full_hw and np.array_equal(homography, stretch(infrared_hw, visible_hw)):
            self._warp = _stretching(visible_hw)
        elif not homography[2, :2].any():
            shift_33 = np.array([[1, 0, -part[1].start], [0, 1, -part[0].start], [0, 0, 1]])
            self._warp = _affine(shift_33 @ homography, visible_hw)
        else:
            self._warp = _by_maps(x_hw, y_hw, infrared_hw)

    def _full_homography(self, infrared_hw: Size, visible_hw: Size) -> NDArray[np.float64]:
        if self._homography is None and self._shift_33 is None:
            return stretch(infrared_hw, visible_hw)
        of_infrared_hw, of_visible_hw = self._calibrated[0] or infrared_hw, self._calibrated[1] or visible_hw
        self._calibrated = of_infrared_hw, of_visible_hw
        onto_33 = stretch(of_infrared_hw, of_visible_hw) if self._homography is None else self._homography
        if self._shift_33 is not None:
            onto_33 = self._shift_33 @ onto_33
        if of_infrared_hw != infrared_hw:
            onto_33 = onto_33 @ stretch(infrared_hw, of_infrared_hw)
        if of_visible_hw != visible_hw:
            onto_33 = stretch(of_visible_hw, visible_hw) @ onto_33
        return np.asarray(onto_33)


def _size_hw(size: tuple[int, int] | None) -> Size | None:
    """Width and height, as a rig has them, the other way round."""
    return None if size is None else (size[1], size[0])


def stretch(infrared_hw: Size, visible_hw: Size) -> NDArray[np.float64]:
    """Returns the homography that lays the infrared picture onto the visible one, edge on edge."""
    scale_y, scale_x = visible_hw[0] / infrared_hw[0], visible_hw[1] / infrared_hw[1]
    return np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])


def source_pixels(
    homography: NDArray[np.float64], infrared_hw: Size, visible_hw: Size
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns for each visible pixel the infrared x and y, as two (H, W); NaN behind the infrared camera.

    In front is the side on which the middle of the infrared picture lies; a homography has no sign of its
    own.
    """
    middle = np.array([(infrared_hw[1] - 1) / 2, (infrared_hw[0] - 1) / 2, 1.0])
    inverse = np.linalg.inv(homography if homography[2] @ middle > 0 else -homography)
    row_h1, column_w = np.arange(visible_hw[0], dtype=np.float64)[:, None], np.arange(visible_hw[1])
    x_hw, y_hw, depth_hw = (across * column_w + (down * row_h1 + offset) for across, down, offset in inverse)
    with np.errstate(all="ignore"):
        depth_hw[depth_hw <= 0] = np.nan
        x_hw /= depth_hw
        y_hw /= depth_hw
    return x_hw, y_hw


def _inside(x_hw: NDArray[np.float64], y_hw: NDArray[np.float64], infrared_hw: Size) -> NDArray[np.bool_]:
    """Which of the infrared positions lie on the infrared picture."""
    rows, columns = infrared_hw
    return np.asarray((x_hw >= -0.5) & (x_hw <= columns - 0.5) & (y_hw >= -0.5) & (y_hw <= rows - 0.5))


def _stretching(size_hw: Size) -> Warp:
    """The warp of `stretch`, which is what a resize does."""
    cv2 = opencv()
    return partial(cv2.resize, dsize=size_hw[::-1], interpolation=cv2.INTER_LINEAR)


def _compiled(x_hw: NDArray[np.float64], y_hw: NDArray[np.float64], infrared_hw: Size) -> Warp | None:
    """The warp by the compiled kernel; None without one, and for a homography that is too much for it."""
    compiled = kernels()
    if compiled is None:
        return None
    rows, columns = infrared_hw
    return plan_warp(compiled, _bounded(x_hw, columns), _bounded(y_hw, rows), infrared_hw)


def _affine(homography: NDArray[np.float64], size_hw: Size) -> Warp:
    """The warp of a homography without perspective, which needs no maps."""
    cv2 = opencv()
    return partial(
        cv2.warpAffine,
        M=homography[:2] / homography[2, 2],
        dsize=size_hw[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _by_maps(x_hw: NDArray[np.float64], y_hw: NDArray[np.float64], infrared_hw: Size) -> Warp:
    """The warp that takes each pixel from the position of the maps.

    Fixed-point maps take half of the memory of floats; cv2.warpPerspective and GridSample in the graph (ONNX
    Runtime) take longer.
    """
    cv2 = opencv()
    rows, columns = infrared_hw
    maps = cv2.convertMaps(_bounded(x_hw, columns), _bounded(y_hw, rows), cv2.CV_16SC2)
    return partial(
        cv2.remap,
        map1=maps[0],
        map2=maps[1],
        interpolation=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _bounded(positions_hw: NDArray[np.float64], length_px: int) -> NDArray[np.float32]:
    """Positions clamped to the picture, so that they fit cv2's 16-bit maps."""
    return np.clip(np.nan_to_num(positions_hw, nan=0.0), 0, length_px - 1).astype(np.float32)
