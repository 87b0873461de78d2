"""URIs of sources: what is launched, and one line for everything that is wrong.

The texts for csi, rtsp and a Jetson are compared with what was written from the documentation; no camera and
no board has seen them. Those for v4l2 meet a driver in tests/runtime/v4l2.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from irvis_runtime.cameras.sources import APPSINK, Role, make_source
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import Platform, build_pipeline, find_platform


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("video0", "expected a URI such as"),
        ("://x", "expected a URI such as"),
        ("v4l3:///dev/video0", "unknown source 'v4l3'; did you mean 'v4l2'?"),
        ("test://?widht=160", "unknown key 'widht'; did you mean 'width'?"),
        ("test://?width=wide", "width: expected an integer, got 'wide'"),
        ("test://?width=0", "width: expected 1 to 8192, got 0"),
        ("test://?fps=0", "fps: expected 0.1 to 240, got 0"),
        ("test://?fps=inf", "fps: expected a finite number"),
        ("test://?pattern=bal", "pattern: expected one of ''"),
        ("test://?width=160&width=170", "the key 'width' is given twice"),
        ("test://?width", "expected ?key=value&key=value"),
        ("test://there", "got 'there' behind test://"),
        ("test://?width=8&height=8", "16 px or more"),
        ("file:///no/such/film.mkv", "expected a file, /no/such/film.mkv is none"),
        ("file://?loop=1", "expected a file"),
        ("v4l2://video0", "expected a device such as v4l2:///dev/video0, got 'video0'"),
        ("v4l2:///dev/video0?format=rgb", "format: expected one of 'auto', 'mjpeg'"),
        ("v4l2:///dev/video0?format=y16", "format=y16 is for an infrared camera"),
        ("v4l2:///dev/video0?format=y16-yuyv", "format=y16-yuyv is for an infrared camera"),
        ("v4l2:///dev/video0?width=-5", "v4l2:///dev/video0?width=-5: width: expected 0 to 8192, got -5"),
        ("v4l2:///dev/video0?height=8193", "height: expected 0 to 8192, got 8193"),
        ("v4l2:///dev/video0?fps=-1", "v4l2:///dev/video0?fps=-1: fps: expected 0.1 to 240, got -1"),
        ("csi://0?width=-5", "csi://0?width=-5: width: expected 1 to 8192, got -5"),
        ("csi://0?height=0", "height: expected 1 to 8192, got 0"),
        ("csi://0?fps=1000", "csi://0?fps=1000: fps: expected 0.1 to 240, got 1000"),
        ("csi://0?flip=8", "csi://0?flip=8: flip: expected 0 to 7, got 8"),
        ("rtsp://", "expected a host"),
    ],
)
def test_a_wrong_source_is_one_line(uri: str, text: str) -> None:
    with pytest.raises(ContractError) as caught:
        make_source(uri, "visible", "generic")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("query", ["loop=2", "lop=1", "loop=yes"])
def test_a_file_with_a_wrong_option_is_one_line(tmp_path: Path, query: str) -> None:
    film = tmp_path / "film.mkv"
    film.touch()
    with pytest.raises(ContractError, match="loop"):
        make_source(f"file://{film}?{query}", "visible", "generic")


def test_csi_needs_a_jetson() -> None:
    with pytest.raises(BackendError, match="csi:// needs a Jetson"):
        make_source("csi://0", "visible", "generic")
    launch = make_source("csi://1?flip=2", "visible", "jetson").description
    assert "nvarguscamerasrc" in launch.launch
    assert "memory:NVMM" in launch.launch
    assert "flip-method=2" in launch.launch
    assert launch.properties["source"] == {"sensor-id": 1}


def test_a_jetson_decodes_into_its_own_memory() -> None:
    for uri in (
        "rtsp://10.0.0.2/stream?profile=1",
        "v4l2:///dev/video0?format=mjpeg&width=1280&height=720&fps=30",
    ):
        launch = make_source(uri, "visible", "jetson").description.launch
        assert "nvvidconv" in launch
        assert "videoconvert" not in launch


@pytest.mark.parametrize("role", ["visible", "infrared"])
def test_a_jetson_keeps_a_decoders_range(role: Role) -> None:
    """As GRAY8 a luma of 16 to 235 would pass for 0 to 255."""
    for uri in ("rtsp://10.0.0.2/live", "csi://0", "v4l2:///dev/video0?format=mjpeg"):
        assert "! video/x-raw,format=NV12 ! appsink" in make_source(uri, role, "jetson").description.launch


@pytest.mark.parametrize("platform", ["generic", "jetson"])
@pytest.mark.parametrize("name", ["nv12", "gray8"])
def test_what_is_taken_as_it_is_passes_no_converter(name: str, platform: Platform) -> None:
    launch = make_source(f"v4l2:///dev/video0?format={name}", "visible", platform).description.launch
    assert launch.endswith(f"video/x-raw,format={name.upper()} ! {APPSINK} sync=false")


@pytest.mark.parametrize("platform", ["generic", "jetson"])
@pytest.mark.parametrize(("name", "caps"), [("y16", "GRAY16_LE"), ("y16-yuyv", "YUY2")])
def test_counts_are_never_converted(name: str, caps: str, platform: Platform) -> None:
    uri = f"v4l2:///dev/video2?format={name}&width=256&height=384"
    description = make_source(uri, "infrared", platform).description
    assert f"! video/x-raw,format={caps},width=256,height=384 ! appsink" in description.launch
    assert "conv" not in description.launch


def test_a_network_cameras_query_is_its_own() -> None:
    source = make_source("rtsp://10.0.0.2:554/live?profile=high", "visible", "generic")
    assert source.description.properties["source"] == {"location": "rtsp://10.0.0.2:554/live?profile=high"}


def test_a_network_cameras_password_is_not_shown() -> None:
    source = make_source("rtsp://admin:secret@10.0.0.2/live", "visible", "generic")
    assert source.uri == "rtsp://10.0.0.2/live"
    assert "secret" in source.description.properties["source"]["location"]
    with pytest.raises(ContractError, match="expected %23 for a #") as caught:
        make_source("rtsp://admin:sec#ret@10.0.0.2/live", "visible", "generic")
    assert "ret@" not in str(caught.value)
    with pytest.raises(ContractError, match="expected %23 for a #") as caught:
        make_source("rtsp://admin:s@ec#ret@10.0.0.2/live", "visible", "generic")
    assert str(caught.value).startswith("rtsp://10.0.0.2/live: ")
    with pytest.raises(ContractError, match="unknown source 'rtps'") as caught:
        make_source("rtps://admin:secret@10.0.0.2/live", "visible", "generic")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("role", ["visible", "infrared"])
@pytest.mark.parametrize(
    "uri",
    [
        "test://?pattern=ball&frames=3",
        "test://?width=32&height=24",
        "rtsp://10.0.0.2/stream",
        "v4l2:///dev/video0",
        "v4l2:///dev/v4l/by-id/usb-FLIR%20Boson-video-index0?width=640&height=512&format=gray8&fps=29.97",
    ],
)
@pytest.mark.usefixtures("gstreamer")
def test_a_source_is_a_pipeline_that_gstreamer_takes(uri: str, role: Role) -> None:
    pipeline = build_pipeline(make_source(uri, role, "generic").description)
    assert pipeline.get_by_name("frames") is not None


@pytest.mark.usefixtures("gstreamer")
def test_a_path_with_quotes_is_one_path(tmp_path: Path) -> None:
    film = tmp_path / 'a "film" ! fakesink.mkv'
    film.touch()
    pipeline = build_pipeline(make_source(f"file://{film}", "visible", "generic").description)
    assert pipeline.get_by_name("source").get_property("location") == str(film)


@pytest.mark.parametrize(
    ("release", "platform"), [("# R36 (release), REVISION: 4.3", "jetson"), (None, "generic")]
)
def test_the_platform_is_told_by_nvidias_release_file(
    tmp_path: Path, release: str | None, platform: Platform
) -> None:
    if release is not None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/nv_tegra_release").write_text(release)
    assert find_platform(tmp_path) == platform
