"""rtp:// and udp://: to one receiver or a multicast group, which may come and go; nothing listens here."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from irvis_runtime.errors import ContractError
from irvis_runtime.rig import OutputConfig
from irvis_runtime.uri import Uri

from .encoders import Encoding
from .outlet import Sink
from .pipeline import PipelineSink

RTP_PAYLOAD_TYPE = 96
UDPSINK = "udpsink name=udp sync=false async=false"


def make_rtp(uri: Uri, config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """RTP, one codec's payload; parameter sets go out each second for a receiver that comes late."""
    codec = config.codec
    return _datagrams(uri, config, f"{codec}parse ! {payloader(config)} ! {UDPSINK}")


def make_udp(uri: Uri, config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """MPEG-TS, seven packets a datagram, as VLC and ATAK take it; parameter sets with every key frame."""
    return _datagrams(
        uri, config, f"{config.codec}parse config-interval=-1 ! mpegtsmux alignment=7 ! {UDPSINK}"
    )


def payloader(config: OutputConfig) -> str:
    """Returns the launch text that makes RTP of the codec, named pay0 as gst-rtsp-server wants it."""
    return (
        f"rtp{config.codec}pay name=pay0 config-interval=1 aggregate-mode=zero-latency pt={RTP_PAYLOAD_TYPE}"
    )


def host_and_port(uri: Uri, example: str) -> tuple[str, int, str]:
    """Returns host ("" for none), port and path; ContractError where there is no port, or a user."""
    try:
        address = urlsplit(f"//{uri.location}")
        host, port = address.hostname or "", address.port
    except ValueError:
        host, port = "", None
    if not port or address.username is not None:
        raise ContractError(f"{uri.text}: expected {example}")
    return host, port, address.path


def _datagrams(uri: Uri, config: OutputConfig, tail: str) -> Sink:
    example = f"{uri.scheme}://host:port, as {uri.scheme}://192.168.1.10:5600"
    host, port, path = host_and_port(uri, example)
    if not host or path:
        raise ContractError(f"{uri.text}: expected {example}")
    encoding = Encoding(config.bitrate_kbps, config.codec, config.keyframe_interval)
    properties = {"udp": {"host": host, "port": port}}
    return PipelineSink(uri.text, tail, encoding, properties, stall_s=config.stall_ms / 1e3)
