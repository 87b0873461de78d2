from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.backends import engine_cache
from irvis_runtime.backends.engine_cache import EngineCache, open_cache
from irvis_runtime.errors import ContractError

IDENTITY: dict[str, object] = {
    "kind": "engine",
    "tensorrt": "10.3.0",
    "size_hw": [480, 640],
    "options": {"level": 3},
}


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def sidecar_of(cache: EngineCache) -> Path:
    assert cache.folder is not None
    (path,) = cache.folder.glob("*.json")
    return path


def test_what_was_stored_is_loaded_under_its_identity_only(cache: EngineCache) -> None:
    cache.store(IDENTITY, b"plan")
    assert cache.load(dict(reversed(IDENTITY.items()))) == b"plan"
    for key in IDENTITY:
        assert cache.load({**IDENTITY, key: "other"}) is None
        assert cache.load({name: value for name, value in IDENTITY.items() if name != key}) is None


def test_the_sidecar_names_the_identity_and_the_content(cache: EngineCache) -> None:
    cache.store(IDENTITY, b"plan")
    sidecar = json.loads(sidecar_of(cache).read_text())
    assert sidecar["identity"] == IDENTITY
    assert sidecar["bytes"] == 4
    assert set(sidecar) == {"identity", "bytes", "sha256", "made"}


def test_an_empty_cache_says_nothing(cache: EngineCache, caplog: pytest.LogCaptureFixture) -> None:
    assert cache.load(IDENTITY) is None
    assert not caplog.records


@pytest.mark.parametrize("damage", ["truncated", "changed", "emptied", "missing"])
def test_damaged_content_is_not_trusted(
    cache: EngineCache, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache.store(IDENTITY, b"a plan of some length")
    path = sidecar_of(cache).with_suffix(".bin")
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"truncated": content[:-3], "changed": b"A" + content[1:], "emptied": b""}[damage])
    with caplog.at_level(logging.WARNING):
        assert cache.load(IDENTITY) is None
    assert len(caplog.records) == 1
    assert "\n" not in caplog.messages[0]
    cache.store(IDENTITY, content)
    assert cache.load(IDENTITY) == content


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("10.3.0", "10.3.1"),
        lambda text: text.replace('"bytes": 4', '"bytes": 4.5'),
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"made"', '"maker"'),
        lambda text: text.replace('"bytes"', '"sha256": "0", "bytes"'),
    ],
)
def test_a_sidecar_that_does_not_match_is_not_trusted(cache: EngineCache, edit: object) -> None:
    cache.store(IDENTITY, b"plan")
    path = sidecar_of(cache)
    assert callable(edit)
    edited = edit(path.read_text())
    assert edited != path.read_text()
    path.write_text(edited)
    assert cache.load(IDENTITY) is None


@given(noise=st.binary(max_size=200))
def test_any_bytes_for_a_sidecar_are_a_miss(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    cache = EngineCache(tmp_path_factory.mktemp("cache"))
    cache.store(IDENTITY, b"plan")
    sidecar_of(cache).write_bytes(noise)
    assert cache.load(IDENTITY) is None


def test_the_content_of_another_build_is_not_trusted(cache: EngineCache) -> None:
    """Two processes that build one engine at once may leave one's content and the other's sidecar."""
    cache.store(IDENTITY, b"plan of the one")
    sidecar = sidecar_of(cache).read_text()
    cache.store(IDENTITY, b"plan of another")
    sidecar_of(cache).write_text(sidecar)
    assert cache.load(IDENTITY) is None


def test_no_folder_keeps_nothing() -> None:
    cache = EngineCache(None)
    cache.store(IDENTITY, b"plan")
    assert cache.load(IDENTITY) is None


def test_a_folder_that_cannot_be_written_costs_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    cache = EngineCache(tmp_path / "file" / "engines")
    cache.store(IDENTITY, b"plan")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert cache.load(IDENTITY) is None


def test_the_variable_names_the_folder(tmp_path: Path) -> None:
    chosen = tmp_path / "chosen"
    environment = {"IRVIS_CACHE": str(chosen), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    assert open_cache(environment).folder == chosen / "engines"
    assert not (tmp_path / "xdg").exists()


def test_a_variable_that_names_no_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ContractError, match=r"IRVIS_CACHE: expected a folder"):
        open_cache({"IRVIS_CACHE": str(tmp_path / "file")})


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"XDG_CACHE_HOME": "{root}/xdg", "HOME": "{root}/home"}, "xdg/irvis/engines"),
        ({"HOME": "{root}/home"}, "home/.cache/irvis/engines"),
        ({"HOME": "{root}/file"}, "system/engines"),
        ({}, "system/engines"),
    ],
)
def test_without_the_variable_the_first_writable_folder_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(engine_cache, "SYSTEM_FOLDER", tmp_path / "system")
    filled = {name: value.format(root=tmp_path) for name, value in environment.items()}
    assert open_cache(filled).folder == tmp_path / expected


def test_without_any_writable_folder_engines_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(engine_cache, "SYSTEM_FOLDER", tmp_path / "file" / "irvis")
    assert open_cache({}).folder is None
    assert "IRVIS_CACHE" in caplog.text
