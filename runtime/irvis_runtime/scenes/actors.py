"""What moves: where each vehicle and person is at a time, and what it looks like from the camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .faces import Faces
from .people import Figure
from .vehicles import Body

Point = tuple[float, float, float]


class Actor(Protocol):
    """Something that moves through the scene."""

    @property
    def label(self) -> str:
        """What it is, as in detection data sets: "person", "car", "van" or "bus"."""

    @property
    def is_solid(self) -> bool:
        """Whether its faces are the outside of a body, so that those that face away are hidden."""

    def faces(self, time_s: float, eye_3: NDArray[np.floating]) -> Faces:
        """Its faces at a time, lit."""

    def ground(self, time_s: float) -> tuple[Point, float, float, float]:
        """Its place on the ground, its heading, and its width and length there."""

    def lamps(self, time_s: float) -> tuple[VehicleLamp, ...]:
        """Its lamps that are on."""


@dataclass(frozen=True)
class VehicleLamp:
    """A headlight or a tail light."""

    position_m: NDArray[np.float64]
    towards: NDArray[np.float64]
    """Unit vector along its beam."""
    colour_bgr: Point
    power: float
    """1 for a headlight."""


@dataclass(frozen=True)
class Way:
    """A line walked or driven at a steady speed, again from its start after its end."""

    start_m: Point
    end_m: Point
    speed_m_s: float
    head_start_m: float
    bend_per_m: float = 0.0
    """The road's: x gains bend * z**2."""

    @property
    def length_m(self) -> float:
        """From start to end, without the bend."""
        return float(np.linalg.norm(np.subtract(self.end_m, self.start_m)))

    def at(self, time_s: float) -> tuple[Point, float, float]:
        """Position, heading and the way gone since the start, at a time."""
        gone_m = (self.head_start_m + self.speed_m_s * time_s) % self.length_m
        ahead = np.subtract(self.end_m, self.start_m) / self.length_m
        x, y, z = (float(value) for value in np.asarray(self.start_m) + ahead * gone_m)
        slope = ahead[0] + 2 * self.bend_per_m * z * ahead[2]
        return (x + self.bend_per_m * z * z, y, z), float(np.arctan2(slope, ahead[2])), gone_m


@dataclass(frozen=True)
class Vehicle:
    """A vehicle on its way; `shape` stands at the origin, lit for the heading at which the way starts."""

    label: str
    body: Body
    shape: Faces
    way: Way
    lights_on: bool
    is_solid: bool = True

    def faces(self, time_s: float, eye_3: NDArray[np.floating]) -> Faces:
        """The body where it is now."""
        position, heading, _ = self.way.at(time_s)
        return self.shape.placed(position, heading)

    def ground(self, time_s: float) -> tuple[Point, float, float, float]:
        """Centre, heading, width and length of the place it covers."""
        position, heading, _ = self.way.at(time_s)
        return position, heading, self.body.width_m, self.body.length_m

    def lamps(self, time_s: float) -> tuple[VehicleLamp, ...]:
        """Two white ones ahead, two red ones behind, if they are on."""
        if not self.lights_on:
            return ()
        (x, y, z), heading, _ = self.way.at(time_s)
        ahead = np.array([np.sin(heading), 0, np.cos(heading)])
        right = np.array([np.cos(heading), 0, -np.sin(heading)]) * self.body.width_m * 0.31
        foot, half = np.array([x, y, z]), self.body.length_m / 2 + 0.05
        front = foot + [0, self.body.shoulder_m[-1] - 0.07, 0] + ahead * half
        rear = foot + np.array([0, self.body.shoulder_m[0] - 0.02, 0]) - ahead * half
        white, red = (0.88, 0.97, 1.0), (0.10, 0.10, 1.0)
        return (
            VehicleLamp(front - right, ahead, white, 1.0),
            VehicleLamp(front + right, ahead, white, 1.0),
            VehicleLamp(rear - right, -ahead, red, 0.18),
            VehicleLamp(rear + right, -ahead, red, 0.18),
        )


@dataclass(frozen=True)
class Walker:
    """A person on their way."""

    figure: Figure
    way: Way
    label: str = "person"
    is_solid: bool = False

    def faces(self, time_s: float, eye_3: NDArray[np.floating]) -> Faces:
        """The figure in its stride."""
        position, heading, walked_m = self.way.at(time_s)
        return self.figure.faces(walked_m, position, heading, eye_3)

    def ground(self, time_s: float) -> tuple[Point, float, float, float]:
        """Where the feet are."""
        position, heading, _ = self.way.at(time_s)
        return position, heading, 0.5, 0.5

    def lamps(self, time_s: float) -> tuple[VehicleLamp, ...]:
        """None."""
        return ()
