"""Cameras that are files: `file://` videos and still pictures, `images://` folders, `raw://` frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.buffers import new_buffer, read_buffer
from irvis_runtime.errors import ContractError
from irvis_runtime.gstreamer import Description, Platform, gst
from irvis_runtime.image import luma_bt601, read_picture
from irvis_runtime.pairs import natural_key
from irvis_runtime.picture_files import PICTURE_SUFFIXES, pictures_in
from irvis_runtime.uri import Uri, query_options

from .feed import APPSRC, Feed, check_size, fps_fraction
from .source import APPSINK, FORMATS, Role, Source, decode, made_here

CACHE_BYTES = 64_000_000


@dataclass(frozen=True, kw_only=True)
class Playback:
    """Options of all that is played from files, and all of images://."""

    fps: float = field(default=30.0, metadata={"doc": "pictures a second"})
    loop: int = field(default=1, metadata={"doc": "1: begin again at the end"})

    def __post_init__(self) -> None:
        """ContractError for values that mean nothing."""
        if self.loop not in (0, 1):
            raise ContractError(f"loop: expected 0 or 1, got {self.loop}")
        fps_fraction(self.fps)


@dataclass(frozen=True, kw_only=True)
class FileOptions(Playback):
    """Options of file://."""

    fps: float = field(default=30.0, metadata={"doc": "frames a second of a still picture"})
    loop: int = field(default=0, metadata={"doc": "1: begin again at the end"})


def open_file(uri: Uri, role: Role, platform: Platform) -> Source:
    """A video at its own speed, or a still picture for ever."""
    options = query_options(FileOptions, uri)
    path = _existing_file(uri)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        # Not decoded by GStreamer, whose pngdec gives 16 bits in an order that is converted to 8.
        return _play_pictures(uri, role, [path], options.fps, is_repeated=True)
    launch = f"filesrc name=source ! {decode(role, platform)} sync=true"
    return Source(
        uri.text,
        Description(launch, {"source": {"location": str(path)}}),
        is_paced=True,
        on_end="repeat" if options.loop else "finish",
        is_certain=True,
        is_lent=platform == "generic",
    )


def open_images(uri: Uri, role: Role, platform: Platform) -> Source:
    """A folder of numbered pictures at a rate; 16-bit PNG and TIFF are an infrared camera's counts."""
    options = query_options(Playback, uri)
    folder = Path(uri.location)
    if not uri.location or not folder.is_dir():
        raise ContractError(f"{uri.text}: expected a folder of pictures, {folder} is none")
    paths = sorted(pictures_in(folder), key=lambda path: natural_key(path.name))
    if not paths:
        raise ContractError(f"{uri.text}: expected pictures (PNG, JPEG, TIFF) in {folder}, found none")
    return _play_pictures(uri, role, paths, options.fps, is_repeated=bool(options.loop))


def _play_pictures(uri: Uri, role: Role, paths: Sequence[Path], fps: float, *, is_repeated: bool) -> Source:
    album = Album(paths, role)
    height, width = album.size_hw
    caps = f"video/x-raw,format={album.format},width={width},height={height}"
    launch = f"{APPSRC} caps={caps},framerate={fps_fraction(fps)} ! "
    launch += f"videoconvert ! {FORMATS[role]} ! {APPSINK} sync=false"
    keeper = Keeper(lambda number: new_buffer([album.picture(number)]), len(paths))
    return made_here(uri, launch, Feed(keeper.buffer, fps, 0 if is_repeated else len(paths)))


class Keeper:
    """Makes the buffers of `count` pictures by number, round and round; keeps the first 64 MB, or one."""

    def __init__(self, make: Callable[[int], Any], count: int) -> None:
        self._make, self._count = make, count
        self._kept: dict[int, Any] = {}
        self._kept_bytes = 0

    def buffer(self, index: int) -> Any:
        """Returns the picture as a Gst.Buffer with times of its own; its memory is shared, and read-only."""
        number = index % self._count
        buffer = self._kept.get(number)
        if buffer is None:
            buffer = self._make(number)
            if self._kept and self._kept_bytes + buffer.get_size() > CACHE_BYTES:
                return buffer
            self._kept[number] = buffer
            self._kept_bytes += buffer.get_size()
        return buffer.copy_region(gst().BufferCopyFlags.MEMORY, 0, buffer.get_size())


