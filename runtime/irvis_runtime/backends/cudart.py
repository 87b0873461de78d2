"""The functions of the CUDA runtime that a session needs, through ctypes; every return code is checked."""

from __future__ import annotations

from ctypes import CDLL, byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p, create_string_buffer
from dataclasses import dataclass
from typing import Any

from irvis_runtime.errors import BackendError

NO_DEVICE = "no CUDA device"
LIBRARIES = ("libcudart.so", "libcudart.so.12", "libcudart.so.13", "libcudart.so.11.0")

# Numbers of cudaDeviceAttr, cudaMemcpyKind and the flags, which are the same from CUDA 11 to 13.
_MULTIPROCESSORS, _INTEGRATED, _SM_MAJOR, _SM_MINOR = 16, 18, 75, 76
_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
_HOST_ALLOC_MAPPED = 2
_STREAM_NON_BLOCKING = 1
# cudaEventBlockingSync | cudaEventDisableTiming: who waits sleeps, a board's cores have other work.
_EVENT_FLAGS = 3
# Other threads of the program (GStreamer's elements) may allocate while this one captures.
_CAPTURE_THREAD_LOCAL = 1
# cudaDeviceProp grows from release to release and begins with the name: room for all of them.
_PROPERTIES_BYTES = 16384

_POINTER = c_void_p
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaGetLastError": (),
    "cudaGetDeviceCount": (_POINTER,),
    "cudaDeviceGetAttribute": (_POINTER, c_int, c_int),
    "cudaGetDeviceProperties": (_POINTER, c_int),
    "cudaRuntimeGetVersion": (_POINTER,),
    "cudaDriverGetVersion": (_POINTER,),
    "cudaMemGetInfo": (_POINTER, _POINTER),
    "cudaHostAlloc": (_POINTER, c_size_t, c_uint),
    "cudaHostGetDevicePointer": (_POINTER, c_void_p, c_uint),
    "cudaFreeHost": (c_void_p,),
    "cudaMalloc": (_POINTER, c_size_t),
    "cudaFree": (c_void_p,),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamCreateWithFlags": (_POINTER, c_uint),
    "cudaStreamDestroy": (c_void_p,),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaEventCreateWithFlags": (_POINTER, c_uint),
    "cudaEventRecord": (c_void_p, c_void_p),
    "cudaEventSynchronize": (c_void_p,),
    "cudaEventDestroy": (c_void_p,),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, _POINTER),
    # Not cudaGraphInstantiate, whose arguments changed with CUDA 12.
    "cudaGraphInstantiateWithFlags": (_POINTER, c_void_p, c_ulonglong),
    "cudaGraphDestroy": (c_void_p,),
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaGraphExecDestroy": (c_void_p,),
}


@dataclass(frozen=True)
class Gpu:
    """What an engine depends on besides its model.

    Attributes:
        name: As the driver gives it; all boards of a family share it ("Orin").
        sm: Compute capability, such as "8.7".
        multiprocessors: Tells the boards of a family, and power modes that switch some off, apart.
        is_integrated: Whether it shares the CPU's memory, as on a Jetson.
        cuda: Version of the runtime library, such as "12.6".
        driver: Newest CUDA version that the driver serves.
    """

    name: str
    sm: str
    multiprocessors: int
    is_integrated: bool
    cuda: str
    driver: str


