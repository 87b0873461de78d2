"""Configuration: types, errors that name the field, overrides, and the way back to plain values."""

from __future__ import annotations

import codecs
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.config import describe, from_letters, from_mapping, load_config, nearest, to_mapping
from irvis_runtime.errors import ContractError


@dataclass(frozen=True)
class Part:
    size: int = field(default=3, metadata={"doc": "how large it is"})
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ContractError(f"size: expected 0 or more, got {self.size}")


@dataclass(frozen=True)
class Whole:
    rate: float
    mode: Literal["fast", "slow"] = "fast"
    part: Part = field(default_factory=Part)
    pieces: tuple[Part, ...] = ()
    pair: tuple[float, int] = (1.0, 2)
    path: Path | None = None
    text: str = "a"
    flag: bool = False


def test_fields_of_every_type_are_filled() -> None:
    mapping = {
        "rate": 2,
        "mode": "slow",
        "part": {"size": 5, "names": ["x", "y"]},
        "pieces": [{"size": 1}, {}],
        "pair": [0.5, 7],
        "path": "some/where",
        "flag": True,
    }
    whole = from_mapping(Whole, mapping, "here")
    assert whole == Whole(
        2.0, "slow", Part(5, ("x", "y")), (Part(1), Part()), (0.5, 7), Path("some/where"), flag=True
    )
    assert isinstance(whole.rate, float)


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ({}, "here: missing key 'rate'"),
        ({"rate": 1, "paht": "x"}, "here: unknown key 'paht'; did you mean 'path'?"),
        ({"rate": "1"}, "here: rate: expected a number, got '1'"),
        ({"rate": True}, "here: rate: expected a number, got True"),
        ({"rate": math.nan}, "here: rate: expected a finite number, got nan"),
        ({"rate": 10**400}, "here: rate: expected a finite number"),
        ({"rate": 1, "flag": 1}, "here: flag: expected true or false, got 1"),
        ({"rate": 1, "mode": "fats"}, "here: mode: expected one of 'fast', 'slow', got 'fats'"),
        ({"rate": 1, "part": 3}, "here: part: expected a table, got 3"),
        ({"rate": 1, "part": {"size": 1.0}}, "here: part: size: expected an integer, got 1.0"),
        ({"rate": 1, "part": {"size": True}}, "here: part: size: expected an integer, got True"),
        ({"rate": 1, "part": {"size": -1}}, "here: part: size: expected 0 or more, got -1"),
        ({"rate": 1, "part": {"names": "xy"}}, "here: part: names: expected a list, got 'xy'"),
        (
            {"rate": 1, "pieces": [{}, {"siez": 1}]},
            "here: pieces[1]: unknown key 'siez'; did you mean 'size'?",
        ),
        ({"rate": 1, "pair": [1.0]}, "here: pair: expected a list of 2, got 1 values"),
        ({"rate": 1, "path": 3}, "here: path: expected a path, got 3"),
        ({"rate": 1, "zzz": 3}, "here: unknown key 'zzz'; expected one of: rate, mode, part"),
    ],
)
def test_an_error_names_the_field_what_was_expected_and_what_came(mapping: dict[str, Any], text: str) -> None:
    with pytest.raises(ContractError) as caught:
        from_mapping(Whole, mapping, "here")
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "whole.toml"
    file.write_text('rate = 1.5\ntext = "file"\n[part]\nsize = 4\n')
    overrides = ["part.names=['x']", "text=12", "mode=slow", "path=/a/b", "flag=true"]
    assert load_config(Whole, file, overrides) == Whole(
        1.5, "slow", Part(4, ("x",)), path=Path("/a/b"), text="12", flag=True
    )


def test_without_a_file_defaults_and_overrides_remain() -> None:
    assert load_config(Part, None) == Part()
    assert load_config(Part, None, ["size=9"]) == Part(9)


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("size", "expected key=value, got 'size'"),
        ("=3", "expected key=value, got '=3'"),
        ("a..b=3", "expected key=value"),
        ("size=three", "command line: size: expected an integer, got 'three'"),
        ("size=1\nnames=['x']", "size: expected an integer, got"),
        ("seize=1", "unknown key 'seize'; did you mean 'size'?"),
        ("size.x=1", "command line: size: expected an integer, got {'x'"),
    ],
)
def test_a_bad_override_is_one_line(override: str, text: str) -> None:
    with pytest.raises(ContractError) as caught:
        load_config(Part, None, [override])
    assert text in str(caught.value)


def test_an_override_does_not_reach_into_a_plain_value(tmp_path: Path) -> None:
    file = tmp_path / "part.toml"
    file.write_text("size = 3\n")
    with pytest.raises(ContractError, match="size is not a table"):
        load_config(Part, file, ["size.deep=1"])


@pytest.mark.parametrize("content", [b"size = ", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "part.toml"
    file.write_bytes(content)
    with pytest.raises(ContractError, match=r"part\.toml"):
        load_config(Part, file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"nowhere\.toml.*No such file"):
        load_config(Part, tmp_path / "nowhere.toml")


def test_letters_are_typed_by_the_field() -> None:
    assert from_letters(Part, {"size": "7"}, "query") == Part(7)
    with pytest.raises(ContractError, match="query: size: expected an integer"):
        from_letters(Part, {"size": "seven"}, "query")


def test_describe_lists_every_field_with_type_default_and_doc() -> None:
    text = describe(Whole)
    assert "rate: float (required)" in text
    assert "mode: 'fast' | 'slow' = 'fast'" in text
    assert "part.size: int = 3" in text
    assert "pieces[].size: int = 3" in text
    assert "how large it is" in text
    assert "pair: [float, int] = [1.0, 2]" in text


def test_nearest_names_all_where_none_is_near() -> None:
    assert nearest("qqq", ["alpha", "beta"]) == "expected one of: alpha, beta"
    assert nearest("alpa", ["alpha", "beta"]) == "did you mean 'alpha'?"


PARTS = st.builds(Part, st.integers(0, 2**40), st.lists(st.text(max_size=5), max_size=3).map(tuple))
WHOLES = st.builds(
    Whole,
    rate=st.floats(allow_nan=False, allow_infinity=False),
    mode=st.sampled_from(["fast", "slow"]),
    part=PARTS,
    pieces=st.lists(PARTS, max_size=3).map(tuple),
    pair=st.tuples(st.floats(-1e6, 1e6), st.integers()),
    path=st.one_of(st.none(), st.just(Path("a/b"))),
    text=st.text(),
    flag=st.booleans(),
)


@given(WHOLES)
def test_to_mapping_is_json_and_comes_back(whole: Whole) -> None:
    mapping = json.loads(json.dumps(to_mapping(whole), allow_nan=False))
    assert from_mapping(Whole, mapping, "back") == whole


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["rate", "part", "pieces", "pair", "path", "mode", "size"]), VALUES))
def test_any_mapping_gives_a_whole_or_a_contract_error(mapping: dict[str, Any]) -> None:
    try:
        whole = from_mapping(Whole, mapping, "here")
    except ContractError:
        return
    assert math.isfinite(whole.rate)
    assert set(mapping) <= set(to_mapping(whole))


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    """Windows' Notepad writes one."""
    path = tmp_path / "whole.toml"
    path.write_bytes(codecs.BOM_UTF8 + b"rate = 2.5\r\n")
    assert load_config(Whole, path).rate == 2.5
