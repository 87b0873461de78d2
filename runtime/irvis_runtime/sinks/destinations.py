"""An output's URI -> its sink; one function per scheme."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from irvis_runtime.config import nearest
from irvis_runtime.errors import ContractError
from irvis_runtime.rig import OutputConfig
from irvis_runtime.uri import Uri, parse_uri

from .display import make_display
from .files import is_snapshot, make_recording, make_snapshot
from .network import make_rtp, make_udp
from .outlet import Sink
from .pipeline import PipelineSink
from .rtsp import make_rtsp
from .shared_memory import make_shared_memory

Make = Callable[[Uri, OutputConfig, Callable[[str], None]], Sink]

RECORDING_KEYS = ("overwrite", "rotate_s", "rotate_mib", "keep_pieces", "keep_free_mib")


def make_sink(config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """Returns where the picture goes; ContractError for an unknown scheme or a place that is taken."""
    uri = parse_uri(config.sink)
    make = SCHEMES.get(uri.scheme)
    if make is None:
        raise ContractError(f"{uri.text}: unknown sink {uri.scheme!r}; {nearest(uri.scheme, list(SCHEMES))}")
    for key in uri.query:
        raise ContractError(f"{uri.text}: unknown key {key!r}; a sink's options are keys of its [[output]]")
    is_picture = uri.scheme == "file" and is_snapshot(uri)
    _check_keys(config, uri, RECORDING_KEYS, "a recording", uri.scheme == "file" and not is_picture)
    _check_keys(config, uri, ("every_s",), "a .jpg or .png", is_picture)
    _check_keys(config, uri, ("credentials",), "rtsp://", uri.scheme in ("rtsp", "rtsps"))
    _check_keys(config, uri, ("certificate", "private_key"), "rtsps://", uri.scheme == "rtsps")
    return make(uri, config, report)


def _file(uri: Uri, config: OutputConfig, report: Callable[[str], None]) -> Sink:
    return (make_snapshot if is_snapshot(uri) else make_recording)(uri, config, report)


def _null(uri: Uri, config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """Nowhere: the picture is made, measured and thrown away without being encoded."""
    if uri.location:
        raise ContractError(f"{uri.text}: expected null:// with nothing behind it")
    return PipelineSink(uri.text, "fakesink sync=false", None, stall_s=config.stall_ms / 1e3)


SCHEMES: dict[str, Make] = {
    "display": make_display,
    "file": _file,
    "null": _null,
    "rtp": make_rtp,
    "rtsp": make_rtsp,
    "rtsps": make_rtsp,
    "shm": make_shared_memory,
    "udp": make_udp,
}


def _check_keys(config: OutputConfig, uri: Uri, names: tuple[str, ...], kind: str, is_kind: bool) -> None:
    """ContractError where a key is set that only another kind of sink has."""
    defaults = {field.name: field.default for field in fields(config)}
    for name in names:
        if not is_kind and getattr(config, name) != defaults[name]:
            raise ContractError(f"{uri.text}: {name} is a key of {kind}; take it out of this [[output]]")
