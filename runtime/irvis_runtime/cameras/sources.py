"""A camera's URI -> the pipeline that delivers its frames, for this platform; one function per scheme.

`v4l2://` has run with the kernel's test driver vivid in a virtual machine (tests/runtime/v4l2), never with a
real camera. `csi://` and everything for a Jetson have never run: no board was at hand. They were written from
NVIDIA's documentation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from irvis_runtime.config import nearest
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import Description, Platform
from irvis_runtime.uri import Uri, parse_uri, query_options, without_credentials

from .argus import Argus
from .feed import check_size, fps_fraction
from .file_sources import open_file, open_images, open_raw
from .generated import TestOptions, make_feed, test_launch
from .network_sources import open_rtsp, open_udp, rtsp_uri
from .source import APPSINK as APPSINK
from .source import FORMATS as FORMATS
from .source import JETSON_FORMAT, Maker, decode, made_here
from .source import OnEnd as OnEnd
from .source import Role as Role
from .source import Source as Source


def make_source(text: str, role: Role, platform: Platform) -> Source:
    """Returns how the URI is opened; ContractError for an unknown scheme or option, or a missing file."""
    is_rtsp = text.lower().startswith(("rtsp://", "rtsps://"))
    uri = rtsp_uri(text) if is_rtsp else parse_uri(text)
    make = SCHEMES.get(uri.scheme)
    if make is None:
        shown = without_credentials(text)
        raise ContractError(f"{shown}: unknown source {uri.scheme!r}; {nearest(uri.scheme, list(SCHEMES))}")
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
    return made_here(uri, launch, feed)


@dataclass(frozen=True)
class V4l2Options:
    """Options of v4l2://; 0 leaves the choice to GStreamer, which takes the largest picture, however slow."""

    width: int = field(default=0, metadata={"doc": "pixels; 0: the largest that the camera has"})
    height: int = field(default=0, metadata={"doc": "pixels; 0: the largest that the camera has"})
    fps: float = field(default=0.0, metadata={"doc": "frames a second; 0: the most at that size"})
    format: Literal["auto", "mjpeg", "yuyv", "nv12", "gray8", "y16", "y16-yuyv"] = field(
        default="auto",
        metadata={"doc": "what the camera sends; y16: 16-bit thermal; y16-yuyv: that, declared as YUYV"},
    )

    def __post_init__(self) -> None:
        """ContractError for sizes and rates that no camera has."""
        check_size(self.width, self.height, least=0)
        if self.fps:
            fps_fraction(self.fps)


V4L2_CAPS = {
    "mjpeg": "image/jpeg",
    "yuyv": "video/x-raw,format=YUY2",
    "nv12": "video/x-raw,format=NV12",
    "gray8": "video/x-raw,format=GRAY8",
    "y16": "video/x-raw,format=GRAY16_LE",
    "y16-yuyv": "video/x-raw,format=YUY2",
}


def _v4l2(uri: Uri, role: Role, platform: Platform) -> Source:
    """A USB camera; `/dev/v4l/by-id/...` keeps its name when the number changes."""
    options = query_options(V4l2Options, uri)
    if not uri.location.startswith("/"):
        raise ContractError(f"{uri.text}: expected a device such as v4l2:///dev/video0, got {uri.location!r}")
    is_raw = options.format in ("y16", "y16-yuyv")
    if is_raw and role == "visible":
        raise ContractError(
            f"{uri.text}: format={options.format} is for an infrared camera; choose mjpeg, yuyv or nv12"
        )
    size = "".join(
        f",{key}={value}" for key, value in (("width", options.width), ("height", options.height)) if value
    )
    rate = f",framerate={fps_fraction(options.fps)}" if options.fps else ""
    caps = V4L2_CAPS.get(options.format, "video/x-raw" if size or rate else "")
    wanted = f"{caps}{size}{rate} ! " if caps else ""
    # What the runtime takes as it is passes no converter; nvvidconv does not know counts at all.
    decoded = APPSINK if is_raw or options.format in ("nv12", "gray8") else decode(role, platform)
    launch = f"v4l2src name=source do-timestamp=false ! {wanted}{decoded} sync=false"
    description = Description(launch, {"source": {"device": uri.location}})
    return Source(uri.text, description, device=Path(uri.location))


@dataclass(frozen=True)
class CsiOptions:
    """Options of csi://."""

    width: int = field(default=1280, metadata={"doc": "pixels"})
    height: int = field(default=720, metadata={"doc": "pixels"})
    fps: float = field(default=30.0, metadata={"doc": "frames a second"})
    flip: int = field(default=0, metadata={"doc": "nvvidconv's flip-method, 0 to 7; 2 turns by 180 degrees"})

    def __post_init__(self) -> None:
        """ContractError for values that mean nothing."""
        check_size(self.width, self.height)
        fps_fraction(self.fps)
        if not 0 <= self.flip <= 7:
            raise ContractError(f"flip: expected 0 to 7, got {self.flip}")


def _csi(uri: Uri, role: Role, platform: Platform) -> Source:
    """A CSI camera through Argus, on a Jetson."""
    options = query_options(CsiOptions, uri)
    if platform != "jetson":
        raise BackendError(
            f"{uri.text}: csi:// needs a Jetson (nvarguscamerasrc); use v4l2:// or rtsp:// here"
        )
    if not uri.location.isdecimal():
        raise ContractError(f"{uri.text}: expected a sensor's number as in csi://0, got {uri.location!r}")
    launch = (
        "nvarguscamerasrc name=source ! video/x-raw(memory:NVMM),format=NV12,"
        f"width={options.width},height={options.height},framerate={fps_fraction(options.fps)} ! "
        f"nvvidconv flip-method={options.flip} ! {JETSON_FORMAT} ! "
        f"{APPSINK} sync=false"
    )
    description = Description(launch, {"source": {"sensor-id": int(uri.location)}})
    return Source(uri.text, description, revive=ARGUS.ask_for_restart)


ARGUS = Argus()
"""One for all cameras: a restart closes every one."""

SCHEMES: dict[str, Maker] = {
    "csi": _csi,
    "file": open_file,
    "images": open_images,
    "raw": open_raw,
    "rtsp": open_rtsp,
    "rtsps": open_rtsp,
    "test": _test,
    "udp": open_udp,
    "v4l2": _v4l2,
}
