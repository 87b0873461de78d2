"""The manifest and its JSON: what is right survives, each wrong field is named."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_runtime.contract import (
    PRECISIONS,
    Manifest,
    ModelFile,
    WeightFile,
    manifest_from_json,
    manifest_to_json,
    save_manifest,
)
from irvis_runtime.errors import ContractError

from .manifests import MANIFEST

WHERE = "manifest.json"


def refusal(document: object) -> str:
    """What manifest_from_json says about a document, given as text or as what JSON makes of it."""
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(ContractError) as caught:
        manifest_from_json(text, WHERE)
    message = str(caught.value)
    assert message.startswith(f"{WHERE}: ")
    assert "\n" not in message
    return message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=4)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
manifests = st.builds(
    Manifest,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
    files=st.sets(st.sampled_from(PRECISIONS)).flatmap(
        lambda keys: st.fixed_dictionaries(
            {
                key: st.builds(ModelFile, st.just(f"m.{key}.onnx"), digests, st.integers(13, 22))
                for key in keys
            }
        )
    ),
    multiple=st.integers(1, 256),
    provenance=json_objects,
    measured=json_objects,
    weights=st.none() | st.builds(WeightFile, st.just("w.safetensors"), digests),
)


@settings(max_examples=60, deadline=None)
@given(manifest=manifests)
def test_manifest_survives_its_json(manifest: Manifest) -> None:
    text = manifest_to_json(manifest)
    assert manifest_from_json(text, WHERE) == manifest
    assert manifest_to_json(manifest_from_json(text, WHERE)) == text


def test_manifest_json_has_the_public_form() -> None:
    picture = [1, 1, "H", "W"]
    assert json.loads(manifest_to_json(MANIFEST)) == {
        "schema": 1,
        "name": "irvis-s",
        "ports": {
            "inputs": [
                {"name": "infrared", "dtype": "uint8", "shape": picture},
                {"name": "visible", "dtype": "uint8", "shape": picture},
                {"name": "context", "dtype": "float32", "shape": [1, 2, 64, 64]},
            ],
            "outputs": [{"name": "fused", "dtype": "uint8", "shape": picture}],
        },
        "luma": "bt601-full",
        "multiple": 32,
        "files": {
            "fp32": {"path": "model.onnx", "sha256": "0" * 64, "opset": 17},
            "int8-trt": {"path": "model.int8-trt.onnx", "sha256": "a" * 64, "opset": 17},
        },
        "provenance": {"teacher": "LDFusion", "pairs": {"MSRS": 3}, "seeds": [1, 2]},
        "measured": {"fp32": {"psnr_db": 41.5}},
        "weights": {"path": "student.safetensors", "sha256": "b" * 64},
    }


def test_ports_may_be_listed_in_any_order() -> None:
    document = json.loads(manifest_to_json(MANIFEST))
    document["ports"]["inputs"].reverse()
    assert manifest_from_json(json.dumps(document), WHERE) == MANIFEST


Step = str | int


def steps_below(value: Any, way: tuple[Step, ...] = ()) -> list[tuple[Step, ...]]:
    """The ways to all values that schema 1 fixes: everything but what provenance and measured hold."""
    ways = [way] if way else []
    if way in (("provenance",), ("measured",)):
        return ways
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return ways + [below for key, member in members for below in steps_below(member, (*way, key))]


DOCUMENT = json.loads(manifest_to_json(MANIFEST))
WAYS = steps_below(DOCUMENT)


def parent_of(document: Any, way: tuple[Step, ...]) -> Any:
    for step in way[:-1]:
        document = document[step]
    return document


OBJECT_WAYS = [
    way
    for way in [(), *WAYS]
    if isinstance(parent_of(DOCUMENT, (*way, "")), dict) and way not in (("provenance",), ("measured",))
]


def field_of(way: tuple[Step, ...]) -> str:
    """The field that an error names: the way up to its last key, for an element may be told as the array."""
    while isinstance(way[-1], int):
        way = way[:-1]
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in way)[1:]


@settings(max_examples=60, deadline=None)
@given(way=st.sampled_from(WAYS), wrong=st.sampled_from([None, True, [], "", "../x", -1, 0.5, 10**30, [{}]]))
def test_any_wrong_value_is_refused_by_field(way: tuple[Step, ...], wrong: object) -> None:
    document = copy.deepcopy(DOCUMENT)
    parent_of(document, way)[way[-1]] = wrong
    assert f" {field_of(way)}" in refusal(document)


OPTIONAL_WAYS = [("weights",), *(("files", precision) for precision in MANIFEST.files)]


@settings(max_examples=60, deadline=None)
@given(way=st.sampled_from([way for way in WAYS if way not in OPTIONAL_WAYS]))
def test_any_missing_part_is_refused_by_name(way: tuple[Step, ...]) -> None:
    document = copy.deepcopy(DOCUMENT)
    del parent_of(document, way)[way[-1]]
    assert f" {field_of(way)}" in refusal(document)


def test_weights_and_precisions_may_be_missing() -> None:
    document = copy.deepcopy(DOCUMENT)
    del document["weights"]
    document["files"] = {}
    assert manifest_from_json(json.dumps(document), WHERE) == dataclasses.replace(
        MANIFEST, weights=None, files={}
    )


@settings(max_examples=60, deadline=None)
@given(way=st.sampled_from(OBJECT_WAYS), key=st.text(max_size=80))
def test_any_unknown_key_is_refused_with_the_nearest(way: tuple[Step, ...], key: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    members = parent_of(document, (*way, ""))
    members[key + "?"] = 1
    assert "an unknown key (nearest: '" in refusal(document)


def test_a_misspelt_key_is_told_with_the_right_one() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["files"]["int8_trt"] = document["files"].pop("int8-trt")
    message = refusal(document)
    assert "files.int8_trt" in message
    assert "nearest: 'int8-trt'" in message


@pytest.mark.parametrize(
    ("way", "wrong", "named"),
    [
        (
            ("files", "fp32", "sha256"),
            "abc",
            "files.fp32.sha256: expected 64 hexadecimal digits in lower case, got 'abc'; ",
        ),
        (("files", "fp32", "sha256"), "A" * 64, "files.fp32.sha256"),
        (("files", "fp32", "sha256"), "0" * 64 + "\n", "files.fp32.sha256"),
        (("files", "fp32", "path"), "/etc/model.onnx", "files.fp32.path"),
        (("files", "fp32", "path"), "../model.onnx", "files.fp32.path"),
        (("files", "fp32", "path"), "a/model.onnx", "files.fp32.path"),
        (("files", "fp32", "path"), "a\\model.onnx", "files.fp32.path"),
        (("files", "fp32", "path"), "C:model.onnx", "files.fp32.path"),
        (("files", "fp32", "path"), "model.onnx\n", "files.fp32.path"),
        (("files", "fp32", "path"), "model.pkl", "files.fp32.path"),
        (
            ("files", "int8-trt", "path"),
            "model.onnx",
            "files.int8-trt.path: expected another file than files.fp32.path",
        ),
        (("files", "fp32", "opset"), 17.0, "files.fp32.opset"),
        (("files", "fp32", "opset"), "17", "files.fp32.opset"),
        (("weights", "path"), "student.pt", "weights.path"),
        (("weights", "path"), "..", "weights.path"),
        (("name",), "irvis s", "name"),
        (("name",), "../irvis", "name"),
        (("name",), "x" * 65, "name"),
        (("multiple",), 0, "multiple: expected a whole number from 1 to 256, got 0; "),
        (("multiple",), True, "multiple"),
        (("luma",), "bt709", "luma: expected 'bt601-full', got 'bt709'; "),
        (
            ("ports", "inputs", 2, "dtype"),
            "uint8",
            "ports.inputs[2].dtype: expected 'float32', got 'uint8'; ",
        ),
        (("ports", "inputs", 0, "name"), "thermal", "ports.inputs[0].name"),
        (("ports", "inputs", 1, "name"), "infrared", "ports.inputs[1].name"),
        (("ports", "inputs", 0, "shape", 0), True, "ports.inputs[0].shape"),
        (("ports", "outputs", 0, "shape"), [1, 1, 480, 640], "ports.outputs[0].shape"),
        (("ports", "outputs"), [], "ports.outputs: expected the ports fused, got none named fused; "),
    ],
)
def test_wrong_value_is_told(way: tuple[Step, ...], wrong: object, named: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    parent_of(document, way)[way[-1]] = wrong
    assert named in refusal(document)


@pytest.mark.parametrize("schema", [0, 2, "1", 1.0, True, None])
def test_another_schema_is_told_before_its_unknown_keys(schema: object) -> None:
    message = refusal({"schema": schema, "tensors": []})
    assert f"schema: expected 1, which this version of irvis reads, got {schema!r}; update irvis" in message


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, 10_000))
def test_cut_json_is_refused(length: int) -> None:
    text = manifest_to_json(MANIFEST).rstrip()
    refusal(text[: length % len(text)])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "expected JSON"),
        ("[]", "expected an object, got []"),
        ('{"schema": 1, "schema": 1}', "expected every key once, got 'schema' twice"),
        (
            '{"schema": 1, "measured": {"fp32": [1, NaN]}}',
            "measured.fp32[1]: expected a finite number, got nan",
        ),
        ('{"schema": 1, "measured": {"psnr": 1e999}}', "measured.psnr: expected a finite number, got inf"),
        ('{"schema": ' + "9" * 5000 + "}", "expected JSON"),
        ('{"schema": 1, "measured": ' + "[" * 100 + "]" * 100 + "}", "at most 64 levels"),
        ("[" * 200_000, "at most 64 levels"),
        ('{"schema": 1, "name": "' + "x" * (4 << 20) + '"}', "at most 4 MiB"),
    ],
)
def test_json_that_is_no_manifest_is_refused(text: str, named: str) -> None:
    assert named in refusal(text)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"measured": {"psnr": float("nan")}}, "measured.psnr: expected a finite number"),
        ({"measured": {"psnr": np.float32(1.0)}}, "measured.psnr: expected a JSON value"),
        ({"provenance": {1: "one"}}, "provenance: expected strings as keys, got the key 1"),
        ({"provenance": {"path": Path("x")}}, "provenance.path: expected a JSON value"),
        ({"provenance": {"big": 10**5000}}, "expected values that JSON can hold"),
        ({"multiple": 0}, "multiple"),
        ({"name": "a/b"}, "name"),
        ({"files": {"int9": ModelFile("m.onnx", "0" * 64, 17)}}, "files.int9"),
        ({"weights": WeightFile("../w.safetensors", "0" * 64)}, "weights.path"),
    ],
)
def test_a_manifest_that_could_not_be_read_is_not_written(
    tmp_path: Path, change: Mapping[str, Any], named: str
) -> None:
    with pytest.raises(ContractError) as caught:
        save_manifest(tmp_path, dataclasses.replace(MANIFEST, **change))
    assert named in str(caught.value)
    assert list(tmp_path.iterdir()) == []
