"""A street as a camera beside it, behind a windscreen or on a mast sees it."""

from __future__ import annotations

from .ground import Street, StreetPaint
from .layout import Layout
from .roadside import add_people, add_traffic, line_street, random_street
from .scene import Scene
from .world import Ridge, World

_MARGIN_SHARE = 0.12
_DRIFT_PX_S = 9.0


def road_world(scene: Scene) -> World:
    """The street of this scene's seed."""
    layout = Layout(scene)
    rng = layout.rng
    setting = str(rng.choice(["town", "suburb", "country"], p=[0.5, 0.25, 0.25]))
    street = random_street(setting, rng)
    in_lane = _look(layout, street)
    line_street(layout, street, setting, near_m=0.0)
    if in_lane and rng.random() < 0.5:
        z_m = street.crossing_m - 6.5 if street.crossing_m > 16 else float(rng.uniform(13, 32))
        layout.park(street.lane_m * 0.5 + street.centre_m(z_m), z_m, 0.0, engine=0.9)
    per_lane = (1, 2, 3) if setting == "town" else (1, 2, 2)
    add_traffic(layout, street, per_lane, near_m=-14.0, keep_free_m=street.lane_m * 0.5 if in_lane else 1e9)
    add_people(layout, street, along=7, across=3, reach_m=75.0)
    hills = Ridge(float(rng.uniform(900, 1600)), float(rng.uniform(20, 110)), 420.0, (0.05, 0.08, 0.06), -0.5)
    woods = Ridge(float(rng.uniform(260, 420)), float(rng.uniform(6, 16)), 55.0, (0.03, 0.065, 0.045), 0.0)
    return layout.world(StreetPaint(street, layout.weather, layout.noise), [hills, woods], _DRIFT_PX_S)


def _look(layout: Layout, street: Street) -> bool:
    """Hangs the camera behind a windscreen (then True), on the pavement, or on a mast."""
    rng = layout.rng
    place = int(rng.choice(3, p=[0.4, 0.25, 0.35]))
    height_m = float((rng.uniform(1.3, 1.7), rng.uniform(1.6, 1.9), rng.uniform(3.5, 7.5))[place])
    x_m = float((street.lane_m * 0.5, -street.half_m - 1.4, street.half_m + 0.8)[place])
    pitch = float((rng.uniform(0.0, 0.05), rng.uniform(0.0, 0.06), rng.uniform(0.10, 0.2))[place])
    yaw = float((rng.uniform(-0.06, 0.03), rng.uniform(0.10, 0.3), rng.uniform(-0.28, -0.06))[place])
    layout.look((x_m, height_m, 0.0), pitch, yaw, float(rng.uniform(0.95, 1.35)), _MARGIN_SHARE)
    return place == 0
