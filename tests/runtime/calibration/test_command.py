"""`irvis calibrate` end to end: the rig file changes where the fit is good, and stays where it is not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest

from irvis_runtime.__main__ import main
from irvis_runtime.calibration.fit import mapped
from irvis_runtime.rig import load_rig

RIG = """# two cameras
[visible]
source = "test://?width=160&height=120&fps=30"
[infrared]
source = "test://?width=80&height=60&fps=30"
[registration]
crop = "common"  # both
[[output]]
sink = "null://"
"""
TRUE_33 = np.array([[1.9, 0.02, 10.0], [-0.02, 1.9, 9.0], [0, 0, 1]])
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def calibrate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the command on a rig file in `tmp_path`, beside pictures of its sizes."""
    (tmp_path / "rig.toml").write_text(RIG)
    random = np.random.default_rng(0)
    for name, size_hw in (("ir", (120, 160)), ("vis", (240, 320))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), random.integers(0, 255, size_hw).astype(np.uint8))

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["calibrate", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def write_points(path: Path, noise_px: float = 0.2, is_swapped: bool = False) -> Path:
    random = np.random.default_rng(1)
    infrared = random.uniform((5, 5), (154, 114), (20, 2))
    visible = mapped(TRUE_33, infrared) + random.normal(0, noise_px, infrared.shape)
    table = np.column_stack([infrared, np.clip(visible, 0, (319, 239))])
    np.savetxt(path, table[:, [2, 3, 0, 1]] if is_swapped else table, delimiter=",")
    return path


def test_points_change_the_rig_and_nothing_else_in_it(calibrate: Run, tmp_path: Path) -> None:
    rig, points = tmp_path / "rig.toml", write_points(tmp_path / "points.csv")
    pictures = ("--pictures", tmp_path / "ir.png", tmp_path / "vis.png")
    code, out, err = calibrate(rig, "--points", points, *pictures)
    assert (code, err) == (0, "")
    assert "20 of 20 points agree" in out
    homography = load_rig(rig).registration.homography
    assert homography is not None
    assert np.array(homography) == pytest.approx(TRUE_33, abs=0.3)
    assert load_rig(rig).registration.infrared_size == (160, 120)
    assert load_rig(rig).registration.visible_size == (320, 240)
    written = ("homography", "infrared_size", "visible_size")
    lines = rig.read_text().splitlines()
    assert [line for line in lines if not line.startswith(written)] == RIG.splitlines()
    assert (tmp_path / "rig.toml.bak").read_text() == RIG
    picture = cv2.imread(str(tmp_path / "rig.calibration.png"))
    assert picture is not None
    assert picture.shape == (480, 1280, 3)


def test_a_dry_run_leaves_the_rig(calibrate: Run, tmp_path: Path) -> None:
    points = write_points(tmp_path / "points.csv")
    code, _, _ = calibrate(
        *(tmp_path / "rig.toml", "--points", points, "--dry-run", "--overlay", tmp_path / "seen.png"),
        *("--pictures", tmp_path / "ir.png", tmp_path / "vis.png"),
    )
    assert code == 0
    assert (tmp_path / "rig.toml").read_text() == RIG
    assert (tmp_path / "seen.png").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--scene", "--pictures", "ir.png", "vis.png"), ""),
        (("--points", "noisy.csv", "--pictures", "ir.png", "vis.png"), "points agree within"),
        (
            ("--points", "swapped.csv", "--pictures", "ir.png", "vis.png"),
            "outside the 160x120 infrared picture",
        ),
        (("--points", "absent.csv", "--pictures", "ir.png", "vis.png"), "absent.csv"),
        (("--board", "circles", "--size", "7x5", "--pictures", "ir.png", "vis.png"), "no picture pair shows"),
        (("--board", "circles"), "--board and --size go together"),
        (("--board", "circles", "--size", "7"), "--size: expected columns x rows"),
        (("--scene", "--frames", "0"), "--frames, --every"),
        (("--points", "noisy.csv", "--tolerance", "-1"), "--tolerance"),
        (("--parallax",), "--parallax: expected --focal-px"),
        ((), "expected one of --points, --board or --scene"),
        (("--scene", "--pictures", "ir.png", "absent.png"), "absent.png"),
        (
            ("--scene", "--pictures", "ir.png", "vis.png", "--pictures", "vis.png", "vis.png"),
            "of one rig in one",
        ),
    ],
)
def test_a_refusal_is_one_line_and_leaves_the_rig(
    calibrate: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_points(tmp_path / "noisy.csv", 30.0)
    write_points(tmp_path / "swapped.csv", is_swapped=True)
    before = sorted(path.name for path in tmp_path.iterdir())
    code, out, err = calibrate("rig.toml", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("irvis: error: ")
    assert text in err
    assert err.count("\n") == 1
    assert (tmp_path / "rig.toml").read_text() == RIG
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "overlay", ["ir.png", "./vis.png", "link.png", "folder/a.png", "points.png", "rig.png"]
)
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_no_input_is_overwritten(
    calibrate: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overlay: str,
    more: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_points(tmp_path / "points.png")
    (tmp_path / "rig.toml").rename("rig.png")
    (tmp_path / "link.png").symlink_to("ir.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.png").write_bytes((tmp_path / "ir.png").read_bytes())
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen" / "a.png").write_bytes((tmp_path / "vis.png").read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    pictures = ("--pictures", "ir.png", "vis.png", "--pictures", "folder", "seen")
    code, out, err = calibrate("rig.png", "--points", "points.png", *pictures, "--overlay", overlay, *more)
    assert (code, out) == (2, "")
    assert "would overwrite an input; name another with --overlay" in err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_default_picture_to_look_at_overwrites_no_input_either(calibrate: Run, tmp_path: Path) -> None:
    points, seen = write_points(tmp_path / "points.csv"), tmp_path / "rig.calibration.png"
    (tmp_path / "vis.png").rename(seen)
    code, _, err = calibrate(
        tmp_path / "rig.toml", "--points", points, "--pictures", tmp_path / "ir.png", seen
    )
    assert code == 2
    assert "would overwrite an input" in err


def test_a_former_picture_to_look_at_is_replaced(calibrate: Run, tmp_path: Path) -> None:
    points, seen = write_points(tmp_path / "points.csv"), tmp_path / "rig.calibration.png"
    for _ in range(2):
        pictures = ("--pictures", tmp_path / "ir.png", tmp_path / "vis.png")
        assert calibrate(tmp_path / "rig.toml", "--points", points, *pictures)[0] == 0
    assert cv2.imread(str(seen)) is not None


def test_parallax_is_printed(calibrate: Run, tmp_path: Path) -> None:
    code, out, _ = calibrate(tmp_path / "rig.toml", "--parallax", "--focal-px", 800, "--baseline-mm", 50)
    assert code == 0
    assert ["10", "4.00"] in [line.split() for line in out.splitlines()]


def test_parallax_of_the_rigs_own_numbers_is_printed(calibrate: Run, tmp_path: Path) -> None:
    """3-4-5: a baseline of 50 mm."""
    more = "[registration]\nfocal_px = 800\nbaseline_m = [0.03, -0.04]\n"
    (tmp_path / "rig.toml").write_text(RIG.replace("[registration]\n", more))
    code, out, _ = calibrate(tmp_path / "rig.toml", "--parallax")
    assert code == 0
    assert ["10", "4.00"] in [line.split() for line in out.splitlines()]


@pytest.mark.parametrize("number", ["nan", "inf", "-1", "0", "1e300", "wide"])
@pytest.mark.parametrize("option", ["--focal-px", "--baseline-mm"])
def test_a_length_that_is_none_is_named(calibrate: Run, tmp_path: Path, option: str, number: str) -> None:
    lengths = {"--focal-px": "800", "--baseline-mm": "50", option: number}
    code, out, err = calibrate(tmp_path / "rig.toml", "--parallax", *chain.from_iterable(lengths.items()))
    assert (code, out) == (2, "")
    assert f"argument {option}: expected a number above 0, at most 1e+06, got {number!r}" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--baseline-mm", "50"), "got no focal length"),
        (("--focal-px", "800"), "got no baseline"),
    ],
)
def test_what_parallax_lacks_is_named(
    calibrate: Run, tmp_path: Path, given: tuple[str, ...], told: str
) -> None:
    code, _, err = calibrate(tmp_path / "rig.toml", "--parallax", *given)
    assert code == 2
    assert told in err


@pytest.mark.parametrize("option", ["--limit", "--seed"])
def test_a_count_below_zero_is_refused(calibrate: Run, tmp_path: Path, option: str) -> None:
    code, out, err = calibrate("--evaluate", tmp_path, option, "-3")
    assert (code, out) == (2, "")
    assert f"argument {option}: expected a whole number from 0 up, got '-3'" in err
