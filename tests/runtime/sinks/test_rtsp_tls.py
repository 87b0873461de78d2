"""RTSP over TLS, from an output to a camera: a certificate that is trusted, and those that are not."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from irvis_runtime.cameras.camera import Camera
from irvis_runtime.cameras.sources import make_source
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import launch_text
from irvis_runtime.rig import OutputConfig
from irvis_runtime.sinks.destinations import make_sink
from irvis_runtime.sinks.rtsp_access import Access, rtsp_server


@pytest.fixture(autouse=True)
def server(encoder: str) -> None:
    """Skips the test where GStreamer's RTSP server is absent."""
    try:
        rtsp_server()
    except BackendError as error:
        pytest.skip(str(error))


Open = Callable[[str], tuple[Camera, list[str]]]


@pytest.fixture
def camera() -> Iterator[Open]:
    """Opens a network camera that is closed after the test."""
    opened: list[Camera] = []

    def start(uri: str) -> tuple[Camera, list[str]]:
        lines: list[str] = []
        source = make_source(uri, "visible", "generic")
        opened.append(
            Camera("visible", source, lambda frame: None, lines.append, restart_s=60.0, start_s=60.0)
        )
        opened[-1].start(time.monotonic_ns())
        return opened[-1], lines

    yield start
    for one in opened:
        one.stop()


@pytest.fixture
def serve(outputs: Any, until: Any, port: int, certificate: Any) -> Callable[..., str]:
    """Starts an output with TLS and returns the address of its host and port."""

    def start(**keys: Any) -> str:
        branch = outputs.open(f"rtsps://127.0.0.1:{port}/fused", certificate=certificate("server"), **keys)
        outputs.feed()
        until(lambda: branch.sent > 0)
        return f"127.0.0.1:{port}/fused"

    return start


def test_a_camera_that_is_trusted_is_seen(
    serve: Callable[..., str], camera: Open, tmp_path: Path, until: Any
) -> None:
    address = serve()
    trusting, lines = camera(f"rtsps://{address}#ca={tmp_path}/server.crt")
    until(lambda: trusting.frames > 5)
    unchecked, _ = camera(f"rtsps://{address}#verify=no")
    until(lambda: unchecked.frames > 5)
    assert lines == ["visible camera running"]
    # What is encrypted is not there for those who do not ask for TLS.
    done = subprocess.run(
        ["gst-launch-1.0", "rtspsrc", f"location=rtsp://{address}", "protocols=tcp", "tcp-timeout=2000000",
         "timeout=2000000", "!", "fakesink", "num-buffers=1"],
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode != 0


def test_a_stranger_is_refused_in_one_line_until_he_is_known(
    serve: Callable[..., str], camera: Open, certificate: Any, tmp_path: Path, until: Any
) -> None:
    address = serve()
    trusted = certificate("trusted")
    mistrusting, lines = camera(f"rtsps://{address}#ca={trusted}")
    until(lambda: bool(lines))
    assert lines == [
        "visible camera lost: the camera's certificate is not trusted (unknown-ca); name it, or who signed "
        "it, with #ca=FILE behind the address; trying again in 0.5 s"
    ]
    assert mistrusting.frames == 0
    shutil.copy(tmp_path / "server.crt", trusted)
    until(lambda: mistrusting.frames > 0)
    assert lines[1:] == ["visible camera running"]


def test_another_hosts_certificate_is_refused(
    serve: Callable[..., str], camera: Open, tmp_path: Path, until: Any
) -> None:
    address = serve().replace("127.0.0.1", "localhost")
    _, lines = camera(f"rtsps://{address}#ca={tmp_path}/server.crt")
    until(lambda: bool(lines))
    assert "not trusted (bad-identity)" in lines[0]


def test_the_password_is_asked_for_as_well(
    serve: Callable[..., str], camera: Open, tmp_path: Path, until: Any
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("pilot:secret")
    secret.chmod(0o600)
    address = serve(credentials=secret)
    stranger, lines = camera(f"rtsps://{address}#verify=no")
    until(lambda: bool(lines))
    assert "Unauthorized" in lines[0]
    pilot, _ = camera(f"rtsps://pilot:secret@{address}#verify=no")
    until(lambda: pilot.frames > 0)
    assert stranger.frames == 0


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, 'expected certificate = "FILE"'),
        ({"certificate": "none.pem"}, "certificate: expected a PEM file, none.pem is none"),
        ({"certificate": "open.pem"}, "private_key: everybody may read open.pem"),
        ({"certificate": "open.pem", "private_key": "none.pem"}, "private_key: none.pem cannot be read"),
    ],
)
def test_a_certificate_that_cannot_be_shown_is_refused(
    keys: dict[str, str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("open.pem").touch(0o644)
    paths = {key: Path(name) for key, name in keys.items()}
    with pytest.raises(ContractError, match=text):
        make_sink(OutputConfig("rtsps://127.0.0.1:8554/fused", **paths), print)  # type: ignore[arg-type]


def test_a_key_that_is_another_certificates_is_found_before_the_start(certificate: Any) -> None:
    empty = certificate("empty")
    empty.write_text("")
    with pytest.raises(BackendError, match="expected a certificate and its private key in PEM"):
        Access(None, empty).certificate()


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("rtsp://host/x#verify=no", "ca and verify are of rtsps://"),
        ("rtsps://host/x#ca=none.pem", "ca: expected a PEM file"),
        ("rtsps://host/x#ca=x&verify=no", "expected one of them"),
        ("rtsps://host/x#verify=maybe", "verify: expected one of 'yes', 'no'"),
        ("rtsps://host/x#cert=x", "unknown key 'cert'"),
        ("rtsp://host/x#latency_ms=-1", "latency_ms: expected 0 to 10000"),
    ],
)
def test_trust_that_is_none_is_one_line(uri: str, text: str) -> None:
    with pytest.raises(ContractError) as caught:
        make_source(uri, "visible", "generic")
    assert text in str(caught.value)


def test_whom_a_camera_trusts_is_in_the_printed_pipeline(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    shown = launch_text(
        make_source(f"rtsps://u:p@host/x?y#ca={tmp_path}/ca.pem", "visible", "generic").description
    )
    assert 'location="rtsps://u:***@host/x?y"' in shown
    assert shown.endswith(f" # tls-database of {tmp_path}/ca.pem")
    unchecked = launch_text(make_source("rtsps://host/x#verify=no", "visible", "generic").description)
    assert "tls-validation-flags=0 " in unchecked
