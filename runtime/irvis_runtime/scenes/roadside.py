"""What stands, drives and walks along a street: in a town, in a suburb, in the country."""

from __future__ import annotations

import numpy as np

from . import props
from .actors import Way
from .ground import GRASS, Street
from .layout import Layout
from .plants import LEAVES, hedge_faces


def random_street(setting: str, rng: np.random.Generator) -> Street:
    """The cross-section of a street in a "town", a "suburb" or the "country"."""
    town, country = setting == "town", setting == "country"
    return Street(
        lanes=int(rng.choice([2, 4])) if town else 2,
        lane_m=float(rng.uniform(3.0, 3.6)),
        pavement_m=0.0 if country else float(rng.uniform(2.2, 4.0)),
        bend_per_m=float(rng.uniform(-0.0012, 0.0012)) if country else 0.0,
        crossing_m=float(rng.uniform(11, 20)) if rng.random() < (0.55 if town else 0.2) else -1.0,
        verge="paved" if town else "grass",
        verge_bgr=GRASS if rng.random() < 0.6 else (0.05, 0.16, 0.17),
        salt=int(rng.integers(1 << 16)),
    )


def line_street(layout: Layout, street: Street, setting: str, near_m: float) -> None:
    """Fills both sides from z = `near_m` on, then adds what every street has."""
    for side in (-1, 1):
        if setting == "town":
            _town_side(layout, street, side, near_m)
        elif setting == "suburb":
            _suburb_side(layout, street, side, near_m)
        else:
            _country_side(layout, street, side, near_m)
    _add_lamps(layout, street, setting, near_m)
    _add_signs(layout, street, setting)
    if setting != "country" and street.lanes == 2:
        _add_parked(layout, street, near_m)


def _town_side(layout: Layout, street: Street, side: int, near_m: float) -> None:
    """Blocks wall to wall, a gap with a tree now and then, often an avenue of trees."""
    rng, z_m = layout.rng, near_m - 6.0
    front_m = street.half_m + street.pavement_m + 0.4
    tall_m = float(rng.uniform(9, 26))
    while z_m < 230:
        length_m = float(rng.uniform(10, 26))
        if rng.random() < 0.14 and z_m > 12:
            layout.add_tree(side * (front_m + 3), z_m + 3, 7)
            z_m += float(rng.uniform(5, 10))
            continue
        layout.buildings.append(
            layout.block(side, front_m, z_m, length_m, tall_m * float(rng.uniform(0.6, 1.5)))
        )
        z_m += length_m + (0.0 if rng.random() < 0.75 else 2.5)
    if rng.random() < 0.7:
        for z in np.arange(near_m + float(rng.uniform(9, 18)), 150, float(rng.uniform(9, 16))):
            layout.add_tree(side * (street.half_m + 0.9), float(z), float(rng.uniform(5, 9)))


def _suburb_side(layout: Layout, street: Street, side: int, near_m: float) -> None:
    """Houses in gardens behind hedges."""
    rng, z_m = layout.rng, near_m + 4.0
    garden_m = street.half_m + street.pavement_m
    hedge_bgr = LEAVES[int(rng.integers(3))]
    while z_m < 190:
        width_m, length_m = float(rng.uniform(8, 11)), float(rng.uniform(9, 13))
        front_m = garden_m + float(rng.uniform(5, 9))
        layout.buildings.append(
            layout.house(side, front_m, z_m, width_m, length_m, float(rng.uniform(2.4, 4.2)))
        )
        x_m = side * (garden_m + 0.5)
        start, end = np.array([x_m, 0.0, z_m - 2.5]), np.array([x_m, 0.0, z_m + length_m])
        if rng.random() < 0.7 and z_m > layout.eye[2] + 6:
            tall_m, detail = float(rng.uniform(0.8, 1.7)), layout.px_per_m(x_m, z_m)
            layout.things.append(
                hedge_faces(start, end, tall_m, hedge_bgr, layout.weather, detail, 1000 + int(z_m) + side)
            )
        if rng.random() < 0.75:
            layout.add_tree(
                side * (garden_m + float(rng.uniform(2, 4))), z_m - 1.0, float(rng.uniform(4, 10))
            )
        if rng.random() < 0.6:
            layout.add_tree(
                side * (front_m + width_m + float(rng.uniform(4, 14))), z_m, float(rng.uniform(5, 11))
            )
        z_m += length_m + float(rng.uniform(4, 9))


def _country_side(layout: Layout, street: Street, side: int, near_m: float) -> None:
    """Trees along the road and in the fields, perhaps a house, a power line, a guard rail."""
    rng = layout.rng
    spacing_m, z_m = float(rng.uniform(7, 26)), near_m + float(rng.uniform(8, 25))
    while z_m < 260:
        x_m = side * (street.half_m + float(rng.uniform(3.0, 9.0))) + street.centre_m(z_m)
        layout.add_tree(x_m, z_m, float(rng.uniform(5, 15)))
        z_m += spacing_m * float(rng.uniform(0.4, 1.6))
    for _ in range(int(rng.integers(0, 9))):
        layout.add_tree(
            side * float(rng.uniform(14, 60)), float(rng.uniform(25, 160)), float(rng.uniform(4, 9))
        )
    if rng.random() < 0.4:
        front_m, place_m = street.half_m + float(rng.uniform(12, 26)), float(rng.uniform(30, 80))
        layout.buildings.append(layout.house(side, front_m, place_m, 9.0, 14.0, 3.6))
    if side > 0 and rng.random() < 0.6:
        depths = np.arange(near_m + float(rng.uniform(9, 20)), 240, 34.0)
        layout.things.append(props.power_line(street.half_m + 5.5, depths, 8.0, layout.weather, layout.eye))
    if rng.random() < 0.4:
        zs = np.arange(near_m + 4.0, 150, 2.0)
        xs = side * (street.half_m + 1.1) + street.bend_per_m * zs * zs
        layout.things.append(props.guard_rail(xs, zs, layout.weather, layout.eye))


