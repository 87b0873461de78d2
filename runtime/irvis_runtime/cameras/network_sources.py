"""Cameras on the network: `rtsp://`, `rtsps://` and `udp://`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from irvis_runtime.errors import ContractError
from irvis_runtime.gstreamer import Authorities, Description, Platform, gst
from irvis_runtime.uri import Uri, parse_uri, query_options, without_credentials

from .source import Role, Source, decode

RTP_H264 = "application/x-rtp,media=(string)video,clock-rate=(int)90000,encoding-name=(string)H264"
# A camera may send sound, too.
RTP_VIDEO = "application/x-rtp,media=(string)video"
HOST_AND_PORT = re.compile(r"(\[[^]]*\]|[^:]+)(:\d{1,5})?")
# A key frame of an uncompressed-looking scene is a burst; the kernel's 208 KiB hold a third of one.
SOCKET_BYTES = 2_000_000


@dataclass(frozen=True)
class RtspOptions:
    """What stands behind the # of an rtsp:// or rtsps:// URI: the query before it is the camera's own."""

    transport: Literal["tcp", "udp"] = field(
        default="tcp", metadata={"doc": "udp: a lost packet costs a picture's part and no time"}
    )
    latency_ms: int = field(default=0, metadata={"doc": "how long packets out of order are waited for"})
    ca: str = field(
        default="",
        metadata={
            "doc": "rtsps://: PEM file of the camera's certificate, or of who signed it; else the system's"
        },
    )
    verify: Literal["yes", "no"] = field(
        default="yes", metadata={"doc": "rtsps://: no takes any certificate: encrypted, but of whomever"}
    )

    def __post_init__(self) -> None:
        """ContractError for a wait that is no wait, and for trust in two ways."""
        _check_wait(self.latency_ms)
        if self.ca and self.verify == "no":
            raise ContractError("ca and verify=no: expected one of them; name the file, or trust everybody")


def rtsp_uri(text: str) -> Uri:
    """Returns a network camera's URI, its text without the password; `query` is what stands behind the #.

    ContractError where an @, / or ? in user or password is evident: GStreamer would take another host. It is
    not where digits before the / look like a port, or what follows a first @ like a host.
    """
    address, mark, options = text.partition("#")
    scheme, _, location = address.partition("://")
    is_option = options.partition("=")[0] in RtspOptions.__dataclass_fields__
    if "@" in options and not is_option:
        host = text.rpartition("@")[2]
        raise ContractError(f"{scheme}://{host}: expected %23 for a # in a user or password; write it so")
    authority = re.split("[/?]", location, maxsplit=1)[0]
    credentials, _, host = authority.rpartition("@")
    is_behind = "@" in location[len(authority) :]
    if "@" in credentials or (is_behind and not HOST_AND_PORT.fullmatch(host)):
        host = location.rpartition("@")[2]
        raise ContractError(
            f"{scheme}://{host}: expected one @ before the host, and no / or ? before that; "
            "write %40, %2F, %3F in user and password"
        )
    uri = parse_uri(f"{scheme}://?{options}" if options else f"{scheme}://")
    shown = f"{without_credentials(address)}{mark}{options}"
    return replace(uri, text=shown, location=location)


def open_rtsp(uri: Uri, role: Role, platform: Platform) -> Source:
    """A network camera, by TCP; its password stays out of the log."""
    options = query_options(RtspOptions, uri)
    if not uri.location:
        raise ContractError(f"{uri.text}: expected a host as in {uri.scheme}://192.168.1.20/stream")
    protocols = "tcp" if options.transport == "tcp" else "udp+udp-mcast"
    launch = (
        f"rtspsrc name=source latency={options.latency_ms} protocols={protocols} drop-on-latency=true ! "
        f"{RTP_VIDEO} ! {decode(role, platform)} sync=false"
    )
    properties: dict[str, Any] = {"location": f"{uri.scheme}://{uri.location}"}
    if uri.scheme == "rtsps":
        properties |= _trust(uri, options)
    elif options.ca or options.verify == "no":
        raise ContractError(f"{uri.text}: ca and verify are of rtsps://, this is rtsp://; write rtsps://")
    description = Description(launch, {"source": properties}, _low_delay(platform))
    return Source(uri.text, description, prepare=_tell_mistrust if uri.scheme == "rtsps" else None)


def _tell_mistrust(pipeline: Any) -> None:
    """Has a certificate that is refused be named as the reason; rtspsrc itself says "Generic error"."""
    pipeline.get_by_name("source").connect("accept-certificate", _refuse)


def _refuse(source: Any, connection: Any, certificate: Any, flags: Any) -> bool:
    Gst = gst()
    reasons = [name for name in flags.value_nicks if name != "no-flags"]
    text = (
        f"the camera's certificate is not trusted ({', '.join(reasons)}); name it, or who signed "
        "it, with #ca=FILE behind the address"
    )
    error = import_module("gi.repository.GLib").Error.new_literal(
        Gst.ResourceError.quark(), text, Gst.ResourceError.NOT_AUTHORIZED
    )
    source.post_message(Gst.Message.new_error(source, error, ""))
    return False


def _trust(uri: Uri, options: RtspOptions) -> dict[str, Any]:
    """Whose certificates are taken; rtspsrc checks everything by default."""
    if options.verify == "no":
        return {"tls-validation-flags": 0}
    if not options.ca:
        return {}
    path = Path(options.ca)
    if not path.is_file():
        raise ContractError(f"{uri.text}: ca: expected a PEM file, {path} is none")
    return {"tls-database": Authorities(path)}


def _low_delay(platform: Platform) -> dict[str, dict[str, Any]]:
    """What keeps a Jetson's decoder from holding back about four pictures; of B-frames it knows nothing."""
    if platform != "jetson":
        return {}
    return {"nvv4l2decoder": {"disable-dpb": True, "enable-max-performance": True}}


def _check_wait(latency_ms: int) -> None:
    if not 0 <= latency_ms <= 10_000:
        raise ContractError(f"latency_ms: expected 0 to 10000, got {latency_ms}")


@dataclass(frozen=True)
class UdpOptions:
    """Options of udp://."""

    format: Literal["rtp-h264", "mpegts"] = field(
        default="rtp-h264", metadata={"doc": "what is sent: H.264 in RTP, or an MPEG transport stream"}
    )
    latency_ms: int = field(default=0, metadata={"doc": "how long RTP waits for packets out of order"})

    def __post_init__(self) -> None:
        """ContractError for a wait that is no wait."""
        _check_wait(self.latency_ms)


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
    return Source(uri.text, Description(launch, {"source": properties}, _low_delay(platform)))


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
