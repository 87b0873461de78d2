"""GStreamer through PyGObject: what cameras and sinks share of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import BackendError
from .uri import credentials_in

Platform = Literal["jetson", "generic"]

NAMESPACES = ("Gst", "GstApp", "GstVideo")
END_OF_STREAM = "end of stream"
MAX_REASON = 200
NOT_NEGOTIATED = (
    "; it lacks the format, size or rate asked for, `v4l2-ctl --list-formats-ext` shows what a camera has"
)

INSTALL = (
    "install it with `apt-get install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav` and "
    "make the environment with `python3 -m venv --system-site-packages`"
)


@dataclass(frozen=True)
class Description:
    """A piece of a pipeline as `gst-launch-1.0` writes it, with the properties that come from outside.

    Paths, hosts and addresses are set on the elements by name and never become part of the text, so that no
    quote or exclamation mark in them changes the pipeline. `plugged`: by factory, the properties of elements
    that a decodebin makes.
    """

    launch: str
    properties: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plugged: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Authorities:
    """The value of a property: a PEM file of certificates that are trusted, instead of the system's."""

    path: Path

    def load(self) -> Any:
        """Returns the Gio.TlsDatabase; BackendError where the file holds no certificate."""
        glib, gio = import_module("gi.repository.GLib"), import_module("gi.repository.Gio")
        try:
            return gio.TlsFileDatabase.new(str(self.path.absolute()))
        except glib.GError as error:
            raise BackendError(
                f"{self.path}: expected certificates in PEM, {error.message}; name the file of who signed"
            ) from error


@lru_cache(maxsize=1)
def gst() -> ModuleType:
    """Returns the initialised module Gst; BackendError that names the packages where it is missing."""
    try:
        gi = import_module("gi")
        for name in NAMESPACES:
            gi.require_version(name, "1.0")
        # Without GstApp the methods of appsrc and appsink are unknown.
        module, *others = [import_module(f"gi.repository.{name}") for name in NAMESPACES]
    except (ImportError, ValueError) as error:
        raise BackendError(f"GStreamer's Python binding is missing ({error}); {INSTALL}") from error
    module.init(None)
    for namespace in (module, *others):
        _wrap_all(namespace)
    return module


def _wrap_all(namespace: ModuleType) -> None:
    """Has PyGObject make every wrapper of a namespace now; about 0.1 s.

    It makes each at its first use and takes no lock: two cameras' threads get a MessageType without ERROR, or
    two classes Gst.Sample of which the binding refuses one.
    """
    for name in dir(namespace):
        with suppress(AttributeError, NotImplementedError, TypeError):
            getattr(namespace, name)


@lru_cache(maxsize=1)
def gst_video() -> ModuleType:
    """Returns the module GstVideo."""
    gst()
    module: ModuleType = import_module("gi.repository.GstVideo")
    return module


def find_platform(root: Path = Path("/")) -> Platform:
    """Returns "jetson" where NVIDIA's release file lies under `root`, else "generic"."""
    return "jetson" if (root / "etc/nv_tegra_release").is_file() else "generic"


def build_pipeline(description: Description) -> Any:
    """Returns the Gst.Pipeline, not started; BackendError for a missing element or a wrong property."""
    Gst = gst()
    glib = import_module("gi.repository.GLib")
    try:
        pipeline = Gst.parse_launch(description.launch)
    except glib.GError as error:
        is_missing = error.code == int(Gst.ParseError.NO_SUCH_ELEMENT)
        raise BackendError(f"GStreamer: {error.message}{f'; {INSTALL}' if is_missing else ''}") from error
    if not isinstance(pipeline, Gst.Pipeline):
        # A launch text of one element gives that element alone.
        element, pipeline = pipeline, Gst.Pipeline()
        pipeline.add(element)
    for name, properties in description.properties.items():
        for key, value in properties.items():
            pipeline.get_by_name(name).set_property(
                key, value.load() if isinstance(value, Authorities) else value
            )
    if description.plugged:
        pipeline.connect("deep-element-added", _set_plugged, description.plugged)
    return pipeline


