"""URIs of sinks: where they lead, and one line for everything that is wrong."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from irvis_runtime.errors import ContractError
from irvis_runtime.rig import OutputConfig
from irvis_runtime.sinks.destinations import make_sink
from irvis_runtime.sinks.pipeline import PipelineSink
from irvis_runtime.sinks.recording import Recording


def pipeline(uri: str, **keys: Any) -> PipelineSink:
    sink = make_sink(OutputConfig(uri, **keys), lambda line: None)
    assert isinstance(sink, PipelineSink)
    return sink


def recording(uri: str) -> Recording:
    made = pipeline(uri).recording
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("out.mkv", "expected a URI such as"),
        ("fiel://out.mkv", "unknown sink 'fiel'; did you mean 'file'?"),
        ("rtp://127.0.0.1", "expected rtp://host:port"),
        ("rtp://:5600", "expected rtp://host:port"),
        ("rtp://127.0.0.1:70000", "expected rtp://host:port"),
        ("rtp://127.0.0.1:5600/stream", "expected rtp://host:port"),
        ("rtp://127.0.0.1:5600?mtu=900", "unknown key 'mtu'; a sink's options are keys of its [[output]]"),
        ("udp://127.0.0.1", "expected udp://host:port"),
        ("rtsp://127.0.0.1/name", "expected rtsp://127.0.0.1:8554/name"),
        ("rtsp://127.0.0.1:8554", "expected rtsp://127.0.0.1:8554/name"),
        ("rtsp://pilot:secret@127.0.0.1:8554/name", "expected rtsp://127.0.0.1:8554/name"),
        ("null://x", "expected null:// with nothing behind it"),
        ("display://x", "expected display:// with nothing behind it"),
        ("shm://relative", "expected a socket's path"),
        ("shm:///no/such/folder/socket", "expected a folder that is writable"),
        (f"shm:///tmp/{'x' * 120}", "has up to 107 bytes"),
        ("file://out.avi", "ends in .mkv, .mp4 (recordings) or .jpg, .jpeg, .png (the newest picture)"),
        ("file:///dev/null/x/out.mkv", "cannot make its folder"),
        ("file:///dev/null/x/out.png", "cannot make its folder"),
    ],
)
def test_a_wrong_sink_is_one_line(uri: str, text: str) -> None:
    with pytest.raises(ContractError) as caught:
        make_sink(OutputConfig(uri), lambda line: None)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "keys", "text"),
    [
        ("rtp://127.0.0.1:5600", {"rotate_s": 1.0}, "rotate_s is a key of a recording"),
        ("file:///tmp/x.jpg", {"keep_pieces": 1}, "keep_pieces is a key of a recording"),
        ("file:///tmp/x.mkv", {"every_s": 2.0}, "every_s is a key of a .jpg or .png"),
        ("udp://127.0.0.1:5600", {"credentials": Path("x")}, "credentials is a key of rtsp://"),
    ],
)
def test_a_key_of_another_kind_of_sink_is_refused(uri: str, keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ContractError, match=text):
        make_sink(OutputConfig(uri, **keys), lambda line: None)


@pytest.mark.parametrize(
    ("uri", "host", "port"),
    [
        ("rtp://192.168.1.10:5600", "192.168.1.10", 5600),
        ("rtp://[::1]:7", "::1", 7),
        ("udp://239.1.2.3:5010", "239.1.2.3", 5010),
    ],
)
def test_an_address_is_split(uri: str, host: str, port: int) -> None:
    assert pipeline(uri).properties == {"udp": {"host": host, "port": port}}


def test_a_relative_recording_starts_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert recording("file://flights/one%20more.mkv").path == Path("flights/one more.mkv")
    assert (tmp_path / "flights").is_dir()


def test_null_encodes_nothing() -> None:
    assert pipeline("null://").encoding is None


def test_keys_reach_the_encoder_and_the_watchdog() -> None:
    sink = pipeline(
        "rtp://127.0.0.1:5600", bitrate_kbps=900, codec="h265", keyframe_interval=9, stall_ms=300.0
    )
    assert sink.encoding is not None
    assert (sink.encoding.bitrate_kbps, sink.encoding.codec, sink.encoding.keyframe_interval) == (
        900,
        "h265",
        9,
    )
    assert "h265parse ! rtph265pay" in sink.tail
    assert sink.stall_s == 0.3


def test_time_in_a_recordings_name_is_when_it_began(tmp_path: Path) -> None:
    path = recording(f"file://{tmp_path}/flight-{{time}}.mkv").path
    began = datetime.strptime(path.name, "flight-%Y%m%dT%H%M%SZ.mkv").replace(tzinfo=timezone.utc)
    assert abs((datetime.now(timezone.utc) - began).total_seconds()) < 60


def test_a_clock_that_begins_at_the_same_time_again_replaces_nothing(tmp_path: Path) -> None:
    """As on a board without a battery: the name of the last start is taken."""
    uri = f"file://{tmp_path}/flight-{{time}}.mkv"
    for _ in range(3):
        # Within one second the same name comes again; on a slow machine it may not, which is fine too.
        path = recording(uri).path
        assert not path.exists()
        path.write_bytes(b"film")
    assert len(list(tmp_path.iterdir())) == 3
