"""What the doctor says of GStreamer's parts and of cameras; a real driver answers in tests/runtime/v4l2."""

from __future__ import annotations

from pathlib import Path

import pytest

from irvis_runtime.cameras.v4l2_formats import capture_formats
from irvis_runtime.doctor import live
from irvis_runtime.doctor.check import OK, WARNING, Check
from irvis_runtime.errors import BackendError


@pytest.mark.usefixtures("gstreamer")
def test_what_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert live.check_sources(tmp_path) == Check("Sources", OK, "v4l2://, rtsp://, udp://, file://, test://")
    outputs = {"rtp": {"fakesink": live.BASE, "no-pay": live.GOOD}, "shm": {"no-shm": live.BAD}}
    monkeypatch.setattr(live, "OUTPUTS", outputs)
    assert live.check_outputs(tmp_path) == Check(
        "Outputs",
        WARNING,
        "rtp:// lacks no-pay; shm:// lacks no-shm",
        "apt-get install gstreamer1.0-plugins-bad gstreamer1.0-plugins-good",
    )
    monkeypatch.setattr(live, "DECODERS", ("no-decoder",))
    assert "apt-get install gstreamer1.0-libav" in live.check_decoder().advice


@pytest.mark.usefixtures("gstreamer")
def test_a_board_needs_nvidias_elements(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 1\n")
    check = live.check_sources(tmp_path)
    if check.status == OK:
        pytest.skip("this machine is a Jetson")
    assert check.found == "csi:// lacks nvarguscamerasrc, nvvidconv"
    assert check.advice == "apt-get install nvidia-l4t-gstreamer"


@pytest.mark.usefixtures("gstreamer")
def test_what_is_absent_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(*arguments: object) -> None:
        raise BackendError("it is not here")

    for name in ("rtsp_server", "choose_encoder", "choose_display"):
        monkeypatch.setattr(live, name, absent)
    checks = (live.check_rtsp_server(), live.check_encoder(tmp_path), live.check_display(tmp_path))
    assert [check.status for check in checks] == [WARNING] * 3
    assert "gir1.2-gst-rtsp-server-1.0" in checks[0].advice
    assert "gstreamer1.0-plugins-ugly" in checks[1].advice
    assert "display://" in checks[2].advice


def test_cameras_have_the_names_that_stay(tmp_path: Path) -> None:
    assert live.check_cameras(tmp_path).status == WARNING
    for name in ("dev/video10", "dev/video2", "dev/videodev", "dev/v4l/by-id/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "dev/v4l/by-id/usb-FLIR_Boson-video-index0").symlink_to("../../video2")
    names = tmp_path / "sys/class/video4linux/video2"
    names.mkdir(parents=True)
    (names / "name").write_text("Boson: FLIR Video\n")
    assert live.check_cameras(tmp_path).found == (
        "/dev/video2 (Boson: FLIR Video, /dev/v4l/by-id/usb-FLIR_Boson-video-index0); /dev/video10"
    )


def test_raw_counts_are_pointed_out_and_nodes_of_metadata_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dev").mkdir()
    for number in range(2):
        (tmp_path / f"dev/video{number}").touch()
    sent = {"video0": ("YUYV", "Y16"), "video1": ()}
    monkeypatch.setattr(live, "capture_formats", lambda device: sent[device.name])
    assert live.check_cameras(tmp_path).found == "/dev/video0 (YUYV Y16 (format=y16))"


def test_what_is_no_camera_cannot_be_asked() -> None:
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        capture_formats(Path("/dev/null"))
