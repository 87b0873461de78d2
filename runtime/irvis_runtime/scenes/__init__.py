"""Matching infrared and visible pictures of invented places: for the demo, the test sources and the tests."""

from .files import write_pairs, write_videos
from .renderer import Frame, RawFrame, SceneRenderer, Target
from .scene import KINDS, VIEWPOINTS, Kind, Scene, Viewpoint, random_scene

__all__ = [
    "KINDS",
    "VIEWPOINTS",
    "Frame",
    "Kind",
    "RawFrame",
    "Scene",
    "SceneRenderer",
    "Target",
    "Viewpoint",
    "random_scene",
    "write_pairs",
    "write_videos",
]
