"""A camera's URI -> the pipeline that delivers its frames, for this platform; one function per scheme.

`v4l2://` has run with the kernel's test driver vivid in a virtual machine (tests/runtime/v4l2), never with a
real camera. `csi://`, `rtsp://` and everything for a Jetson have never run: no camera and no board were at
hand. They were written from NVIDIA's and GStreamer's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from irvis_runtime.config import nearest
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import Description, Platform
from irvis_runtime.uri import Uri, parse_uri, query_options

from .generated import Feed, TestOptions, fps_fraction, make_feed, test_launch

Role = Literal["visible", "infrared"]
OnEnd = Literal["finish", "repeat", "retry"]

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")

# The camera's thread empties it at once and the inbox keeps, and counts, only the newest; three ride out a
# busy core.
APPSINK = "appsink name=frames max-buffers=3 drop=true enable-last-sample=false"
# Each camera's own kind of luma: videoconvert (1.22) between YUV and GRAY8 copies it and calls limited full.
FORMATS: dict[Role, str] = {
    "visible": "video/x-raw,format=(string){NV12,GRAY8}",
    "infrared": "video/x-raw,format=(string){GRAY16_LE,GRAY8,NV12,I420}",
}


@dataclass(frozen=True)
class Source:
    """How one camera is opened.

    `is_paced`: frames are shown at their timestamps (a file); else the source keeps the time. `on_end`: what
    an end of stream means. `is_certain`: an error before the first frame will not go away by trying again.
    """

    uri: str
    description: Description
    is_paced: bool = False
    on_end: OnEnd = "retry"
    is_certain: bool = False
    feed: Feed | None = None


def make_source(text: str, role: Role, platform: Platform) -> Source:
    """Returns how the URI is opened; ContractError for an unknown scheme or option, or a missing file."""
    uri = parse_uri(text)
    make = SCHEMES.get(uri.scheme)
    if make is None:
        raise ContractError(f"{text}: unknown source {uri.scheme!r}; {nearest(uri.scheme, list(SCHEMES))}")
    return make(uri, role, platform)


def _test(uri: Uri, role: Role, platform: Platform) -> Source:
    """Pictures made here: irvis's own scenes, or one of GStreamer's patterns."""
    if uri.location:
        raise ContractError(
            f"{uri.text}: expected test:// or test://?key=value, got {uri.location!r} behind test://"
        )
    options = query_options(TestOptions, uri)
    launch = f"{test_launch(options, role)} ! {APPSINK} sync=false"
    feed = None if options.pattern else make_feed(options, role)
    return Source(uri.text, Description(launch), on_end="finish", is_certain=True, feed=feed)


@dataclass(frozen=True)
class FileOptions:
    """Options of file://."""

    loop: int = field(default=0, metadata={"doc": "1: begin again at the end"})
    fps: float = field(default=30.0, metadata={"doc": "frames a second of a still picture"})

    def __post_init__(self) -> None:
        """ContractError for values that mean nothing."""
        if self.loop not in (0, 1):
            raise ContractError(f"loop: expected 0 or 1, got {self.loop}")
        fps_fraction(self.fps)


def _file(uri: Uri, role: Role, platform: Platform) -> Source:
    """A video at its own speed, or a still picture for ever."""
    options = query_options(FileOptions, uri)
    path = Path(uri.location)
    if not path.is_file():
        raise ContractError(
            f"{uri.text}: expected a file, {path} is none; relative paths start where irvis is called"
        )
    still = ""
    if path.suffix.lower() in PICTURE_SUFFIXES:
        still = (
            f"videoconvert ! imagefreeze is-live=true ! {FORMATS[role]},framerate={fps_fraction(options.fps)}"
        )
    launch = f"filesrc name=source ! {_decode(role, platform, still)} sync={'false' if still else 'true'}"
    return Source(
        uri.text,
        Description(launch, {"source": {"location": str(path)}}),
        is_paced=not still,
        on_end="repeat" if options.loop else "finish",
        is_certain=True,
    )


@dataclass(frozen=True)
class V4l2Options:
    """Options of v4l2://; 0 leaves the choice to GStreamer, which takes the largest picture, however slow."""

    width: int = field(default=0, metadata={"doc": "pixels; 0: the largest that the camera has"})
    height: int = field(default=0, metadata={"doc": "pixels; 0: the largest that the camera has"})
    fps: float = field(default=0.0, metadata={"doc": "frames a second; 0: the most at that size"})
    format: Literal["auto", "mjpeg", "yuyv", "nv12", "gray8", "y16"] = field(
        default="auto", metadata={"doc": "what the camera sends; y16 is a 16-bit thermal camera"}
    )


