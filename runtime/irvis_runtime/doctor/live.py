"""What `irvis live` needs of a machine: GStreamer, what each source and output is made of, and cameras."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from irvis_runtime.board import gstreamer_version
from irvis_runtime.cameras.v4l2_formats import capture_formats
from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import INSTALL, find_platform, gst
from irvis_runtime.sinks.display import choose_display
from irvis_runtime.sinks.encoders import choose_encoder
from irvis_runtime.sinks.rtsp_access import rtsp_server

from .check import OK, WARNING, Check

TRIAL_SIZE_HW = (96, 128)
TRIAL_BITRATE_KBPS = 2000
NO_GSTREAMER = ("no GStreamer to ask", "needed only by `irvis live`")
BASE, GOOD, BAD = (f"gstreamer1.0-plugins-{name}" for name in ("base", "good", "bad"))
NVIDIA = "nvidia-l4t-gstreamer"
# scheme -> element -> the Debian package that brings it; encoders and displays are tried, not looked up.
SOURCES: Mapping[str, Mapping[str, str]] = {
    "v4l2": {"v4l2src": GOOD, "jpegdec": GOOD, "videoconvert": BASE},
    "rtsp": {"rtspsrc": GOOD, "rtph264depay": GOOD, "h264parse": BAD},
    "udp": {"udpsrc": GOOD, "rtpjitterbuffer": GOOD, "rtph264depay": GOOD, "tsdemux": BAD, "h264parse": BAD},
    "file": {"decodebin": BASE, "matroskademux": GOOD, "qtdemux": GOOD, "appsrc": BASE},
    "test": {"appsrc": BASE, "videotestsrc": BASE, "videoconvert": BASE},
}
JETSON_SOURCES = {"csi": {"nvarguscamerasrc": NVIDIA, "nvvidconv": NVIDIA}}
OUTPUTS: Mapping[str, Mapping[str, str]] = {
    "file": {"h264parse": BAD, "matroskamux": GOOD, "mp4mux": GOOD},
    "rtp": {"rtph264pay": GOOD, "udpsink": GOOD},
    "udp": {"mpegtsmux": BAD, "udpsink": GOOD},
    "shm": {"shmsink": BAD},
}
DECODERS = ("nvv4l2decoder", "v4l2h264dec", "avdec_h264", "openh264dec")
RAW_THERMAL = "Y16"


def live_checks(root: Path) -> list[Callable[[], Check]]:
    """Every check, in the order in which one depends on another."""
    return [
        check_gstreamer,
        lambda: check_sources(root),
        check_decoder,
        lambda: check_outputs(root),
        lambda: check_encoder(root),
        check_rtsp_server,
        check_tls,
        lambda: check_display(root),
        lambda: check_cameras(root),
    ]


def check_gstreamer() -> Check:
    """GStreamer through PyGObject, for `irvis live`."""
    version, why = gstreamer_version()
    if version is None:
        return Check(
            "GStreamer", WARNING, f"none: {why}", f"needed only by `irvis live` and videos: {INSTALL}"
        )
    return Check("GStreamer", OK, version)


def check_sources(root: Path) -> Check:
    """What cameras are read with, by scheme."""
    jetson = JETSON_SOURCES if find_platform(root) == "jetson" else {}
    return _elements("Sources", {**jetson, **SOURCES})


def check_outputs(root: Path) -> Check:
    """What pictures are sent with, by scheme."""
    return _elements("Outputs", OUTPUTS)


def _elements(name: str, schemes: Mapping[str, Mapping[str, str]]) -> Check:
    try:
        find = gst().ElementFactory.find
    except BackendError:
        return Check(name, WARNING, *NO_GSTREAMER)
    lacking, packages = [], set()
    for scheme, elements in schemes.items():
        absent = [element for element in elements if find(element) is None]
        packages |= {elements[element] for element in absent}
        lacking += [f"{scheme}:// lacks {', '.join(absent)}"] if absent else []
    if lacking:
        return Check(name, WARNING, "; ".join(lacking), f"apt-get install {' '.join(sorted(packages))}")
    return Check(name, OK, ", ".join(f"{scheme}://" for scheme in schemes))


def check_decoder() -> Check:
    """Something that decodes H.264."""
    try:
        find = gst().ElementFactory.find
    except BackendError:
        return Check("H.264 decoder", WARNING, *NO_GSTREAMER)
    found = [name for name in DECODERS if find(name) is not None]
    if not found:
        advice = "needed only for rtsp://, udp:// and videos: apt-get install gstreamer1.0-libav"
        return Check("H.264 decoder", WARNING, f"none of {', '.join(DECODERS)}", advice)
    return Check("H.264 decoder", OK, ", ".join(found))


def check_encoder(root: Path) -> Check:
    """An H.264 encoder that really encodes."""
    try:
        launch = choose_encoder(find_platform(root), TRIAL_BITRATE_KBPS, TRIAL_SIZE_HW)
    except BackendError as error:
        advice = "needed only to record or stream: apt-get install gstreamer1.0-plugins-ugly (x264)"
        return Check("H.264 encoder", WARNING, str(error), advice)
    known = ("nvv4l2h264enc", "x264enc", "openh264enc")
    return Check("H.264 encoder", OK, next((name for name in known if name in launch), launch))


def check_rtsp_server() -> Check:
    """What rtsp:// serves with as an output."""
    try:
        version = rtsp_server().__name__.rpartition(".")[2]
    except BackendError as error:
        return Check("RTSP server", WARNING, str(error), "apt-get install gir1.2-gst-rtsp-server-1.0")
    return Check("RTSP server", OK, version)


