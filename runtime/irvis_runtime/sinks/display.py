"""display://: a window, or the whole screen of a console; the first element that opens a display here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import Description, Platform, build_pipeline, error_text, gst
from irvis_runtime.rig import OutputConfig
from irvis_runtime.uri import Uri

from .outlet import Sink
from .picture import Picture
from .pipeline import APPSRC, LIVE_PICTURES, PipelineOutlet

JETSON = "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nv3dsink"


@dataclass(frozen=True)
class DisplaySink:
    """The picture on a display of this machine, each as soon as it is there."""

    uri: str
    stall_s: float
    waiting_pictures: int = LIVE_PICTURES

    def check(self, platform: Platform) -> None:
        """BackendError where no display can be opened."""
        choose_display(platform)

    def open(self, platform: Platform, picture: Picture) -> PipelineOutlet:
        """Opens the window."""
        launch = f"{APPSRC} ! {choose_display(platform)} sync=false qos=false"
        return PipelineOutlet(build_pipeline(Description(launch)), picture)


def make_display(uri: Uri, config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """A window."""
    if uri.location:
        raise ContractError(f"{uri.text}: expected display:// with nothing behind it")
    return DisplaySink(uri.text, config.stall_ms / 1e3)


def choose_display(platform: Platform) -> str:
    """Returns the launch text from NV12 to the first display that opens; BackendError where none does.

    autovideosink is no choice: where there is no display it shows nothing and says nothing.
    """
    failures = []
    for element, launch in display_launches(platform).items():
        failure = _failure(element)
        if failure is None:
            return launch
        failures.append(f"{element}: {failure}")
    raise BackendError(
        f"display://: no display opens here ({'; '.join(failures)}); start a desktop and set DISPLAY or "
        "WAYLAND_DISPLAY (elements: apt-get install gstreamer1.0-x), or take this output out"
    )


def display_launches(platform: Platform) -> dict[str, str]:
    """Returns the elements to try, best first: element -> launch text. nv3dsink has never run."""
    names = ["waylandsink"] if os.environ.get("WAYLAND_DISPLAY") else []
    names += ["xvimagesink", "ximagesink"] if os.environ.get("DISPLAY") else []
    launches = {name: f"videoconvert ! videoscale ! {name}" for name in names or ["kmssink"]}
    return {"nv3dsink": JETSON, **launches} if platform == "jetson" else launches


def _failure(element: str) -> str | None:
    """Has the element open its display and close it again; returns why that failed, or None."""
    Gst = gst()
    sink = Gst.ElementFactory.make(element)
    if sink is None:
        return "is not installed"
    bus = Gst.Bus()
    sink.set_bus(bus)
    change = sink.set_state(Gst.State.READY)
    message = bus.timed_pop_filtered(0, Gst.MessageType.ERROR)
    sink.set_state(Gst.State.NULL)
    if message is not None:
        return error_text(message)
    return "did not open" if change == Gst.StateChangeReturn.FAILURE else None