V4L2_CAPS = {
    "mjpeg": "image/jpeg",
    "yuyv": "video/x-raw,format=YUY2",
    "nv12": "video/x-raw,format=NV12",
    "gray8": "video/x-raw,format=GRAY8",
    "y16": "video/x-raw,format=GRAY16_LE",
}


def _v4l2(uri: Uri, role: Role, platform: Platform) -> Source:
    """A USB camera; `/dev/v4l/by-id/...` keeps its name when the number changes."""
    options = query_options(V4l2Options, uri)
    if not uri.location.startswith("/"):
        raise ContractError(f"{uri.text}: expected a device such as v4l2:///dev/video0, got {uri.location!r}")
    if options.format == "y16" and role == "visible":
        raise ContractError(f"{uri.text}: format=y16 is for an infrared camera; choose mjpeg, yuyv or nv12")
    size = "".join(
        f",{key}={value}" for key, value in (("width", options.width), ("height", options.height)) if value
    )
    rate = f",framerate={fps_fraction(options.fps)}" if options.fps else ""
    caps = V4L2_CAPS.get(options.format, "video/x-raw" if size or rate else "")
    wanted = f"{caps}{size}{rate} ! " if caps else ""
    launch = f"v4l2src name=source do-timestamp=false ! {wanted}{_decode(role, platform)} sync=false"
    return Source(uri.text, Description(launch, {"source": {"device": uri.location}}))


@dataclass(frozen=True)
class CsiOptions:
    """Options of csi://."""

    width: int = field(default=1280, metadata={"doc": "pixels"})
    height: int = field(default=720, metadata={"doc": "pixels"})
    fps: float = field(default=30.0, metadata={"doc": "frames a second"})
    flip: int = field(default=0, metadata={"doc": "nvvidconv's flip-method, 0 to 7; 2 turns by 180 degrees"})


def _csi(uri: Uri, role: Role, platform: Platform) -> Source:
    """A CSI camera through Argus, on a Jetson."""
    options = query_options(CsiOptions, uri)
    if platform != "jetson":
        raise BackendError(
            f"{uri.text}: csi:// needs a Jetson (nvarguscamerasrc); use v4l2:// or rtsp:// here"
        )
    if not uri.location.isdecimal():
        raise ContractError(f"{uri.text}: expected a sensor's number as in csi://0, got {uri.location!r}")
    if not 0 <= options.flip <= 7:
        raise ContractError(f"{uri.text}: flip: expected 0 to 7, got {options.flip}")
    launch = (
        "nvarguscamerasrc name=source ! video/x-raw(memory:NVMM),format=NV12,"
        f"width={options.width},height={options.height},framerate={fps_fraction(options.fps)} ! "
        f"nvvidconv flip-method={options.flip} ! video/x-raw,format={_jetson_format(role)} ! "
        f"{APPSINK} sync=false"
    )
    return Source(uri.text, Description(launch, {"source": {"sensor-id": int(uri.location)}}))


def _rtsp(uri: Uri, role: Role, platform: Platform) -> Source:
    """A network camera; the URI's query belongs to the camera, and its password stays out of the log."""
    if not uri.location:
        raise ContractError(f"{uri.text}: expected a host as in rtsp://192.168.1.20/stream")
    launch = f"rtspsrc name=source latency=0 drop-on-latency=true ! {_decode(role, platform)} sync=false"
    shown = re.sub(r"//[^/@]*@", "//", uri.text)
    return Source(shown, Description(launch, {"source": {"location": uri.text}}))


SCHEMES: dict[str, Callable[[Uri, Role, Platform], Source]] = {
    "csi": _csi,
    "file": _file,
    "rtsp": _rtsp,
    "test": _test,
    "v4l2": _v4l2,
}


def _decode(role: Role, platform: Platform, still: str = "") -> str:
    """Whatever comes -> system memory in the role's format -> appsink."""
    decode = 'decodebin expose-all-streams=false caps="video/x-raw(ANY)"'
    if platform == "jetson" and not still:
        # The decoders give NVMM memory there, which only nvvidconv takes.
        return f"{decode} ! nvvidconv ! video/x-raw,format={_jetson_format(role)} ! {APPSINK}"
    return f"{decode} ! {still or f'videoconvert ! {FORMATS[role]}'} ! {APPSINK}"


def _jetson_format(role: Role) -> str:
    return "NV12" if role == "visible" else "GRAY8"
