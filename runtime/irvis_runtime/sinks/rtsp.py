"""rtsp:// and rtsps://: a server that players connect to, of this machine alone where the rig says no more.

It encodes while somebody watches, once for all of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import Platform, gst
from irvis_runtime.rig import OutputConfig
from irvis_runtime.uri import Uri

from .encoders import Encoding
from .network import host_and_port, payloader
from .outlet import Sink
from .picture import Picture, caps_text, even_size, nv12_buffer
from .pipeline import LIVE_PICTURES, TRIAL_SIZE_HW
from .rtsp_access import Access, is_loopback, read_access, rtsp_server

LOCALHOST = "127.0.0.1"
MAX_SESSIONS = 16
"""Clients at a time; one that vanishes without a word counts for a minute more."""
CLEAN_S = 1.0


@dataclass(frozen=True)
class RtspSink:
    """An address, a path (`/name`), and what is sent there."""

    uri: str
    host: str
    port: int
    path: str
    encoding: Encoding
    tail: str
    access: Access
    stall_s: float
    waiting_pictures: int = LIVE_PICTURES

    def check(self, platform: Platform) -> None:
        """BackendError where the server or an encoder is missing, or the certificate is none."""
        rtsp_server()
        self.access.certificate()
        self.encoding.choose(platform, TRIAL_SIZE_HW)

    def open(self, platform: Platform, picture: Picture) -> RtspOutlet:
        """Begins to listen."""
        return RtspOutlet(self, self.encoding.choose(platform, even_size(picture)), picture)


class RtspOutlet:
    """A server with one stream; its callbacks run in the server's threads."""

    def __init__(self, sink: RtspSink, encoder: str, picture: Picture) -> None:
        rtsp, glib = rtsp_server(), import_module("gi.repository.GLib")
        self._rtsp, self._path = rtsp, sink.path
        self._caps = caps_text(picture)
        self._appsrc: Any = None
        self._is_playing = False
        self._cleaned_s = time.monotonic()
        factory = rtsp.RTSPMediaFactory()
        source = "appsrc name=pictures is-live=true format=time do-timestamp=true block=false"
        factory.set_launch(f"( {source} ! {encoder} ! {sink.tail} )")
        factory.set_shared(True)
        factory.connect("media-configure", self._on_media)
        self._server = rtsp.RTSPServer()
        self._server.set_address(sink.host)
        self._server.set_service(str(sink.port))
        self._server.get_session_pool().set_max_sessions(MAX_SESSIONS)
        sink.access.guard(self._server, factory)
        self._server.get_mount_points().add_factory(sink.path, factory)
        self._context = glib.MainContext()
        self._loop = glib.MainLoop.new(self._context, False)
        self._source_id = self._server.attach(self._context)
        if not self._source_id:
            self._forget()
            raise BackendError(
                f"cannot listen at {sink.host}:{sink.port}; "
                "is the port taken, or the address another machine's?"
            )
        self._thread = threading.Thread(target=self._loop.run, name=f"rtsp-{sink.port}", daemon=True)
        self._thread.start()

    def is_over(self, picture: Picture) -> bool:
        """Whether the picture differs from those before."""
        return caps_text(picture) != self._caps

    def has_room(self) -> bool:
        """False where a stream that plays takes nothing: one that a client has only asked for may wait."""
        return not self._is_playing or self._takes(self._appsrc)

    def push(self, picture: Picture) -> None:
        """Hands the picture to the stream, if somebody watches."""
        appsrc = self._appsrc
        if self._takes(appsrc) and _has_time(appsrc):
            appsrc.push_buffer(nv12_buffer(picture))
        if time.monotonic() - self._cleaned_s > CLEAN_S:
            self._cleaned_s = time.monotonic()
            self._server.get_session_pool().cleanup()

    def stop_reason(self) -> str | None:
        """A server runs until it is closed."""
        return None if self._thread.is_alive() else "the server's thread has ended"

    def finish(self, timeout_s: float) -> None:
        """Clients see the end of the stream when the server closes."""

    def close(self) -> None:
        """Disconnects all clients and gives up the port."""
        self._server.client_filter(lambda server, client: self._rtsp.RTSPFilterResult.REMOVE)
        source = self._context.find_source_by_id(self._source_id)
        if source is not None:
            source.destroy()
        # From within: a loop that has not begun yet would forget that it was asked to end.
        end = import_module("gi.repository.GLib").idle_source_new()
        end.set_callback(lambda *_: self._loop.quit())
        end.attach(self._context)
        self._thread.join()
        self._forget()

    def _forget(self) -> None:
        """Parts the server from what calls this outlet: in a circle through GStreamer none would be freed."""
        self._server.get_mount_points().remove_factory(self._path)

    def _takes(self, appsrc: Any) -> bool:
        return appsrc is not None and appsrc.get_property("current-level-buffers") < LIVE_PICTURES

    def _on_media(self, factory: Any, media: Any) -> None:
        appsrc = media.get_element().get_by_name("pictures")
        appsrc.set_property("caps", gst().Caps.from_string(self._caps))
        media.connect("new-state", self._on_state, appsrc)
        media.connect("unprepared", self._on_end, appsrc)
        self._is_playing, self._appsrc = False, appsrc

    # Of the last client's stream, when the next one's has begun already, both tell nothing.

    def _on_state(self, media: Any, state: int, appsrc: Any) -> None:
        if self._appsrc is appsrc:
            self._is_playing = state == int(gst().State.PLAYING)

    def _on_end(self, media: Any, appsrc: Any) -> None:
        if self._appsrc is appsrc:
            self._appsrc, self._is_playing = None, False


def _has_time(appsrc: Any) -> bool:
    """Whether the pipeline's time has begun.

    Before, appsrc dates a picture by the clock alone, hours ahead, and the stream waits that long for it.
    """
    _, state, _ = appsrc.get_state(0)
    return int(state) == int(gst().State.PLAYING)


def make_rtsp(uri: Uri, config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """A server at an address of this machine."""
    example = f"{uri.scheme}://127.0.0.1:8554/name"
    host, port, path = host_and_port(uri, example)
    if len(path) < 2:
        raise ContractError(f"{uri.text}: expected {example}")
    access = read_access(uri, config)
    if access.credentials is None and not is_loopback(host or LOCALHOST):
        report(f"{uri.text}: whoever reaches this address sees the picture; set credentials to ask who it is")
    encoding = Encoding(config.bitrate_kbps, config.codec, config.keyframe_interval)
    tail = f"{config.codec}parse ! {payloader(config)}"
    stall_s = config.stall_ms / 1e3
    return RtspSink(uri.text, host or LOCALHOST, port, path, encoding, tail, access, stall_s)
