"""Builds a TensorRT engine for one picture size from a model's ONNX file, or takes it from the cache."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from irvis_runtime.board import memory_mb, read_jetson
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.model_files.checked_files import read_file
from irvis_runtime.model_files.onnx_file import read_onnx

from .cudart import Cudart, Gpu
from .engine_cache import EngineCache
from .tensorrt_api import failure, message_log, one_line, reporting

# From this opset on Q/DQ scales may be FP16, and the project's files of it have their types in the graph.
TYPED_OPSET = 19

_log = logging.getLogger(__name__)
_MAX_MODEL_BYTES = 512 << 20
_MAX_WORKSPACE_BYTES = 1 << 30
_ADVICE = "take another precision or the backend onnxruntime"
_MEMORY_ADVICE = "free some memory (close other programs, add swap) or take the backend onnxruntime"
# A Jetson whose memory runs out while tactics are timed says the first of these.
_OUT_OF_MEMORY = (
    "could not find any implementation",
    "out of memory",
    "outofmemory",
    "could not be allocated",
    "bad_alloc",
)


@dataclass(frozen=True)
class BuildOptions:
    """How engines are built; part of what names them in the cache.

    Attributes:
        optimization_level: TensorRT's builder optimization level, 0 to 5; its default is 3.
        workspace_share: Part of the available memory that tactics may use as their workspace.
    """

    optimization_level: int = 3
    workspace_share: float = 0.25


DEFAULT_OPTIONS = BuildOptions()


@dataclass(frozen=True)
class TensorRtModel:
    """An ONNX file and what its building depends on.

    Attributes:
        path: Where it was read, for messages.
        content: The whole file.
        sha256: Of the content.
        is_typed: Whether FP16 is in the graph.
        is_quantized: Whether it has Q/DQ.
    """

    path: Path
    content: bytes
    sha256: str
    is_typed: bool
    is_quantized: bool


def read_model(path: Path) -> TensorRtModel:
    """Reads a checked ONNX file; ContractError where it cannot be read."""
    summary = read_onnx(path)
    content = read_file(path, "an ONNX file", _MAX_MODEL_BYTES)
    return TensorRtModel(
        path=path,
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        is_typed=dict(summary.opsets).get("", 0) >= TYPED_OPSET,
        is_quantized=("", "QuantizeLinear") in summary.operators,
    )


class EngineBuilder:
    """Makes engines of one model for this GPU; each serves one picture size."""

    def __init__(
        self,
        trt: Any,
        cuda: Cudart,
        model: TensorRtModel,
        cache: EngineCache,
        options: BuildOptions = DEFAULT_OPTIONS,
    ) -> None:
        self._trt, self._cuda, self._model, self._cache, self._options = trt, cuda, model, cache, options
        self._gpu: Gpu = cuda.gpu()
        self._messages = message_log(trt)
        with reporting(self._messages, "start", "`irvis doctor` shows what is wrong with the GPU"):
            self._runtime: Any = trt.Runtime(self._messages)

    def engine(self, size_hw: tuple[int, int]) -> Any:
        """Returns the engine for pictures of (H, W), from the cache or built, which takes minutes."""
        engine = self.cached_engine(size_hw, self._cache)
        if engine is not None:
            return engine
        plan = self._build(size_hw)
        engine = self._loaded(plan)
        if engine is None:
            raise failure(self._messages.errors, self._loading(), _MEMORY_ADVICE)
        self._cache.store(self._identity(size_hw), plan)
        return engine

    def keep(self, size_hw: tuple[int, int]) -> None:
        """Has the cache hold the engine for pictures of (H, W); BackendError where it cannot."""
        self.engine(size_hw)
        if self._cache.load(self._identity(size_hw)) is None:
            raise BackendError(
                f"{self._cache.folder}: cannot keep the engine that was built; free some space"
            )

    def cached_engine(self, size_hw: tuple[int, int], cache: EngineCache) -> Any | None:
        """Returns the engine for pictures of (H, W) that a cache has; None where it has none that loads.

        BackendError where memory is short for it: a good engine is not built again, which takes more.
        """
        plan = cache.load(self._identity(size_hw))
        if plan is None:
            return None
        engine = self._loaded(plan)
        if engine is None:
            if _is_out_of_memory(self._messages.errors):
                raise failure(self._messages.errors, self._loading(), _MEMORY_ADVICE)
            _log.warning("the cached engine does not load and is built again: %s", self._last_error())
        return engine

    def _loaded(self, plan: bytes) -> Any | None:
        with reporting(self._messages, self._loading(), _MEMORY_ADVICE):
            return self._runtime.deserialize_cuda_engine(plan)

    def _loading(self) -> str:
        return f"load the engine of {self._model.path.name}"

    def _build(self, size_hw: tuple[int, int]) -> bytes:
        """Returns the plan; tries once more with half the workspace where memory ran out."""
        size = f"{size_hw[1]}x{size_hw[0]}"
        _log.warning(
            "building a TensorRT engine for %s pictures: minutes on a board, once for each size", size
        )
        action = f"build an engine of {self._model.path.name} for {size} pictures"
        with reporting(self._messages, action, _ADVICE):
            builder = self._trt.Builder(self._messages)
            network = builder.create_network(self._network_flags())
            # The network refers to the parser's memory, so the parser lives until the engine is built.
            parser = self._trt.OnnxParser(network, self._messages)
            if not parser.parse(self._model.content):
                raise self._refusal(_parser_errors(parser) or list(self._messages.errors))
            workspace_bytes = self._workspace_bytes()
            plan = self._serialize(builder, network, size_hw, workspace_bytes)
            is_out_of_memory = plan is None and _is_out_of_memory(self._messages.errors)
            if is_out_of_memory:
                _log.warning(
                    "the engine needs too much memory, trying half the workspace: %s", self._last_error()
                )
                plan = self._serialize(builder, network, size_hw, workspace_bytes // 2)
            if plan is None:
                raise failure(self._messages.errors, action, _MEMORY_ADVICE if is_out_of_memory else _ADVICE)
        return plan

    def _serialize(
        self, builder: Any, network: Any, size_hw: tuple[int, int], workspace_bytes: int
    ) -> bytes | None:
        trt = self._trt
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
        config.builder_optimization_level = self._options.optimization_level
        for name in self._precision_flags():
            config.set_flag(getattr(trt.BuilderFlag, name))
        # On by default, with FP16's 10 bits of mantissa: what a file of any precision leaves in FP32 was left
        # there because fewer bits cost too much, and "fp32" has to be what ONNX Runtime computes.
        config.clear_flag(trt.BuilderFlag.TF32)
        profile = builder.create_optimization_profile()
        shape = (1, 1, *size_hw)
        for index in range(network.num_inputs):
            port = network.get_input(index)
            if -1 in tuple(port.shape):
                profile.set_shape(port.name, shape, shape, shape)
        config.add_optimization_profile(profile)
        self._set_timing_cache(config)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            return None
        timing = config.get_timing_cache()
        if timing is not None:
            self._cache.store(self._timing_identity(), bytes(timing.serialize()))
        return bytes(plan)

    def _set_timing_cache(self, config: Any) -> None:
        """Gives the builder the times of earlier builds, or an empty cache where TensorRT refuses them."""
        saved = self._cache.load(self._timing_identity())
        for content in ([saved] if saved else []) + [b""]:
            timing = config.create_timing_cache(content)
            if timing is not None and config.set_timing_cache(timing, False):
                return

    def _is_strong(self) -> bool:
        """Whether the graph's types rule: always where precision flags are gone (TensorRT 11)."""
        return self._model.is_typed or not hasattr(self._trt.BuilderFlag, "FP16")

    def _network_flags(self) -> int:
        return 1 << int(self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if self._is_strong() else 0

    def _precision_flags(self) -> tuple[str, ...]:
        return ("FP16", "INT8") if self._model.is_quantized and not self._is_strong() else ()

    def _workspace_bytes(self) -> int:
        """A share of the memory that is free now: the system's on a board, which the GPU shares."""
        free_bytes = available_bytes() if self._gpu.is_integrated else 0
        return workspace_bytes(free_bytes or self._cuda.free_bytes(), self._options.workspace_share)

    def _refusal(self, lines: Sequence[str]) -> BackendError | ContractError:
        """ContractError, as this file will be refused again, unless memory was short."""
        if _is_out_of_memory(lines):
            return failure(lines, f"read {self._model.path}", _MEMORY_ADVICE)
        return ContractError(str(failure(lines, f"read {self._model.path}", _ADVICE)))

    def _last_error(self) -> str:
        return one_line(self._messages.errors[-1]) if self._messages.errors else "TensorRT does not say why"

    def _platform(self) -> dict[str, object]:
        gpu, jetson = self._gpu, read_jetson()
        return {
            "tensorrt": str(self._trt.__version__),
            "cuda": gpu.cuda,
            "driver": gpu.driver,
            "gpu": gpu.name,
            "sm": gpu.sm,
            "multiprocessors": gpu.multiprocessors,
            # An Orin NX and an Orin Nano of 8 GB are one GPU to CUDA, and their clocks are not alike.
            "board": None if jetson is None else jetson.model,
        }

    def _identity(self, size_hw: tuple[int, int]) -> dict[str, object]:
        typing = "strong" if self._is_strong() else "weak"
        options = {**asdict(self._options), "typing": typing, "flags": list(self._precision_flags())}
        options["tf32"] = False
        return {
            "kind": "engine",
            "onnx_sha256": self._model.sha256,
            **self._platform(),
            "size_hw": list(size_hw),
            "options": options,
        }

    def _timing_identity(self) -> dict[str, object]:
        jetson = read_jetson()
        power_mode = None if jetson is None else jetson.power_mode
        return {"kind": "timing", **self._platform(), "power_mode": power_mode}


def _is_out_of_memory(lines: Iterable[str]) -> bool:
    text = "\n".join(lines).lower()
    return any(sign in text for sign in _OUT_OF_MEMORY)


def available_bytes() -> int:
    """Returns the system's memory that programs may still take; 0 where it does not say."""
    return (memory_mb(field="MemAvailable") or 0) << 20


def workspace_bytes(free_bytes: int, share: float = DEFAULT_OPTIONS.workspace_share) -> int:
    """Returns the workspace that a build may take of free memory."""
    return min(int(free_bytes * share), _MAX_WORKSPACE_BYTES)


def _parser_errors(parser: Any) -> list[str]:
    """The first error, which names the node; those after it follow from it."""
    return [str(parser.get_error(0))] if parser.num_errors else []
