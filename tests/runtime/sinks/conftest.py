"""Shared by the tests that need GStreamer."""

from __future__ import annotations

from types import ModuleType

import pytest

from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import gst


@pytest.fixture(scope="session")
def gstreamer() -> ModuleType:
    """The module Gst; the test is skipped where GStreamer or its Python binding is absent."""
    try:
        return gst()
    except BackendError as error:
        pytest.skip(f"GStreamer is not here: {error}")
