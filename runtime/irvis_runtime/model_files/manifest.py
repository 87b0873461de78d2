"""The manifest of a model directory, and its JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from irvis_runtime.errors import ContractError
from irvis_runtime.strict_json import JsonValue, parse, shown, to_json

from .ports import INPUT_PORTS, LUMA, OUTPUT_PORTS, Port

SCHEMA = 1
MANIFEST_NAME = "manifest.json"
PRECISIONS = ("fp32", "fp16", "int8", "int8-trt", "int8-fp16-trt")
ONNX_RUNTIME_PRECISION = "int8"
"""The one whose file no other backend takes."""
MAX_MANIFEST_BYTES = 4 << 20

_ADVICE = "correct it, copy the model again or export it again"
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MODEL_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}\.onnx")
_WEIGHT_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}\.safetensors")
# Per-axis Q/DQ begins with opset 13; 22 is the last that IR version 10 knows.
_OPSETS = (13, 22)
_MAX_MULTIPLE = 256


@dataclass(frozen=True)
class ModelFile:
    """An ONNX file of the model directory.

    Attributes:
        path: File name inside the model directory.
        sha256: Of its bytes, 64 hexadecimal digits.
        opset: Version of the default operator set.
    """

    path: str
    sha256: str
    opset: int


@dataclass(frozen=True)
class WeightFile:
    """The trained weights, as safetensors.

    Attributes:
        path: File name inside the model directory.
        sha256: Of its bytes, 64 hexadecimal digits.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a model directory holds; ports and luma are those of schema 1.

    Attributes:
        name: Of the model: letters, digits, `.`, `_` and `-`.
        files: Precision (see PRECISIONS) -> ONNX file.
        multiple: By which the graph pads H and W, in pixels.
        provenance: Teacher, data, configuration, commit, versions; any JSON.
        measured: Per precision, what was measured; any JSON.
        weights: None where the directory holds only ONNX files.
    """

    name: str
    files: Mapping[str, ModelFile]
    multiple: int
    provenance: Mapping[str, object]
    measured: Mapping[str, object]
    weights: WeightFile | None = None


def manifest_to_json(manifest: Manifest) -> str:
    """Returns the manifest's text; ContractError where `manifest_from_json` could not read it back."""
    where = f"manifest of {shown(manifest.name)}"
    members: dict[str, object] = {
        "schema": SCHEMA,
        "name": manifest.name,
        "ports": {"inputs": _ports_to_json(INPUT_PORTS), "outputs": _ports_to_json(OUTPUT_PORTS)},
        "luma": LUMA,
        "multiple": manifest.multiple,
        "files": {precision: vars(file) for precision, file in manifest.files.items()},
        "provenance": manifest.provenance,
        "measured": manifest.measured,
    }
    if manifest.weights is not None:
        members["weights"] = vars(manifest.weights)
    text = to_json(members, where, _ADVICE)
    manifest_from_json(text, where)
    return text


def manifest_from_json(text: str, where: str) -> Manifest:
    """Returns the manifest in `text`; every error begins with `where` and names the field."""
    if len(text.encode(errors="surrogatepass")) > MAX_MANIFEST_BYTES:
        raise ContractError(f"{where}: expected at most {MAX_MANIFEST_BYTES >> 20} MiB, got more; {_ADVICE}")
    root = parse(text, where, _ADVICE)
    _check_schema(root)
    members = root.members(
        ("schema", "name", "ports", "luma", "multiple", "files", "provenance", "measured"), ("weights",)
    )
    ports = members["ports"].members(("inputs", "outputs"))
    _check_ports(ports["inputs"], INPUT_PORTS)
    _check_ports(ports["outputs"], OUTPUT_PORTS)
    if members["luma"].value != LUMA:
        raise members["luma"].error(repr(LUMA))
    files = {key: _model_file(value) for key, value in members["files"].members((), PRECISIONS).items()}
    _check_paths_differ(members["files"], files)
    return Manifest(
        name=members["name"].text(
            _SLUG, "1 to 64 letters, digits, '.', '_' or '-', with a letter or digit first"
        ),
        files=files,
        multiple=members["multiple"].integer(1, _MAX_MULTIPLE),
        provenance=_free(members["provenance"]),
        measured=_free(members["measured"]),
        weights=_weight_file(members["weights"]) if "weights" in members else None,
    )


def _check_schema(root: JsonValue) -> None:
    """Refuses another schema before its keys are looked at, for they may differ."""
    members = root.mapping()
    schema = members.get("schema", root.child("schema", None))
    if type(schema.value) is not int or schema.value != SCHEMA:
        got = shown(schema.value) if "schema" in members else "nothing"
        raise ContractError(
            f"{schema.where}: schema: expected {SCHEMA}, which this version of irvis reads, got {got}; "
            "update irvis or export the model again"
        )


def _ports_to_json(ports: Sequence[Port]) -> list[dict[str, object]]:
    return [{"name": port.name, "dtype": port.dtype, "shape": list(port.shape)} for port in ports]


def _check_ports(listed: JsonValue, expected: Sequence[Port]) -> None:
    """Raises ContractError unless exactly the expected ports are listed, in any order."""
    by_name = {port.name: port for port in expected}
    names: list[str] = []
    for entry in listed.elements():
        members = entry.members(("name", "dtype", "shape"))
        name = members["name"].value
        if not isinstance(name, str) or name not in by_name or name in names:
            raise members["name"].error(f"each of {', '.join(by_name)} once")
        names.append(name)
        if members["dtype"].value != by_name[name].dtype:
            raise members["dtype"].error(repr(by_name[name].dtype))
        shape = list(by_name[name].shape)
        # true == 1 and 1.0 == 1 in Python, but neither is a size.
        if members["shape"].value != shape or [type(size.value) for size in members["shape"].elements()] != [
            type(size) for size in shape
        ]:
            raise members["shape"].error(str(shape))
    if missing := [name for name in by_name if name not in names]:
        raise listed.error(f"the ports {', '.join(by_name)}", f"none named {' or '.join(missing)}")


def _model_file(entry: JsonValue) -> ModelFile:
    members = entry.members(("path", "sha256", "opset"))
    return ModelFile(
        path=members["path"].text(_MODEL_PATH, "a plain file name that ends in .onnx, without folders"),
        sha256=members["sha256"].text(_SHA256, "64 hexadecimal digits in lower case"),
        opset=members["opset"].integer(*_OPSETS),
    )


def _weight_file(entry: JsonValue) -> WeightFile:
    members = entry.members(("path", "sha256"))
    return WeightFile(
        path=members["path"].text(
            _WEIGHT_PATH, "a plain file name that ends in .safetensors, without folders"
        ),
        sha256=members["sha256"].text(_SHA256, "64 hexadecimal digits in lower case"),
    )


def _check_paths_differ(listed: JsonValue, files: Mapping[str, ModelFile]) -> None:
    seen: dict[str, str] = {}
    for precision, file in files.items():
        if file.path in seen:
            place = listed.child(precision, None).child("path", file.path)
            raise place.error(f"another file than files.{seen[file.path]}.path")
        seen[file.path] = precision


def _free(entry: JsonValue) -> dict[str, object]:
    return {key: member.value for key, member in entry.mapping().items()}
