"""Opens a source as `irvis live` does and prints each of its frames, or why it stopped, as a line of JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from irvis_runtime.cameras.frames import FrameReader
from irvis_runtime.cameras.sources import make_source
from irvis_runtime.gstreamer import build_pipeline, gst, start_pipeline, stop_pipeline, stop_reason


def tell(**values: Any) -> None:
    """Prints one line."""
    sys.stdout.write(json.dumps(values) + "\n")


def main(uri: str, role: str, count: int) -> None:
    """Tells `count` frames."""
    source = make_source(uri, "visible" if role == "visible" else "infrared", "generic")
    pipeline = build_pipeline(source.description)
    base_time_ns = time.monotonic_ns()
    start_pipeline(pipeline, base_time_ns)
    appsink = pipeline.get_by_name("frames")
    while count:
        sample = appsink.try_pull_sample(gst().SECOND // 10)
        if sample is not None:
            frame = FrameReader(base_time_ns).read(sample)
            tell(
                age_ms=(time.monotonic_ns() - frame.time_ns) / 1e6,
                time_ms=(frame.time_ns - base_time_ns) / 1e6,
                format=sample.get_caps().get_structure(0).get_string("format"),
                type=str(frame.luma_hw.dtype),
                shape=frame.luma_hw.shape,
                darkest=int(frame.luma_hw.min()),
                brightest=int(frame.luma_hw.max()),
                has_chroma=frame.chroma is not None,
                is_full_range=frame.is_full_range,
            )
            count -= 1
        elif (reason := stop_reason(pipeline)) is not None:
            tell(reason=reason)
            break
    stop_pipeline(pipeline)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
