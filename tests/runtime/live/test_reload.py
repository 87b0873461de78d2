"""What a rig that is read again may change, and what it leaves as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irvis_runtime.config import from_mapping
from irvis_runtime.errors import ContractError
from irvis_runtime.live.reload import Reloader, changeable
from irvis_runtime.rig import Rig


def rig(**tables: Any) -> Rig:
    mapping = {
        "visible": {"source": "test://"},
        "infrared": {"source": "test://?seed=2"},
        "output": [{"sink": "null://"}],
    }
    return from_mapping(Rig, {**mapping, **tables}, "test")


def test_limits_registration_context_and_latencies_are_taken() -> None:
    wanted = rig(
        limits={"hold_ms": 300, "frozen_ms": 0},
        registration={"homography": [[1, 0, 2], [0, 1, 0], [0, 0, 1]]},
        fusion={"context_s": 0.5},
        visible={"source": "test://", "latency_ms": 20},
        picture={"corner": True},
        thermal={"palette": "ironbow"},
        output=[{"sink": "null://", "view": "thermal"}],
    )
    assert changeable(rig(), wanted) == (wanted, [])


@pytest.mark.parametrize(
    ("tables", "names"),
    [
        ({"visible": {"source": "test://?seed=9"}}, ["visible.source"]),
        ({"infrared": {"source": "test://?seed=9"}}, ["infrared.source"]),
        ({"fusion": {"precision": "int8", "threads": 1}}, ["fusion.precision", "fusion.threads"]),
        ({"fusion": {"model": "elsewhere"}}, ["fusion.model"]),
        ({"output": [{"sink": "null://"}, {"sink": "null://"}]}, ["output"]),
    ],
)
def test_what_only_a_restart_changes_stays_and_is_named(tables: dict[str, Any], names: list[str]) -> None:
    usable, refused = changeable(rig(), rig(limits={"hold_ms": 300}, **tables))
    assert refused == names
    assert usable == rig(limits={"hold_ms": 300})


def failing() -> Rig:
    raise ContractError("rig.toml: not TOML")


@pytest.mark.parametrize(
    ("load", "changes", "line"),
    [
        (failing, False, "the rig was not reloaded: rig.toml: not TOML"),
        (rig, False, "the rig was reloaded; nothing else in it is new"),
        (lambda: rig(limits={"hold_ms": 1}), True, None),
    ],
)
def test_a_reload_gives_a_rig_or_says_why_not(
    capsys: pytest.CaptureFixture[str], load: Callable[[], Rig], changes: bool, line: str | None
) -> None:
    reloader = Reloader(load)
    assert not reloader.is_requested
    reloader.request()
    assert reloader.is_requested
    assert (reloader.read(rig()) is not None) == changes
    assert not reloader.is_requested
    told = capsys.readouterr().err
    assert told == ("" if line is None else f"irvis live: {line}\n")


def test_a_file_that_is_gone_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from irvis_runtime.rig import load_rig

    reloader = Reloader(lambda: load_rig(tmp_path / "gone.toml"))
    assert reloader.read(rig()) is None
    assert "gone.toml: cannot be read" in capsys.readouterr().err