def _add_lamps(layout: Layout, street: Street, setting: str, near_m: float) -> None:
    rng = layout.rng
    if rng.random() > {"town": 0.95, "suburb": 0.85, "country": 0.15}[setting]:
        return
    colour = props.SODIUM if rng.random() < 0.5 else props.WHITE
    power, spacing_m = float(rng.uniform(0.15, 0.8)), float(rng.uniform(22, 34))
    start_m = near_m + float(rng.uniform(8, 22))
    for k, z_m in enumerate(np.arange(start_m, 170, spacing_m)):
        side = 1 if k % 2 else -1
        x_m = side * (street.half_m + 0.5) + street.centre_m(float(z_m))
        shape, lamp = props.lamp_post(
            x_m, float(z_m), -side * 1.6, 7.5, layout.weather, colour, power, layout.eye
        )
        layout.things.append(shape)
        layout.lamps.append(lamp)


def _add_signs(layout: Layout, street: Street, setting: str) -> None:
    rng, beside_m = layout.rng, street.half_m + 0.45
    for _ in range(int(rng.integers(0, 4))):
        side, z_m = int(rng.choice([-1, 1])), float(rng.uniform(9, 55))
        x_m = side * beside_m + street.centre_m(z_m)
        layout.things.append(
            props.sign(x_m, z_m, float(rng.uniform(2.3, 3.2)), layout.weather, layout.eye, rng)
        )
    if street.crossing_m > 0 and setting == "town" and rng.random() < 0.6:
        z_m, green = street.crossing_m + 3.5, bool(rng.random() < 0.5)
        layout.things.append(props.traffic_light(beside_m, z_m, -2.6, layout.weather, layout.eye, green))


def _add_parked(layout: Layout, street: Street, near_m: float) -> None:
    rng = layout.rng
    for side in (-1, 1):
        full, heading = float(rng.uniform(0.1, 0.75)), 0.0 if side > 0 else np.pi
        for z_m in np.arange(near_m + float(rng.uniform(7, 13)), 120, 6.3):
            if rng.random() < full and abs(z_m - street.crossing_m) > 6:
                engine = 0.0 if rng.random() < 0.8 else 0.6
                layout.park(side * (street.half_m + 0.1), float(z_m), heading, engine)


def add_traffic(
    layout: Layout, street: Street, per_lane: tuple[int, ...], near_m: float, keep_free_m: float
) -> None:
    """Vehicles on every lane, on the right; none on the lane that holds x = `keep_free_m`."""
    rng, far_m = layout.rng, 230.0
    for lane in range(street.lanes):
        x_m = (lane + 0.5 - street.lanes / 2) * street.lane_m
        if abs(x_m - keep_free_m) < street.lane_m / 2:
            continue
        ends = ((x_m, 0.0, near_m), (x_m, 0.0, far_m))
        start, end = ends if x_m > 0 else ends[::-1]
        speed_m_s, count = float(rng.uniform(6, 13)), int(rng.choice(per_lane))
        starts_m = (np.arange(count) + rng.uniform(0.3, 0.7, count)) * (far_m - near_m) / count
        for start_m in starts_m:
            head_start_m = float(start_m) * (0.35 if x_m > 0 else 1.0)
            layout.drive(Way(start, end, speed_m_s, head_start_m, street.bend_per_m))


def add_people(layout: Layout, street: Street, along: int, across: int, reach_m: float) -> None:
    """People on the pavements (at most `along`), and people who cross the street (at most `across`)."""
    rng = layout.rng
    walk_m = street.half_m + max(street.pavement_m * 0.55, 1.2)
    for _ in range(int(rng.integers(2, along + 1))):
        x_m = int(rng.choice([-1, 1])) * (walk_m + float(rng.uniform(-0.8, 0.8)))
        ends = ((x_m, 0.0, -3.0), (x_m, 0.0, reach_m))
        start, end = ends if rng.random() < 0.5 else ends[::-1]
        layout.walk(start, end, float(rng.uniform(0.08, 0.6)) * reach_m, street.bend_per_m)
    for _ in range(int(rng.integers(1, across + 1))):
        z_m = (street.crossing_m if street.crossing_m > 0 else float(rng.uniform(13, 30))) + float(
            rng.uniform(-1.2, 1.2)
        )
        half_m = 7.0 + 0.45 * z_m
        ends = ((-half_m, 0.0, z_m), (half_m, 0.0, z_m))
        start, end = ends if rng.random() < 0.5 else ends[::-1]
        layout.walk(start, end, float(rng.uniform(0.2, 0.8)) * 2 * half_m)