class Cudart:
    """The CUDA runtime; addresses and handles are plain integers. BackendError for every failed call.

    `library`: libcudart as ctypes loads it.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        try:
            for name, arguments in _SIGNATURES.items():
                function = getattr(library, name)
                function.argtypes, function.restype = arguments, c_int
            library.cudaGetErrorString.argtypes = (c_int,)
            library.cudaGetErrorString.restype = c_char_p
        except AttributeError as error:
            raise BackendError(
                f"expected a CUDA runtime of version 11.4 or later, got one without a function ({error}); "
                "install JetPack 6 or later"
            ) from error

    def device_count(self) -> int:
        """Returns the number of CUDA devices."""
        return self._integer("cudaGetDeviceCount")

    def gpu(self) -> Gpu:
        """Returns what the first device is."""
        properties = create_string_buffer(_PROPERTIES_BYTES)
        self._call("cudaGetDeviceProperties", properties, 0)
        return Gpu(
            name=properties.value.decode(errors="replace"),
            sm=f"{self._attribute(_SM_MAJOR)}.{self._attribute(_SM_MINOR)}",
            multiprocessors=self._attribute(_MULTIPROCESSORS),
            is_integrated=bool(self._attribute(_INTEGRATED)),
            cuda=_version(self._integer("cudaRuntimeGetVersion")),
            driver=_version(self._integer("cudaDriverGetVersion")),
        )

    def free_bytes(self) -> int:
        """Returns the device memory that is free."""
        free, total = c_size_t(), c_size_t()
        self._call("cudaMemGetInfo", byref(free), byref(total))
        return free.value

    def allocate_host(self, size_bytes: int) -> int:
        """Returns the address of pinned host memory that the device can map."""
        return self._pointer("cudaHostAlloc", size_bytes, _HOST_ALLOC_MAPPED)

    def device_address(self, host: int) -> int:
        """Returns the device's address of memory from `allocate_host`."""
        return self._pointer("cudaHostGetDevicePointer", host, 0)

    def free_host(self, host: int) -> None:
        """Frees memory from `allocate_host`."""
        self._call("cudaFreeHost", host)

    def allocate_device(self, size_bytes: int) -> int:
        """Returns the address of device memory."""
        return self._pointer("cudaMalloc", size_bytes)

    def free_device(self, device: int) -> None:
        """Frees memory from `allocate_device`."""
        self._call("cudaFree", device)

    def copy_to_device(self, device: int, host: int, size_bytes: int, stream: int) -> None:
        """Queues a copy from pinned host memory to device memory."""
        self._call("cudaMemcpyAsync", device, host, size_bytes, _HOST_TO_DEVICE, stream)

    def copy_to_host(self, host: int, device: int, size_bytes: int, stream: int) -> None:
        """Queues a copy from device memory to pinned host memory."""
        self._call("cudaMemcpyAsync", host, device, size_bytes, _DEVICE_TO_HOST, stream)

    def create_stream(self) -> int:
        """Returns a stream that does not wait for the default one."""
        return self._pointer("cudaStreamCreateWithFlags", _STREAM_NON_BLOCKING)

    def destroy_stream(self, stream: int) -> None:
        """Frees a stream."""
        self._call("cudaStreamDestroy", stream)

    def synchronize(self, stream: int) -> None:
        """Waits for all that was queued on a stream; an error of that work is raised here."""
        self._call("cudaStreamSynchronize", stream)

    def create_event(self) -> int:
        """Returns an event, for which a waiting thread sleeps."""
        return self._pointer("cudaEventCreateWithFlags", _EVENT_FLAGS)

    def record_event(self, event: int, stream: int) -> None:
        """Has the event happen when all that was queued on the stream so far is done."""
        self._call("cudaEventRecord", event, stream)

    def wait_for_event(self, event: int) -> None:
        """Waits until the event has happened; an error of the work before it is raised here."""
        self._call("cudaEventSynchronize", event)

    def destroy_event(self, event: int) -> None:
        """Frees an event."""
        self._call("cudaEventDestroy", event)

    def begin_capture(self, stream: int) -> None:
        """Makes a stream record what is queued instead of running it."""
        self._call("cudaStreamBeginCapture", stream, _CAPTURE_THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """Ends the recording and returns the graph; BackendError where it was broken off."""
        return self._pointer_last("cudaStreamEndCapture", stream)

    def instantiate(self, graph: int) -> int:
        """Returns the executable form of a graph."""
        return self._pointer("cudaGraphInstantiateWithFlags", graph, 0)

    def destroy_graph(self, graph: int) -> None:
        """Frees a graph; its executable form lives on."""
        self._call("cudaGraphDestroy", graph)

    def launch(self, executable: int, stream: int) -> None:
        """Queues all of a graph."""
        self._call("cudaGraphLaunch", executable, stream)

    def destroy_executable(self, executable: int) -> None:
        """Frees the executable form of a graph."""
        self._call("cudaGraphExecDestroy", executable)

    def _attribute(self, number: int) -> int:
        return self._integer("cudaDeviceGetAttribute", number, 0)

    def _integer(self, name: str, *arguments: int) -> int:
        value = c_int()
        self._call(name, byref(value), *arguments)
        return value.value

    def _pointer(self, name: str, *arguments: int) -> int:
        value = c_void_p()
        self._call(name, byref(value), *arguments)
        return value.value or 0

    def _pointer_last(self, name: str, *arguments: int) -> int:
        value = c_void_p()
        self._call(name, *arguments, byref(value))
        return value.value or 0

    def _call(self, name: str, *arguments: Any) -> None:
        code: int = getattr(self._library, name)(*arguments)
        if code == 0:
            return
        # The runtime keeps the error until it is asked, and TensorRT would take it for its own.
        self._library.cudaGetLastError()
        reason = self._library.cudaGetErrorString(code).decode(errors="replace")
        raise BackendError(
            f"{name} failed: {reason} (CUDA error {code}); `irvis doctor` shows what CUDA finds here"
        )


def open_cudart() -> Cudart:
    """Returns the first CUDA runtime that is installed and finds a device; BackendError where none does.

    TensorRT's import may have loaded one from a Python package, which is then found by its name alone.
    """
    reasons = []
    for name in LIBRARIES:
        try:
            cudart = Cudart(CDLL(name))
            if cudart.device_count() > 0:
                return cudart
            reasons.append(f"{name}: no device")
        except OSError:
            reasons.append(f"{name}: not installed")
        except BackendError as error:
            reasons.append(f"{name}: {str(error).partition(';')[0]}")
    raise BackendError(
        f"expected a CUDA device, found none ({'; '.join(reasons)}); install the CUDA runtime and the driver "
        "(JetPack has both) or take the backend onnxruntime"
    )


def has_device() -> bool:
    """Returns whether a CUDA runtime is installed and finds a device; never raises."""
    try:
        open_cudart()
    except BackendError:
        return False
    return True


def _version(number: int) -> str:
    """12060 is "12.6"."""
    return f"{number // 1000}.{number % 1000 // 10}"
