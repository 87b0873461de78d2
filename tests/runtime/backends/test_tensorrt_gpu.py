"""The shipped model on a real GPU with TensorRT, against ONNX Runtime; it has not run yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from irvis_runtime import Fuser, default_model_dir
from irvis_runtime.backends.tensorrt import why_not

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(why_not()), reason="needs TensorRT and a CUDA device"),
]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_picture_is_that_of_onnx_runtime(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tolerances: Mapping[str, float]
) -> None:
    monkeypatch.setenv("IRVIS_CACHE", str(tmp_path))
    generator = np.random.default_rng(7)
    with (
        Fuser(default_model_dir(), "fp32", "onnxruntime") as reference,
        Fuser(default_model_dir(), precision, "tensorrt") as fuser,
    ):
        for size in ((480, 640), (480, 640), (97, 131)):
            infrared, visible = generator.integers(0, 256, (2, *size), np.uint8)
            wanted = reference.fuse(infrared, visible).astype(int)
            difference = np.abs(fuser.fuse(infrared, visible).astype(int) - wanted)
            assert difference.max() <= tolerances[f"{precision}_max_lsb"]