class Album:
    """Reads pictures of one size and kind by number.

    `format`: GStreamer's name of what it gives, as the first picture says: GRAY8, GRAY16_LE (infrared only),
    or BGR; `size_hw`: in pixels.
    """

    def __init__(self, paths: Sequence[Path], role: Role) -> None:
        self._paths, self._role = paths, role
        first = self._read(0)
        self._shape, self._dtype = first.shape, first.dtype
        grey = "GRAY16_LE" if first.dtype == np.uint16 else "GRAY8"
        self.format = "BGR" if first.ndim == 3 else grey
        self.size_hw: tuple[int, int] = first.shape[:2]

    def picture(self, number: int) -> NDArray[Any]:
        """Returns the picture; ContractError where one is unreadable or of another size or kind."""
        picture = self._read(number)
        if (picture.shape, picture.dtype) != (self._shape, self._dtype):
            raise ContractError(
                f"{self._paths[number]}: expected {self._dtype} {self._shape} as the first picture, got "
                f"{picture.dtype} {picture.shape}; give each camera's pictures a folder of their own"
            )
        return picture

    def _read(self, number: int) -> NDArray[Any]:
        picture = read_picture(self._paths[number])
        if self._role == "infrared":
            return picture if picture.ndim == 2 else luma_bt601(picture)
        if picture.dtype == np.uint16:
            raise ContractError(
                f"{self._paths[number]}: expected 8 bits of a visible camera, got 16; convert it, or give it "
                "as the infrared camera's"
            )
        return picture


RAW_FORMATS = {"nv12": "NV12", "gray8": "GRAY8", "gray16": "GRAY16_LE"}


@dataclass(frozen=True, kw_only=True)
class RawOptions(Playback):
    """Options of raw://."""

    width: int = field(metadata={"doc": "pixels"})
    height: int = field(metadata={"doc": "pixels"})
    format: Literal["nv12", "gray8", "gray16"] = field(metadata={"doc": "gray16 is little-endian"})

    def __post_init__(self) -> None:
        """ContractError for values that mean nothing."""
        check_size(self.width, self.height)
        super().__post_init__()


def open_raw(uri: Uri, role: Role, platform: Platform) -> Source:
    """Frames as they lie in memory, one after the other, as gst-launch-1.0's filesink writes them."""
    options = query_options(RawOptions, uri)
    path = _existing_file(uri)
    if role == "visible" and options.format == "gray16":
        raise ContractError(f"{uri.text}: format=gray16 is for an infrared camera; choose nv12 or gray8")
    frames = RawFrames(path, options)
    caps = f"video/x-raw,format={RAW_FORMATS[options.format]},width={options.width},height={options.height}"
    launch = f"{APPSRC} caps={caps},framerate={fps_fraction(options.fps)} ! {APPSINK} sync=false"
    keeper = Keeper(frames.buffer, frames.count)
    feed = Feed(keeper.buffer, options.fps, 0 if options.loop else frames.count)
    return made_here(uri, launch, feed)


class RawFrames:
    """Reads frames of one size and format by number.

    Read, not mapped: a mapped file that somebody cuts ends the process (SIGBUS).
    """

    def __init__(self, path: Path, options: RawOptions) -> None:
        height, width = options.height, options.width
        row_bytes = -(-width * (2 if options.format == "gray16" else 1) // 4) * 4
        rows = height
        if options.format == "nv12":
            rows = height + height % 2 + -(-height // 2)
        self._frame_bytes = rows * row_bytes
        size = path.stat().st_size
        self.count = size // self._frame_bytes
        if not self.count or size % self._frame_bytes:
            raise ContractError(
                f"{path}: expected whole frames of {self._frame_bytes} bytes ({width}x{height} "
                f"{options.format}), got {size} bytes; correct width, height or format"
            )
        self._path, self._file = path, path.open("rb", buffering=0)

    def buffer(self, number: int) -> Any:
        """Returns the frame as a Gst.Buffer; ContractError where the file is cut or its disk fails."""
        try:
            return read_buffer(self._file.fileno(), number * self._frame_bytes, self._frame_bytes)
        except (ContractError, OSError) as error:
            raise ContractError(
                f"{self._path}: frame {number} cannot be read ({error}); check the file and its disk"
            ) from error


def _existing_file(uri: Uri) -> Path:
    path = Path(uri.location)
    if not path.is_file():
        raise ContractError(
            f"{uri.text}: expected a file, {path} is none; relative paths start where irvis is called"
        )
    return path
