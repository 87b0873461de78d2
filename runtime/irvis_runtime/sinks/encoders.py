"""Which encoder works here: one that exists and encodes two frames.

All take NV12 and are held to a profile of 4:2:0 and 8 bit that hardware decoders have: left to itself,
x264enc also makes High 4:4:4. The nvv4l2 encoders have never run: no Jetson was at hand. Their elements exist
on an Orin Nano too, which has no encoder, and fail there when they start; hence the trial.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import (
    INSTALL,
    Description,
    Platform,
    build_pipeline,
    gst,
    start_pipeline,
    stop_pipeline,
    stop_reason,
)

Codec = Literal["h264", "h265"]

KEYFRAME_INTERVAL = 30
TRIAL_S = 10


@dataclass(frozen=True)
class Encoding:
    """What an output is encoded as; `keyframe_interval` in pictures."""

    bitrate_kbps: int
    codec: Codec = "h264"
    keyframe_interval: int = KEYFRAME_INTERVAL

    def choose(self, platform: Platform, size_hw: tuple[int, int]) -> str:
        """Returns the launch text of the encoder; BackendError where none works."""
        return choose_encoder(platform, self.bitrate_kbps, size_hw, self.codec, self.keyframe_interval)


def encoder_launches(platform: Platform, encoding: Encoding) -> dict[str, str]:
    """Returns the encoders to try, best first: element -> launch text from NV12 to the codec."""
    rate_kbps, interval = encoding.bitrate_kbps, encoding.keyframe_interval
    hardware = (
        f"nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nvv4l2{encoding.codec}enc maxperf-enable=1 "
        f"insert-sps-pps=1 iframeinterval={interval} idrinterval={interval} bitrate={1000 * rate_kbps}"
    )
    if encoding.codec == "h264":
        # nvv4l2h264enc's profile 4 is High; of NV12 it makes nothing but 4:2:0.
        # ultrafast has no tool beyond the constrained baseline, which every decoder takes.
        baseline = " ! video/x-h264,profile=constrained-baseline"
        jetson = {"nvv4l2h264enc": f"{hardware} profile=4"}
        software = {
            "x264enc": (
                f"x264enc tune=zerolatency speed-preset=ultrafast bitrate={rate_kbps} "
                f"key-int-max={interval}{baseline}"
            ),
            "openh264enc": (
                "videoconvert ! video/x-raw,format=I420 ! openh264enc complexity=low rate-control=bitrate "
                f"bitrate={1000 * rate_kbps} gop-size={interval}{baseline}"
            ),
        }
    else:
        main = " ! video/x-h265,profile=main"
        jetson = {"nvv4l2h265enc": hardware}
        software = {
            "x265enc": (
                "videoconvert ! video/x-raw,format=I420 ! x265enc tune=zerolatency speed-preset=ultrafast "
                f"bitrate={rate_kbps} key-int-max={interval}{main}"
            )
        }
    return {**jetson, **software} if platform == "jetson" else software


# What works is remembered, what fails is not: an encoder may be busy, and is tried again with its output.
@lru_cache(maxsize=32)
def choose_encoder(
    platform: Platform,
    bitrate_kbps: int,
    size_hw: tuple[int, int],
    codec: Codec = "h264",
    keyframe_interval: int = KEYFRAME_INTERVAL,
) -> str:
    """Returns the launch text of the first encoder that works at this size; BackendError where none does."""
    encoding = Encoding(bitrate_kbps, codec, keyframe_interval)
    failures = []
    for element, launch in encoder_launches(platform, encoding).items():
        failure = _trial_failure(element, launch, size_hw)
        if failure is None:
            return launch
        failures.append(f"{element}: {failure}")
    name = "H.264" if codec == "h264" else "H.265"
    raise BackendError(
        f"no {name} encoder works at {size_hw[1]}x{size_hw[0]} ({'; '.join(failures)}); {INSTALL}"
    )


def _trial_failure(element: str, launch: str, size_hw: tuple[int, int]) -> str | None:
    """Encodes two frames; returns why that failed, or None."""
    Gst = gst()
    if Gst.ElementFactory.find(element) is None:
        return "is not installed"
    caps = f"video/x-raw,format=NV12,width={size_hw[1]},height={size_hw[0]},framerate=30/1"
    trial = f"videotestsrc num-buffers=2 ! {caps} ! {launch} ! appsink name=encoded sync=false"
    try:
        pipeline = build_pipeline(Description(trial))
        start_pipeline(pipeline, time.monotonic_ns())
        # An encoder may swallow what it cannot encode and still end without an error, as openh264enc does.
        encoded = pipeline.get_by_name("encoded").try_pull_sample(TRIAL_S * Gst.SECOND)
        reason = stop_reason(pipeline)
        stop_pipeline(pipeline)
    except BackendError as error:
        return str(error)
    return None if encoded is not None else reason or f"gave nothing in {TRIAL_S} s"
