"""The rig's [thermal] table: its defaults, what it refuses, and the gain control that it asks for."""

from __future__ import annotations

from typing import Any

import pytest

from irvis_runtime.config import from_mapping
from irvis_runtime.errors import ContractError
from irvis_runtime.thermal.agc import FixedAgc, LinearAgc, PlateauAgc
from irvis_runtime.thermal.config import ThermalConfig
from irvis_runtime.thermal.input import make_agc


def config(**values: Any) -> ThermalConfig:
    return from_mapping(ThermalConfig, values, "rig.toml")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"sensor": "boson"}, "sensor: expected one of 'generic', 'boson-320'"),
        ({"agc": "fixed"}, 'range: expected [black, white] together with agc = "fixed"'),
        ({"range": [0, 1]}, "got agc = 'linear' and range = [0.0, 1.0]"),
        ({"agc": "fixed", "range": [30, 10]}, "black below white, got [30.0, 10.0]"),
        ({"agc": "fixed", "range": [0, 1e-320]}, "range: expected black and white 0.001 counts apart"),
        ({"agc": "fixed", "range": [0, 1e300]}, "within 1e+06 counts, got [0.0, 1e+300]"),
        (
            {"agc": "fixed", "range": [0, 40], "kelvin_per_count": 1e-300},
            "got [0.0, 40.0], counts 2.7315e+302 and 3.1315e+302",
        ),
        ({"agc": "fixed", "range": [0, 1], "kelvin_per_count": 0}, "kelvin_per_count: expected more than 0"),
        ({"kelvin_per_count": 0}, "kelvin_per_count: expected more than 0, got 0"),
        ({"max_gain": -1}, "max_gain: expected more than 0, got -1"),
        ({"freeze_ms": 0}, "freeze_ms: expected more than 0, got 0"),
        ({"plateau_percent": 0}, "plateau_percent: expected more than 0, at most 100, got 0"),
        ({"agc_s": -1}, "agc_s: expected 0 or more, got -1"),
        ({"spot": [0.5, 2]}, "spot: expected [x, y], each from 0 to 1, got [0.5, 2.0]"),
        ({"palette": "iron"}, "palette: expected one of 'white-hot'"),
        ({"pallete": "ironbow"}, "did you mean 'palette'?"),
    ],
)
def test_a_wrong_table_is_one_line(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ContractError) as caught:
        config(**values)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, LinearAgc(4.0)),
        ({"max_gain": 0.5}, LinearAgc(0.5)),
        ({"agc": "plateau", "plateau_percent": 1}, PlateauAgc(1.0, 4.0)),
        ({"sensor": "tiny1"}, LinearAgc(2.0)),
        ({"kelvin_per_count": 0.01, "agc": "plateau"}, PlateauAgc(0.1, 1.28)),
        ({"agc": "fixed", "range": [7000, 9000]}, FixedAgc(7000.0, 9000.0)),
        ({"sensor": "tiny1", "agc": "fixed", "range": [-273.15, 0]}, FixedAgc(0.0, 64 * 273.15)),
        ({"kelvin_per_count": 0.01, "agc": "fixed", "range": [0, 40]}, FixedAgc(27_315.0, 31_315.0)),
    ],
)
def test_the_gain_control_is_in_the_sensors_counts(values: dict[str, Any], expected: object) -> None:
    table = config(**values)
    agc = make_agc(table, table.described_sensor())
    assert type(agc) is type(expected)
    assert vars(agc) == pytest.approx(vars(expected))


@pytest.mark.parametrize(
    ("values", "expected_ms"),
    [({}, 200), ({"sensor": "lepton-3"}, 2500 / 8.7), ({"sensor": "tiny1"}, 200), ({"freeze_ms": 5}, 5)],
)
def test_a_slow_camera_may_repeat_for_longer(values: dict[str, Any], expected_ms: float) -> None:
    assert config(**values).longest_repeat_ms() == pytest.approx(expected_ms)
