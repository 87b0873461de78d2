"""A stand-in for libcudart as ctypes loads it: work is queued and runs when the stream is waited for."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

CAPTURE_INVALID = 901
OUT_OF_MEMORY = 2
_FIRST_DEVICE_ADDRESS = 0x7F00_0000_0000
_PAGE = 0x0100_0000


class Function:
    """A function of the library; it insists on declared argument types and on their number."""

    def __init__(self, cuda: FakeCuda, name: str, body: Callable[..., int | None]) -> None:
        self._cuda, self._name, self._body = cuda, name, body
        self.argtypes: tuple[Any, ...] | None = None
        self.restype: Any = None

    def __call__(self, *arguments: Any) -> int:
        assert self.argtypes is not None, f"{self._name}: argtypes were not declared"
        assert self.restype is ctypes.c_int, self._name
        assert len(arguments) == len(self.argtypes), self._name
        for argument, kind in zip(arguments, self.argtypes, strict=True):
            kind.from_param(argument)
        self._cuda.calls.append(self._name)
        if self._name in self._cuda.failures:
            if self._name == "cudaStreamEndCapture":
                self._cuda.recording.clear()
            return self._cuda.failures[self._name]
        plain = [getattr(argument, "_obj", argument) for argument in arguments]
        return self._body(*plain) or 0


class ErrorText:
    argtypes: tuple[Any, ...] | None = None
    restype: Any = None

    def __call__(self, code: int) -> bytes:
        assert self.restype is ctypes.c_char_p
        return {OUT_OF_MEMORY: b"out of memory", CAPTURE_INVALID: b"capture invalid"}.get(
            code, b"unknown error"
        )


class FakeCuda:
    """Device 0 and its memory. `failures`: function name -> error code that it returns from now on."""

    def __init__(self, is_integrated: bool = True, name: bytes = b"Orin", devices: int = 1) -> None:
        self.attributes = {16: 8, 18: int(is_integrated), 75: 8, 76: 7}
        self.name, self.devices = name, devices
        self.runtime_version, self.driver_version = 12060, 12060
        self.free, self.calls, self.failures = 8 << 30, list[str](), dict[str, int]()
        self.memory: dict[int, tuple[Any, str]] = {}
        self.pending: dict[int, list[Callable[[], None]]] = {}
        self.recording: dict[int, list[Callable[[], None]]] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.executables: dict[int, list[Callable[[], None]]] = {}
        self.events: dict[int, int | None] = {}
        """Event -> the stream whose work has yet to reach it."""
        self._handles = 1
        self.cudaGetErrorString = ErrorText()
        for attribute in dir(FakeCuda):
            if attribute.startswith("do_"):
                name_ = "cuda" + attribute[3:]
                setattr(self, name_, Function(self, name_, getattr(self, attribute)))

    def held(self) -> dict[str, int]:
        """What was not freed, by kind."""
        kinds = [kind for _, kind in self.memory.values()]
        return {
            **{kind: kinds.count(kind) for kind in ("host", "device")},
            "streams": len(self.pending),
            "events": len(self.events),
            "graphs": len(self.graphs),
            "executables": len(self.executables),
        }

    def view(self, address: int, kinds: tuple[str, ...] = ("device", "mapped")) -> Any:
        """The memory behind an address that the device may use."""
        buffer, kind = self.memory[address]
        assert kind in kinds, f"an address of kind {kind} was given to the device"
        return buffer

    def queue(self, stream: int, work: Callable[[], None]) -> None:
        assert stream in self.pending, "work was queued on a stream that does not exist"
        self.recording.get(stream, self.pending[stream]).append(work)

    def _new(self) -> int:
        self._handles += 1
        return self._handles

    def _device_address(self) -> int:
        return _FIRST_DEVICE_ADDRESS + self._new() * _PAGE

    def do_GetLastError(self) -> None: ...

    def do_GetDeviceCount(self, count: Any) -> None:
        count.value = self.devices

    def do_DeviceGetAttribute(self, value: Any, attribute: int, device: int) -> None:
        assert device == 0
        value.value = self.attributes[attribute]

    def do_GetDeviceProperties(self, properties: Any, device: int) -> None:
        # The largest of the known releases writes about this much.
        ctypes.memset(properties, 0xFF, 1032)
        ctypes.memmove(properties, self.name + b"\0", len(self.name) + 1)

    def do_RuntimeGetVersion(self, version: Any) -> None:
        version.value = self.runtime_version

    def do_DriverGetVersion(self, version: Any) -> None:
        version.value = self.driver_version

    def do_MemGetInfo(self, free: Any, total: Any) -> None:
        free.value, total.value = self.free, self.free

    def do_HostAlloc(self, pointer: Any, size: int, flags: int) -> None:
        assert flags == 2, "host memory must be mapped"
        buffer = ctypes.create_string_buffer(size)
        pointer.value = ctypes.addressof(buffer)
        self.memory[pointer.value] = (buffer, "host")

    def do_HostGetDevicePointer(self, pointer: Any, host: int, flags: int) -> None:
        pointer.value = self._device_address()
        self.memory[pointer.value] = (self.memory[host][0], "mapped")

    def do_FreeHost(self, host: int) -> None:
        buffer, kind = self.memory.pop(host)
        assert kind == "host"
        self.memory = {key: entry for key, entry in self.memory.items() if entry[0] is not buffer}

    def do_Malloc(self, pointer: Any, size: int) -> None:
        pointer.value = self._device_address()
        self.memory[pointer.value] = (ctypes.create_string_buffer(size), "device")

    def do_Free(self, device: int) -> None:
        assert self.memory.pop(device)[1] == "device"

    def do_MemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        kinds = {1: ("device", "host"), 2: ("host", "device")}[kind]
        ends = [self.view(address, (end,)) for address, end in zip((target, source), kinds, strict=True)]
        assert all(len(end) == size for end in ends)

        def copy() -> None:
            ctypes.memmove(ends[0], ends[1], size)

        self.queue(stream, copy)

    def do_StreamCreateWithFlags(self, stream: Any, flags: int) -> None:
        assert flags == 1, "the stream must not wait for the default one"
        stream.value = self._new()
        self.pending[stream.value] = []

    def do_StreamDestroy(self, stream: int) -> None:
        del self.pending[stream]

    def do_StreamSynchronize(self, stream: int) -> None:
        assert stream not in self.recording, "a stream that records cannot be waited for"
        while self.pending[stream]:
            self.pending[stream].pop(0)()

    def do_EventCreateWithFlags(self, event: Any, flags: int) -> None:
        assert flags == 3, "who waits must sleep, and nothing asks for times"
        event.value = self._new()
        self.events[event.value] = None

    def do_EventRecord(self, event: int, stream: int) -> None:
        assert stream not in self.recording
        self.events[event] = stream
        self.queue(stream, lambda: self.events.__setitem__(event, None))

    def do_EventSynchronize(self, event: int) -> None:
        """Runs the stream's work up to the event and nothing after it."""
        while (stream := self.events[event]) is not None:
            self.pending[stream].pop(0)()

    def do_EventDestroy(self, event: int) -> None:
        del self.events[event]

    def do_StreamBeginCapture(self, stream: int, mode: int) -> None:
        assert mode == 1, "other threads' allocations must not break the capture"
        assert not self.pending[stream], "warm up and wait before a capture"
        self.recording[stream] = []

    def do_StreamEndCapture(self, stream: int, graph: Any) -> None:
        graph.value = self._new()
        self.graphs[graph.value] = self.recording.pop(stream)

    def do_GraphInstantiateWithFlags(self, executable: Any, graph: int, flags: int) -> None:
        assert flags == 0
        executable.value = self._new()
        self.executables[executable.value] = list(self.graphs[graph])

    def do_GraphDestroy(self, graph: int) -> None:
        del self.graphs[graph]

    def do_GraphLaunch(self, executable: int, stream: int) -> None:
        for work in self.executables[executable]:
            self.queue(stream, work)

    def do_GraphExecDestroy(self, executable: int) -> None:
        del self.executables[executable]
