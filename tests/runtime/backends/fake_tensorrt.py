"""A stand-in for the module tensorrt with the names of versions 10.3 and 11.4.

test_tensorrt_names.py compares them with the real bindings. The half that runs is in fake_engine.py.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from typing import Any

MEMBERS: Mapping[str, Mapping[str, str]] = {
    "10.3.0": {
        "NetworkDefinitionCreationFlag": "EXPLICIT_BATCH STRONGLY_TYPED",
        "BuilderFlag": "FP16 BF16 INT8 TF32",
    },
    "11.4.0.106": {
        "NetworkDefinitionCreationFlag": "STRONGLY_TYPED PREFER_AOT_PYTHON_PLUGINS",
        "BuilderFlag": "TF32 EDITABLE_TIMING_CACHE",
    },
}
MEMBERS_OF_ALL = {
    "MemoryPoolType": "WORKSPACE TACTIC_DRAM",
    "TensorIOMode": "NONE INPUT OUTPUT",
    "DataType": "FLOAT HALF INT8 INT32 BOOL UINT8",
}
PORTS: dict[str, tuple[str, tuple[int, ...]]] = {
    "infrared": ("UINT8", (1, 1, -1, -1)),
    "visible": ("UINT8", (1, 1, -1, -1)),
    "context": ("FLOAT", (1, 2, 64, 64)),
    "fused": ("UINT8", (1, 1, -1, -1)),
}


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

    def __init__(self) -> None:
        self._is_started = True

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class FakeTensorRt:
    """The module; `builds` records what was asked for, the other attributes say how calls end."""

    ILogger = ILogger

    def __init__(self, version: str, cuda: Any, runtime: Callable[[Any], Any]) -> None:
        self.__version__, self.cuda, self._runtime, self.ports = version, cuda, runtime, PORTS
        for name, members in {**MEMBERS[version], **MEMBERS_OF_ALL}.items():
            setattr(self, name, enum.IntEnum(name, members.split(), start=0))
        self.logger: Any = None
        self.parse_error = self.load_error = ""
        self.build_errors: list[str] = []
        self.builds: list[dict[str, Any]] = []
        self.loads = 0
        self.is_capture_allowed = True
        self.is_enqueue_allowed = True
        self.is_profile_allowed = True
        self.contexts_left = 100
        self.dtype_of_fused = "UINT8"

    def note(self, line: str) -> None:
        for severity, text in (
            ("VERBOSE", "details"),
            ("WARNING", "it is slow"),
            ("ERROR", line),
            ("INFO", "end"),
        ):
            self.logger.log(getattr(ILogger, severity), text)

    def take_logger(self, logger: Any) -> None:
        assert isinstance(logger, ILogger)
        assert logger._is_started, "ILogger.__init__ was not called"
        assert self.logger in (None, logger), "TensorRT wants one logger in a process"
        self.logger = logger

    def Builder(self, logger: Any) -> Builder:
        self.take_logger(logger)
        return Builder(self)

    def OnnxParser(self, network: Any, logger: Any) -> OnnxParser:
        self.take_logger(logger)
        return OnnxParser(self, network)

    def Runtime(self, logger: Any) -> Any:
        self.take_logger(logger)
        if not self.cuda.devices:
            self.note("CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return self._runtime(self)


class Strict:
    """An object that has no more attributes than the real class has."""

    def __init__(self, trt: FakeTensorRt) -> None:
        self._trt = trt

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        object.__setattr__(self, name, value)


class ITensor(Strict):
    name = ""
    shape: tuple[int, ...] = ()


class INetworkDefinition(Strict):
    _content: bytes | None = None
    _flags: tuple[str, ...] = ()
    num_inputs = 0

    def get_input(self, index: int) -> ITensor:
        tensor = ITensor(self._trt)
        tensor.name = list(PORTS)[index]
        tensor.shape = PORTS[tensor.name][1]
        return tensor


class ParserError(Strict):
    def __str__(self) -> str:
        return (
            f"In node 3 with name: /up/Resize and operator: Resize (importResize):\n{self._trt.parse_error}"
        )


class OnnxParser(Strict):
    num_errors = 0

    def __init__(self, trt: FakeTensorRt, network: INetworkDefinition) -> None:
        super().__init__(trt)
        self._network = network

    def parse(self, model: bytes, path: str | None = None) -> bool:
        assert isinstance(model, bytes)
        if self._trt.parse_error:
            self.num_errors = 1
            return False
        self._network._content = model
        self._network.num_inputs = len(PORTS) - 1
        return True

    def get_error(self, index: int) -> ParserError:
        assert 0 <= index < self.num_errors
        return ParserError(self._trt)


class IOptimizationProfile(Strict):
    def __init__(self, trt: FakeTensorRt) -> None:
        super().__init__(trt)
        self._shapes: dict[str, tuple[int, ...]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        assert -1 in PORTS[input][1], f"{input} has a fixed shape"
        assert tuple(min) == tuple(opt) == tuple(max)
        self._shapes[input] = tuple(opt)


class ITimingCache(Strict):
    _content = b""

    def serialize(self) -> memoryview:
        return memoryview(self._content)


class IBuilderConfig(Strict):
    builder_optimization_level = 3

    def __init__(self, trt: FakeTensorRt) -> None:
        super().__init__(trt)
        self._workspace, self._flags = 0, ["TF32"]
        self._timing: ITimingCache | None = None
        self._profile: IOptimizationProfile | None = None

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert pool.name == "WORKSPACE"
        self._workspace = pool_size

    def set_flag(self, flag: Any) -> None:
        self._flags.append(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self._flags.remove(flag.name)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profile = profile
        return 0

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        if serialized_timing_cache.startswith(b"refused"):
            return None
        timing = ITimingCache(self._trt)
        timing._content = serialized_timing_cache
        return timing

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self._timing = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._timing


class Builder(Strict):
    def create_network(self, flags: int = 0) -> INetworkDefinition:
        known = self._trt.NetworkDefinitionCreationFlag  # type: ignore[attr-defined]
        network = INetworkDefinition(self._trt)
        network._flags = tuple(flag.name for flag in known if flags >> flag & 1)
        return network

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._trt)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile(self._trt)

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> memoryview | None:
        assert network._content is not None
        assert config._profile is not None
        shapes = config._profile._shapes
        assert set(shapes) == {"infrared", "visible"}, "dynamic inputs want a profile"
        assert shapes["infrared"] == shapes["visible"]
        if "STRONGLY_TYPED" in network._flags:
            assert not set(config._flags) - {"TF32"}, "precision flags do not go with strong typing"
        self._trt.builds.append(
            {
                "network": network._flags,
                "flags": config._flags,
                "level": config.builder_optimization_level,
                "workspace": config._workspace,
                "timing": None if config._timing is None else config._timing._content,
                "model": network._content,
            }
        )
        if self._trt.build_errors:
            line = self._trt.build_errors.pop(0)
            if line:
                self._trt.note(line)
            return None
        if config._timing is not None:
            config._timing._content += b"timed;"
        plan = {"version": self._trt.__version__, "shapes": shapes}
        return memoryview(json.dumps(plan).encode())
