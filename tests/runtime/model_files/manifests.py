"""A manifest that is right."""

from __future__ import annotations

from irvis_runtime.contract import Manifest, ModelFile, WeightFile

MANIFEST = Manifest(
    name="irvis-s",
    files={
        "fp32": ModelFile("model.onnx", "0" * 64, 17),
        "int8-trt": ModelFile("model.int8-trt.onnx", "a" * 64, 17),
    },
    multiple=32,
    provenance={"teacher": "LDFusion", "pairs": {"MSRS": 3}, "seeds": [1, 2]},
    measured={"fp32": {"psnr_db": 41.5}},
    weights=WeightFile("student.safetensors", "b" * 64),
)
