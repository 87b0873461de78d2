"""An output's URI -> what lies behind the encoder; one function per scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from irvis_runtime.config import nearest
from irvis_runtime.errors import ContractError
from irvis_runtime.rig import OutputConfig
from irvis_runtime.uri import Uri, parse_uri

from .recording import Recording

RTP_PAYLOAD_TYPE = 96


@dataclass(frozen=True)
class Sink:
    """Where one output ends.

    `tail`: the launch text behind the encoder, or behind raw NV12 where `bitrate_kbps` is None. `properties`:
    by the names of the tail's elements. `recording`: the file that the element `file` writes.
    """

    uri: str
    tail: str
    bitrate_kbps: int | None
    properties: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recording: Recording | None = None


def make_sink(config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """Returns where the picture goes; ContractError for an unknown scheme or a place that is taken."""
    uri = parse_uri(config.sink)
    make = SCHEMES.get(uri.scheme)
    if make is None:
        raise ContractError(f"{uri.text}: unknown sink {uri.scheme!r}; {nearest(uri.scheme, list(SCHEMES))}")
    for key in uri.query:
        raise ContractError(f"{uri.text}: unknown key {key!r}; a sink's options are keys of its [[output]]")
    return make(uri, config, report)


def _file(uri: Uri, config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """A Matroska recording that plays up to its end even where the process was killed.

    `{time}` in its name becomes the start's time (UTC), so that a service that starts again begins a new
    file.
    """
    started = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    recording = Recording(Path(uri.location.replace("{time}", started)), config.overwrite, report)
    recording.check()
    tail = "h264parse ! matroskamux ! filesink name=file buffer-mode=unbuffered"
    return Sink(uri.text, tail, config.bitrate_kbps, recording=recording)


def _rtp(uri: Uri, config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """H.264 over RTP over UDP to one receiver, which may come late: parameter sets go out each second."""
    try:
        address = urlsplit(f"//{uri.location}")
        host, port = address.hostname, address.port
    except ValueError:
        host, port = None, None
    if not host or not port or address.path or address.username is not None:
        raise ContractError(f"{uri.text}: expected rtp://host:port, as rtp://192.168.1.10:5600")
    tail = (
        f"h264parse ! rtph264pay config-interval=1 aggregate-mode=zero-latency pt={RTP_PAYLOAD_TYPE} ! "
        "udpsink name=udp sync=false async=false"
    )
    return Sink(uri.text, tail, config.bitrate_kbps, {"udp": {"host": host, "port": port}})


def _null(uri: Uri, config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """Nowhere: the picture is made, measured and thrown away without being encoded."""
    if uri.location:
        raise ContractError(f"{uri.text}: expected null:// with nothing behind it")
    return Sink(uri.text, "fakesink sync=false", None)


SCHEMES: dict[str, Callable[[Uri, OutputConfig, Callable[[str], None]], Sink]] = {
    "file": _file,
    "null": _null,
    "rtp": _rtp,
}