def _set_plugged(pipeline: Any, part: Any, element: Any, plugged: Mapping[str, Mapping[str, Any]]) -> None:
    factory = element.get_factory()
    for key, value in plugged.get(factory.get_name() if factory is not None else "", {}).items():
        # Properties come and go with NVIDIA's releases.
        if element.find_property(key) is not None:
            element.set_property(key, value)


def launch_text(description: Description) -> str:
    """Returns the pipeline as gst-launch-1.0 takes it, its properties in place; passwords are left out.

    What its language cannot say stands behind a #, where a shell reads no further.
    """
    text, remarks = description.launch, []
    for name, properties in description.properties.items():
        said = {key: value for key, value in properties.items() if not isinstance(value, Authorities)}
        remarks += [f"{key} of {value.path}" for key, value in properties.items() if key not in said]
        before, found, after = text.partition(f"name={name} ")
        text = f"{before}{found}{_assignments(said)} {after}"
    remarks += [f"{factory} {_assignments(values)}" for factory, values in description.plugged.items()]
    return f"{text} # {', '.join(remarks)}" if remarks else text


def _assignments(properties: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_quoted(value)}" for key, value in properties.items())


def _quoted(value: object) -> str:
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    scheme, separator, location = value.partition("://")
    credentials = credentials_in(location)
    user, colon, _ = credentials.partition(":")
    shown = f"{scheme}://{user}:***@{location[len(credentials) :]}" if separator and colon else value
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def start_pipeline(pipeline: Any, base_time_ns: int) -> None:
    """Sets the pipeline playing; its running time 0 is `base_time_ns` on the clock of time.monotonic_ns."""
    Gst = gst()
    pipeline.use_clock(Gst.SystemClock.obtain())
    pipeline.set_start_time(Gst.CLOCK_TIME_NONE)
    pipeline.set_base_time(base_time_ns)
    if pipeline.set_state(Gst.State.PLAYING) == Gst.StateChangeReturn.FAILURE:
        reason = stop_reason(pipeline) or "it did not start"
        stop_pipeline(pipeline)
        raise BackendError(f"GStreamer: {reason}")


def stop_pipeline(pipeline: Any) -> None:
    """Stops the pipeline and frees its devices and files."""
    Gst = gst()
    pipeline.set_state(Gst.State.NULL)
    pipeline.get_state(Gst.SECOND)


def stop_reason(pipeline: Any, timeout_ns: int = 0) -> str | None:
    """Returns why the pipeline has stopped ("end of stream" or its error's text), or None while it runs.

    Every other message is taken off the bus and dropped.
    """
    Gst = gst()
    wanted = Gst.MessageType.ERROR | Gst.MessageType.EOS
    message = pipeline.get_bus().timed_pop_filtered(timeout_ns, wanted)
    if message is None:
        return None
    if message.type == Gst.MessageType.EOS:
        return END_OF_STREAM
    return error_text(message)


def error_text(message: Any) -> str:
    """Returns an error message of the bus as one line, with the element's last remark where it has one."""
    error, debug = message.parse_error()
    text = str(error.message).rstrip(".")
    with suppress(AttributeError, IndexError):
        remark = debug.strip().splitlines()[-1].strip()
        if remark and "gst_" not in remark:
            text = f"{text} ({remark.rstrip('.')})"
    text = " ".join(text.split())
    if "not-negotiated" in text:
        text += NOT_NEGOTIATED
    # A missing decoder's text holds the whole header of the stream.
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}..."


def packed(planes: Sequence[NDArray[Any]]) -> bytes:
    """Returns a picture's planes in GStreamer's default layout: rows padded to a multiple of 4 bytes.

    Of several planes the first, luma, gets an even number of rows, as NV12's.
    """
    parts = []
    for index, plane in enumerate(planes):
        rows = plane.reshape(plane.shape[0], -1).view(np.uint8)
        odd_rows = rows.shape[0] % 2 if index == 0 and len(planes) > 1 else 0
        padding = ((0, odd_rows), (0, -rows.shape[1] % 4))
        parts.append(np.ascontiguousarray(np.pad(rows, padding) if any(map(any, padding)) else rows).data)
    # Joining views copies once; tobytes() before it would copy twice.
    return b"".join(parts)
