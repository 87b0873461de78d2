"""Cameras on the network: `rtsp://` and `udp://`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from irvis_runtime.errors import ContractError
from irvis_runtime.gstreamer import Description, Platform
from irvis_runtime.uri import Uri, query_options

from .source import Role, Source, decode

RTP_H264 = "application/x-rtp,media=(string)video,clock-rate=(int)90000,encoding-name=(string)H264"
# A key frame of an uncompressed-looking scene is a burst; the kernel's 208 KiB hold a third of one.
SOCKET_BYTES = 2_000_000


def open_rtsp(uri: Uri, role: Role, platform: Platform) -> Source:
    """A network camera; the URI's query belongs to the camera, and its password stays out of the log."""
    if not uri.location:
        raise ContractError(f"{uri.text}: expected a host as in rtsp://192.168.1.20/stream")
    launch = f"rtspsrc name=source latency=0 drop-on-latency=true ! {decode(role, platform)} sync=false"
    shown = re.sub(r"//[^/@]*@", "//", uri.text)
    return Source(shown, Description(launch, {"source": {"location": uri.text}}))


@dataclass(frozen=True)
class UdpOptions:
    """Options of udp://."""

    format: Literal["rtp-h264", "mpegts"] = field(
        default="rtp-h264", metadata={"doc": "what is sent: H.264 in RTP, or an MPEG transport stream"}
    )
    latency_ms: int = field(default=0, metadata={"doc": "how long RTP waits for packets out of order"})

    def __post_init__(self) -> None:
        """ContractError for a wait that is no wait."""
        if not 0 <= self.latency_ms <= 10_000:
            raise ContractError(f"latency_ms: expected 0 to 10000, got {self.latency_ms}")


def open_udp(uri: Uri, role: Role, platform: Platform) -> Source:
    """A stream that is sent here, or to a multicast group: udp://0.0.0.0:5600, udp://239.1.1.1:5010."""
    options = query_options(UdpOptions, uri)
    host, port = _address(uri)
    if options.format == "rtp-h264":
        wait = f"rtpjitterbuffer latency={options.latency_ms} drop-on-latency=true"
        parts = f'udpsrc name=source caps="{RTP_H264}" ! {wait} ! rtph264depay ! h264parse'
    else:
        # Without the parser's times the demultiplexer takes the packets' arrival for the clock.
        parts = "udpsrc name=source ! tsparse set-timestamps=true ! tsdemux latency=0"
    launch = f"{parts} ! {decode(role, platform)} sync=false"
    properties = {"address": host, "port": port, "buffer-size": SOCKET_BYTES}
    return Source(uri.text, Description(launch, {"source": properties}))


def _address(uri: Uri) -> tuple[str, int]:
    """The host and port to listen on; both are named, so that nothing listens by accident."""
    try:
        parts = urlsplit(f"//{uri.location}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.path:
        raise ContractError(
            f"{uri.text}: expected an address and a port of this machine, as in udp://127.0.0.1:5600 or "
            "udp://0.0.0.0:5600"
        )
    return host, port
