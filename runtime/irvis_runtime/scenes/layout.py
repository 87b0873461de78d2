"""A scene under construction: how single trees, buildings, vehicles and people are added."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .actors import Actor, Point, Vehicle, Walker, Way
from .building import BRICKS, PLASTERS, Building
from .canvas import PaintSurface
from .faces import Faces
from .noise import Noise
from .people import Figure, random_person
from .plants import LEAVES, Tree
from .scene import Scene
from .vehicles import BODIES, PAINTS, lit, vehicle_faces
from .view import View
from .weather import Lamp, random_weather
from .world import Ridge, Slab, World


class Layout:
    """A place to be filled, then turned into a World."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.rng = np.random.default_rng([scene.seed, 2])
        self.weather = random_weather(scene.kind, np.random.default_rng([scene.seed, 3]))
        self.noise = Noise(np.random.default_rng([scene.seed, 4]))
        self.buildings: list[Building] = []
        self.trees: list[Tree] = []
        self.slabs: list[Slab] = []
        self.things: list[Faces] = []
        self.parked: list[Faces] = []
        self.actors: list[Actor] = []
        self.lamps: list[Lamp] = []
        self.leaf_bgr = LEAVES[int(self.rng.integers(len(LEAVES)))]
        self.is_winter = bool(self.weather.air_c < 4 and self.rng.random() < 0.7)
        self.view: View
        self.eye: NDArray[np.float64]

    def look(
        self, position_m: Point, pitch_rad: float, yaw_rad: float, focal_share: float, margin_share: float
    ) -> None:
        """Sets up the camera; its focal length and its canvas's margin are shares of the longer side."""
        scene = self.scene
        side = max(scene.width_px, scene.height_px)
        margin = max(4, round(margin_share * side))
        size = (scene.height_px + 2 * margin, scene.width_px + 2 * margin)
        self.view = View(*size, focal_share * side, position_m, pitch_rad, yaw_rad)
        self.eye = np.array(position_m)

    def px_per_m(self, x_m: float, z_m: float) -> float:
        """How large a metre on the ground at (x, z) is in a canvas of twice the picture's resolution."""
        away_m = float(np.linalg.norm(self.eye - [x_m, 0, z_m]))
        return 2 * self.view.focal_px / max(away_m, 1.0)

    def world(self, ground: PaintSurface, ridges: list[Ridge], drift_px_s: float) -> World:
        """The finished place; its lamps join the weather only if the lights are on."""
        lamps = tuple(self.lamps) if self.weather.lights_on else ()
        return World(
            weather=replace(self.weather, lamps=lamps),
            view=self.view,
            noise=self.noise,
            ground=ground,
            ridges=ridges,
            buildings=self.buildings,
            trees=self.trees,
            slabs=self.slabs,
            things=self.things,
            parked=self.parked,
            actors=self.actors,
            drift_px_s=drift_px_s,
        )

    def add_tree(self, x_m: float, z_m: float, height_m: float) -> None:
        """A tree of this place's kind, now and then a conifer; none that would stand in front of the lens."""
        rng = self.rng
        conifer = bool(rng.random() < 0.15)
        spread = height_m * float(rng.uniform(0.2, 0.24) if conifer else rng.uniform(0.28, 0.40))
        seed = int(rng.integers(1 << 30))
        if np.linalg.norm(self.eye - [x_m, height_m * 0.6, z_m]) < 7 + spread:
            return
        if abs(x_m - self.eye[0]) < 0.5 * height_m and 0 < z_m - self.eye[2] < 14:
            return
        leaf = LEAVES[1] if conifer else self.leaf_bgr
        self.trees.append(
            Tree(x_m, z_m, height_m, spread, leaf, self.is_winter and not conifer, conifer, seed)
        )

    def block(self, side: int, front_m: float, z_m: float, length_m: float, height_m: float) -> Building:
        """A building with a flat roof, its front `front_m` to the left (side -1) or right (1) of x = 0."""
        rng = self.rng
        brick, glass = rng.random() < 0.35, rng.random() < 0.2
        colour = (BRICKS if brick else PLASTERS)[int(rng.integers(3 if brick else len(PLASTERS)))]
        width_m, floor_m = float(rng.uniform(10, 18)), float(rng.uniform(2.9, 3.6))
        return Building(
            x_m=front_m if side > 0 else -front_m - width_m,
            z_m=z_m,
            width_m=width_m,
            length_m=length_m,
            height_m=round(height_m / floor_m) * floor_m + 0.9,
            roof_m=0.0,
            wall_bgr=colour,
            is_brick=brick and not glass,
            is_glass=glass,
            has_shops=bool(rng.random() < 0.65),
            floor_m=floor_m,
            bay_m=float(rng.uniform(1.7, 3.2)),
            lit_share=float(rng.uniform(0.05, 0.4)),
            window_share=(0.9, 0.8)
            if glass
            else (float(rng.uniform(0.4, 0.62)), float(rng.uniform(0.42, 0.58))),
            warmth_c=float(rng.normal(0.6, 0.8)),
            salt=int(rng.integers(1 << 16)),
        )

    def house(
        self, side: int, front_m: float, z_m: float, width_m: float, length_m: float, roof_m: float
    ) -> Building:
        """A dwelling of two floors with a gabled roof."""
        block = self.block(side, front_m, z_m, length_m, float(self.rng.uniform(5.2, 7.2)))
        return replace(
            block,
            width_m=width_m,
            x_m=front_m if side > 0 else -front_m - width_m,
            roof_m=roof_m,
            has_shops=False,
            is_glass=False,
            window_share=(0.5, 0.5),
            bay_m=2.9,
            floor_m=2.8,
        )

    def vehicle(self, engine: float, heading_rad: float, lights_on: bool) -> tuple[Faces, str]:
        """A random vehicle at the origin, lit for a heading, and its label."""
        shares = [0.36, 0.26, 0.22, 0.11, 0.05] if engine else [0.4, 0.3, 0.2, 0.1, 0.0]
        kind = str(self.rng.choice(list(BODIES), p=shares))
        paint = PAINTS[int(self.rng.integers(len(PAINTS)))]
        shape = vehicle_faces(kind, paint, engine, self.weather, lights_on)
        turned = lit(shape.placed((0, 0, 0), heading_rad), self.weather)
        return replace(turned, corners_n43=shape.corners_n43, anchor_n3=shape.anchor_n3), kind

    def park(self, x_m: float, z_m: float, heading_rad: float, engine: float = 0.0) -> None:
        """A vehicle that stays; a warm engine has only just been stopped, or idles."""
        shape, _ = self.vehicle(engine, heading_rad, bool(engine > 0.8 and self.weather.lights_on))
        self.parked.append(shape.placed((x_m, 0.0, z_m), heading_rad))

    def drive(self, way: Way) -> None:
        """A vehicle that drives along `way`."""
        _, heading, _ = way.at(0.0)
        shape, kind = self.vehicle(float(self.rng.uniform(0.5, 1.0)), heading, self.weather.lights_on)
        label = kind if kind in ("van", "bus") else "car"
        self.actors.append(Vehicle(label, BODIES[kind], shape, way, self.weather.lights_on))

    def walk(self, start_m: Point, end_m: Point, head_start_m: float, bend_per_m: float = 0.0) -> None:
        """A person who walks from one point to the other."""
        speed_m_s = float(self.rng.uniform(0.9, 1.6))
        figure = Figure(random_person(self.rng, self.weather), self.weather)
        self.actors.append(Walker(figure, Way(start_m, end_m, speed_m_s, head_start_m, bend_per_m)))