def check_tls() -> Check:
    """What rtsps:// encrypts with, as a source and as an output."""
    try:
        gst()
    except BackendError:
        return Check("TLS", WARNING, *NO_GSTREAMER)
    backend = import_module("gi.repository.Gio").TlsBackend.get_default()
    if not backend.supports_tls():
        return Check("TLS", WARNING, "none", "needed only for rtsps://: apt-get install glib-networking")
    return Check("TLS", OK, type(backend).__name__.removeprefix("GTlsBackend"))


def check_display(root: Path) -> Check:
    """A display that really opens."""
    try:
        launch = choose_display(find_platform(root))
    except BackendError as error:
        return Check("Display", WARNING, str(error), "needed only for display://")
    return Check("Display", OK, launch.rpartition("! ")[2])


def check_cameras(root: Path) -> Check:
    """Video devices: the names that stay, and what they send; Y16 is a thermal camera's raw counts."""
    cameras = list(_cameras(root))
    if not cameras:
        return Check(
            "Cameras", WARNING, "no /dev/video*", "connect one; `test://`, `file://` and `rtsp://` need none"
        )
    return Check("Cameras", OK, "; ".join(cameras))


def _cameras(root: Path) -> Iterator[str]:
    names = _names_that_stay(root)
    for device in sorted((root / "dev").glob("video[0-9]*"), key=lambda path: (len(path.name), path.name)):
        name_file = root / "sys/class/video4linux" / device.name / "name"
        name = name_file.read_text(errors="replace").strip() if name_file.is_file() else ""
        formats: Sequence[str] = ()
        with suppress(OSError):
            formats = capture_formats(device)
            if not formats:
                # A USB camera's second node, of metadata, is no camera.
                continue
        raw = " (format=y16)" if RAW_THERMAL in formats else ""
        details = [name, names.get(device.name, ""), f"{' '.join(formats)}{raw}"]
        shown = ", ".join(filter(None, details))
        yield f"/dev/{device.name}{f' ({shown})' if shown else ''}"


def _names_that_stay(root: Path) -> dict[str, str]:
    """video0 -> its link in /dev/v4l/by-id, which udev keeps over replugging."""
    folder = root / "dev/v4l/by-id"
    links = sorted(folder.glob("*")) if folder.is_dir() else []
    return {link.resolve().name: f"/dev/v4l/by-id/{link.name}" for link in links}
