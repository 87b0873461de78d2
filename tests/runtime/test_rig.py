"""The rig file: its smallest form, its checks, one line for every error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.errors import ContractError
from irvis_runtime.rig import RegistrationConfig, load_rig

SMALLEST = """
[visible]
source = "v4l2:///dev/video0"
[infrared]
source = "test://?width=640&height=480&fps=30"
[registration]
homography = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]      # infrared pixels -> visible pixels
[[output]]
sink = "file://out.mkv"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "rig.toml"
    path.write_text(text)
    return path


def test_the_smallest_form_of_the_design_is_taken(tmp_path: Path) -> None:
    rig = load_rig(write(tmp_path, SMALLEST))
    assert rig.visible.source == "v4l2:///dev/video0"
    assert rig.output[0].sink == "file://out.mkv"
    assert not rig.output[0].overwrite
    assert rig.registration.homography == ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    assert rig.fusion.model is None


def test_without_registration_there_is_no_homography(tmp_path: Path) -> None:
    text = SMALLEST.replace("homography", "# homography")
    assert load_rig(write(tmp_path, text)).registration.homography is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("[visible]", "[visble]"), "unknown key 'visble'; did you mean 'visible'?"),
        (
            ("[infrared]\nsource", "[infrared]\nsorce"),
            "infrared: unknown key 'sorce'; did you mean 'source'?",
        ),
        (('[[output]]\nsink = "file://out.mkv"', ""), "missing key 'output'"),
        (
            ('"file://out.mkv"', '"file://a.mkv"\n[[output]]\nsink="file://a.mkv"'),
            "file://a.mkv is given twice",
        ),
        (("[0, 0, 1]]", "[0, 0, 0]]"), "homography: expected an invertible 3x3 matrix"),
        (("[0, 1, 0], [0, 0, 1]]", "[0, 1, 0]]"), "homography: expected a list of 3, got 2 values"),
        (("[0, 0, 1]]", "[0, 0, nan]]"), "homography[2][2]: expected a finite number, got nan"),
        (("[[output]]", "[limits]\nmax_skew_ms = -1\n[[output]]"), "max_skew_ms: expected 0 or more, got -1"),
        (("[[output]]", "[limits]\nlost_ms = 0\n[[output]]"), "lost_ms: expected 10 or more, got 0"),
        (("[[output]]", "[fusion]\nthreads = 0\n[[output]]"), "threads: expected 1 or more, got 0"),
        (("[[output]]", '[fusion]\nbackend = "cuda"\n[[output]]'), "backend: expected one of 'auto'"),
        (("[[output]]", "[[output]]\nbitrate_kbps = 1"), "bitrate_kbps: expected 16 to 100000, got 1"),
    ],
)
def test_a_wrong_rig_is_one_line(tmp_path: Path, change: tuple[str, str], text: str) -> None:
    path = write(tmp_path, SMALLEST.replace(*change))
    with pytest.raises(ContractError) as caught:
        load_rig(path)
    assert text in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_argument_changes_the_rig(tmp_path: Path) -> None:
    rig = load_rig(write(tmp_path, SMALLEST), ["limits.max_skew_ms=33.5", "fusion.precision=fp32"])
    assert rig.limits.max_skew_ms == 33.5
    assert rig.fusion.precision == "fp32"


def test_registrations_of_large_and_small_cameras_are_taken() -> None:
    """A 4K camera beside an 80x60 one: scales of 48 and perspective terms of 1e-5 are no singularity."""
    RegistrationConfig(((48.0, 0.1, 12.0), (0.1, 36.0, -40.0), (1e-5, 2e-5, 1.0)))
    RegistrationConfig(((0.02, 0.0, 1900.0), (0.0, 0.02, 1000.0), (0.0, 0.0, 1.0)))


numbers = st.floats(-2, 2)


@given(numbers, numbers, numbers, numbers)
def test_a_matrix_with_dependent_rows_is_refused(a: float, b: float, c: float, factor: float) -> None:
    rows = ((a, b, c), (factor * a, factor * b, factor * c), (0.0, 0.0, 1.0))
    with pytest.raises(ContractError, match="invertible"):
        RegistrationConfig(rows)


@given(st.floats(0.1, 10), st.floats(-0.2, 0.2), st.floats(-500, 500), st.floats(-500, 500))
def test_a_turned_scaled_shifted_view_is_taken(scale: float, turn: float, x: float, y: float) -> None:
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    rows = ((float(cosine), float(-sine), x), (float(sine), float(cosine), y), (0.0, 0.0, 1.0))
    assert RegistrationConfig(rows).homography == rows


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"distance_m": 5.0}, "expected focal_px and baseline_m beside them"),
        ({"calibrated_m": 5.0, "focal_px": 800.0}, "expected focal_px and baseline_m beside them"),
        ({"focal_px": 0.0}, "focal_px: expected a number above 0"),
        (
            {"distance_m": -1.0, "focal_px": 8.0, "baseline_m": (0.1, 0)},
            "distance_m: expected a number",
        ),
    ],
)
def test_parallax_by_halves_is_refused(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ContractError, match=text):
        RegistrationConfig(**keys)
