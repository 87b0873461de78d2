"""`irvis raw`: what it records is what its rig plays, registered again by the rig's homography."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.__main__ import main
from irvis_runtime.cameras.file_sources import RawFrames, RawOptions
from irvis_runtime.cameras.registration import Registration
from irvis_runtime.config import from_letters
from irvis_runtime.rig import Rig, load_rig
from irvis_runtime.scenes import SceneRenderer, random_scene
from irvis_runtime.uri import parse_uri

from .live_rigs import play

HEIGHT, WIDTH = 48, 64

pytestmark = pytest.mark.usefixtures("gstreamer")


def smooth(seed: int, dtype: type = np.uint8) -> NDArray[Any]:
    """A picture without edges, which two resamplings leave as it is."""
    rough = np.random.default_rng(seed).uniform(40, 200, (HEIGHT, WIDTH)).astype(np.float32)
    grey = cv2.GaussianBlur(rough, (0, 0), 6)
    grey = (grey - grey.min()) / (grey.max() - grey.min())
    levels: NDArray[Any] = np.rint(grey * (30000 if dtype is np.uint16 else 200)).astype(dtype)
    return levels


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two pairs, the infrared pictures with 16 bits."""
    for index in range(2):
        for name, picture in (("ir", smooth(index, np.uint16)), ("vis", smooth(index + 9))):
            (tmp_path / "pairs" / name).mkdir(parents=True, exist_ok=True)
            colour = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if name == "vis" else picture
            cv2.imwrite(str(tmp_path / "pairs" / name / f"{index}.png"), colour)
    return tmp_path / "pairs"


def raw(*arguments: object) -> Rig:
    """Runs `irvis raw` with small sizes and reads the rig that it says it wrote."""
    words = [str(word) for word in arguments]
    assert main(["raw", *words, "--size", f"{WIDTH}x{HEIGHT}"]) == 0
    return load_rig(Path(words[words.index("-o") + 1]) / "rig.toml")


def frames(source: str) -> list[NDArray[Any]]:
    """Luma or counts of each frame of a raw source with rows of whole words."""
    uri = parse_uri(source)
    options = from_letters(RawOptions, uri.query, "")
    count = RawFrames(Path(uri.location), options).count
    dtype = np.dtype(np.uint16 if options.format == "gray16" else np.uint8)
    rows = np.fromfile(uri.location, dtype).reshape(count, -1, options.width)
    return list(rows[:, : options.height])


def test_pairs_are_recorded_in_turn_and_registered_by_the_rig(tmp_path: Path, pairs: Path) -> None:
    rig = raw(pairs, "-o", tmp_path / "a b", "--count", 3, "--bits", 16, "--infrared-size", "56x40")
    counts, luma = frames(rig.infrared.source), frames(rig.visible.source)
    assert [frame.shape for frame in counts] == [(40, 56)] * 3
    assert np.array_equal(counts[0], counts[2])
    assert not np.array_equal(counts[0], counts[1])
    registration = Registration.of_rig(rig.registration)
    for index in range(2):
        # Registration is of 8 bits: here the upper ones of the counts.
        upper_hw = (counts[index] >> 8).astype(np.uint8)
        registered = 256 * registration.warp(upper_hw, (HEIGHT, WIDTH))[4:-4, 4:-4].astype(int) + 128
        wanted = smooth(index, np.uint16)[4:-4, 4:-4]
        assert np.abs(registered - wanted).max() < 400
        assert np.abs(counts[index][4:36, 4:52].astype(int) - wanted[:32, :48]).max() > 2000
        # A camera's luma is 16 to 235.
        assert np.abs(luma[index] - (16 + smooth(index + 9) * (219 / 255))).max() <= 1.5


def test_sixteen_bits_become_eight_where_eight_are_asked(tmp_path: Path, pairs: Path) -> None:
    rig = raw(pairs, "-o", tmp_path / "out", "--count", 1)
    (grey,) = frames(rig.infrared.source)
    assert grey.dtype == np.uint8
    assert grey.max() > 200


@pytest.mark.parametrize("bits", ["8", "16"])
def test_a_scene_is_recorded_as_its_cameras_see_it(tmp_path: Path, bits: str) -> None:
    rig = raw("-o", tmp_path / "out", "--count", 2, "--bits", bits, "--seed", 3, "--fps", 25)
    renderer = SceneRenderer(random_scene(3, (HEIGHT, WIDTH)), (HEIGHT, WIDTH))
    seen = [renderer.frame_raw(index / 25) for index in range(2)]
    wanted = [frame.infrared_hw if bits == "8" else frame.counts_hw for frame in seen]
    assert np.array_equal(frames(rig.infrared.source), wanted)
    assert rig.registration.homography == pytest.approx(renderer.homography_33, rel=1e-6)


def test_the_rig_plays(tmp_path: Path) -> None:
    rig = tmp_path / "out/rig.toml"
    raw("-o", rig.parent, "--count", 2, "--fps", 20, "--infrared-fps", 10)
    status = tmp_path / "status.json"
    forms = {"visible": "64x48 NV12", "infrared": "64x48 GRAY8"}

    def is_played() -> bool:
        told = json.loads(status.read_text())
        return bool(told["frames"] > 0 and told["forms"] == forms)

    play(main, ["live", str(rig), "--without-network", "--status", str(status)], is_played, (1.0, 4.0, 16.0))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere", "-o", "out"], "expected a folder of pairs"),
        (["eight", "-o", "out", "--bits", "16"], "expected 16 bits a pixel for --bits 16, got 8"),
        (["-o", "out", "--fps", "0"], "fps: expected 0.1 to 240"),
        (["-o", "out", "--count", "0"], "expected a whole number from 1 up"),
        (["-o", "out", "--size", "8x8"], "expected WIDTHxHEIGHT from 16"),
        (["-o", "eight", "--size", "64x48"], "rig.toml exists and is not replaced"),
    ],
)
def test_what_cannot_be_recorded_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ir", "vis"):
        (tmp_path / "eight" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "eight" / name / "1.png"), smooth(1))
    (tmp_path / "eight/rig.toml").write_text("")
    assert main(["raw", *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("irvis: error")]
    assert len(lines) == 1
    assert text in lines[0]
    assert list(tmp_path.rglob("*.nv12")) == list(tmp_path.rglob("*.gray*")) == []
