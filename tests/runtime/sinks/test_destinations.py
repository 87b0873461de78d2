"""URIs of sinks: where they lead, and one line for everything that is wrong."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from irvis_runtime.errors import ContractError
from irvis_runtime.rig import OutputConfig
from irvis_runtime.sinks.destinations import Sink, make_sink


def sink(uri: str) -> Sink:
    return make_sink(OutputConfig(uri), lambda line: None)


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
        ("null://x", "expected null:// with nothing behind it"),
        ("file://out.avi", "ends in .mkv"),
        ("file:///dev/null/x/out.mkv", "cannot make its folder"),
    ],
)
def test_a_wrong_sink_is_one_line(uri: str, text: str) -> None:
    with pytest.raises(ContractError) as caught:
        sink(uri)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "host", "port"), [("rtp://192.168.1.10:5600", "192.168.1.10", 5600), ("rtp://[::1]:7", "::1", 7)]
)
def test_an_address_is_split(uri: str, host: str, port: int) -> None:
    assert sink(uri).properties == {"udp": {"host": host, "port": port}}


def test_a_relative_recording_starts_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recording = sink("file://flights/one%20more.mkv").recording
    assert recording is not None
    assert recording.path == Path("flights/one more.mkv")
    assert (tmp_path / "flights").is_dir()


def test_null_encodes_nothing() -> None:
    assert sink("null://").bitrate_kbps is None


def test_time_in_a_recordings_name_is_when_it_began(tmp_path: Path) -> None:
    config = OutputConfig(f"file://{tmp_path}/flight-{{time}}.mkv")
    recording = make_sink(config, lambda text: None).recording
    assert recording is not None
    began = datetime.strptime(recording.path.name, "flight-%Y%m%dT%H%M%SZ.mkv").replace(tzinfo=timezone.utc)
    assert abs((datetime.now(timezone.utc) - began).total_seconds()) < 60
