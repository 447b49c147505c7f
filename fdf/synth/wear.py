"""What people wear and hold at the head: hats, glasses, masks, cups. All in the rest frame, before posing."""

from __future__ import annotations

import numpy as np

from fdf.synth.clothes import dye
from fdf.synth.eyes import Ball
from fdf.synth.geometry import Floats, Ints, axis_rotation, grid_quads, linear, smoothstep, tube, unit
from fdf.synth.hands import forearm, hand
from fdf.synth.head import Surface
from fdf.synth.identity import Identity
from fdf.synth.piece import Part, one_color
from fdf.synth.shot import Shot
from fdf.synth.skin import tone


def hat(person: Identity, shot: Shot, skin: Surface, points: Floats, outward: Floats) -> list[Part]:
    """Cap, beanie, brimmed hat or headscarf, grown from the skull."""
    rng = person.stream(f"hat {shot.number}")
    rest, quads = skin.rest, skin.quads
    color = dye(rng)
    if shot.hat == "headscarf":
        return [_headscarf(skin, points, outward, color, rng)]
    low = {"cap": 7.84, "beanie": rng.uniform(7.66, 7.8), "brim": 7.86}[shot.hat] + 0.10 * np.clip(rest[:, 2], -1, 1.3)
    above = rest[:, 1] - low
    used, inverse = np.unique(quads[(above[quads] > 0).any(axis=1)], return_inverse=True)
    over = above[used]
    t = smoothstep(0.0, 0.68, over)
    height = {"cap": 0.07 + 0.15 * t, "beanie": 0.09 + 0.16 * t, "brim": 0.08 + 0.34 * t}[shot.hat]
    if shot.hat == "beanie":
        height = height + 0.05 * smoothstep(0.26, 0.2, over)  # the turned-up band
        height = height + 0.012 * np.sin(40 * np.arctan2(rest[used, 0], rest[used, 2]))
    placed = points[used] + outward[used] * height[:, None]
    placed[:, 1] += np.maximum(0, -over)  # corners under the rim come up to it: a clean edge
    band = 1 - 0.45 * ((over < 0.2) & (shot.hat == "brim"))
    shade = color * (band * (1 + 0.02 * rng.standard_normal(len(used))))[:, None]
    found = [Part("cloth", placed, inverse.reshape(-1, 4), np.clip(shade, 0.008, 0.9), np.ones(len(used)))]
    if shot.hat in ("cap", "brim"):
        found.append(_brim(shot.hat, placed[over < 0.06], color))
    return found


def _brim(kind: str, rim: Floats, color: Floats) -> Part:
    """The visor of a cap, the brim of a hat: a bent sheet that starts inside the rim of the crown."""
    middle = (rim.min(axis=0) + rim.max(axis=0)) / 2
    away = rim[:, [0, 2]] - middle[[0, 2]]
    angle, radius = np.arctan2(away[:, 0], away[:, 1]), np.linalg.norm(away, axis=1)
    span = np.linspace(-1.25, 1.25, 33) if kind == "cap" else np.linspace(-np.pi, np.pi, 61)
    near = np.abs(np.angle(np.exp(1j * (span[:, None] - angle[None])))) < 0.22
    near[~near.any(axis=1)] = True
    at = np.array([radius[row].max() for row in near]) - 0.03
    height = np.array([rim[row, 1].mean() for row in near]) + 0.02
    out = np.linspace(0, 1, 7)[None]
    if kind == "cap":  # forward, and down at its sides
        reach = 0.72 * np.cos(span * 1.18)[:, None] ** 0.7 * out
        x = middle[0] + (at * np.sin(span))[:, None] * (1 + 0.04 * out)
        z = middle[2] + (at * np.cos(span))[:, None] + reach
        y = height[:, None] - 0.06 * out - 0.14 * np.sin(span)[:, None] ** 2 * out - 0.1 * reach**2
    else:
        x = middle[0] + (at[:, None] + 0.55 * out) * np.sin(span)[:, None]
        z = middle[2] + (at[:, None] + 0.55 * out) * np.cos(span)[:, None]
        y = height[:, None] - 0.05 * out + 0.16 * out**2 * np.abs(np.sin(span))[:, None]
    rows = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    quads = grid_quads(len(span), 7, closed=False)
    return Part("cloth", rows, quads, one_color(color * 0.85, len(rows)), np.ones(len(rows)))


def _headscarf(skin: Surface, points: Floats, outward: Floats, color: Floats, rng: np.random.Generator) -> Part:
    """Cloth over head and neck that leaves the face free."""
    rest, quads = skin.rest, skin.quads
    face = ((np.abs(rest[:, 0]) / 0.66) ** 2 + ((rest[:, 1] - 7.1) / 0.87) ** 2 < 1) & (rest[:, 2] > 0.55)
    throat = (np.abs(rest[:, 0]) < 0.5) & (rest[:, 1] < 6.2) & (rest[:, 1] > 5.9) & (rest[:, 2] < 0.2)
    keep = ~(face | throat) & (rest[:, 1] > 5.15) & (np.abs(rest[:, 0]) < 1.3)
    inner = (
        (np.abs(rest[:, 0]) < 0.45) & (rest[:, 2] < 1.25) & (rest[:, 2] > 0.3) & (rest[:, 1] > 6.2) & (rest[:, 1] < 7.6)
    )
    used, inverse = np.unique(quads[(keep & ~inner)[quads].all(axis=1)], return_inverse=True)
    crown = rest[used]
    height = 0.15 + 0.03 * skin.clouds(rng, 0.4)[used] + 0.22 * smoothstep(6.5, 5.7, crown[:, 1])
    cut = inverse.reshape(-1, 4)
    placed = _taut(points[used] + outward[used] * height[:, None], cut)
    shade = color * (1 + 0.02 * rng.standard_normal((len(used), 1)))
    share = smoothstep(5.4, 6.5, crown[:, 1] + 0.5 * (crown[:, 2] - 0.1))
    return Part("cloth", placed, cut, np.clip(shade, 0.008, 0.9), share)


def _taut(points: Floats, quads: Ints) -> Floats:
    """Cloth drawn over ears and hollows: each vertex goes to the middle of its neighbours, many times."""
    ahead, behind = np.roll(quads, -1, axis=1).ravel(), np.roll(quads, 1, axis=1).ravel()
    corners = np.concatenate([quads.ravel(), quads.ravel()])
    near = np.concatenate([ahead, behind])
    count = np.maximum(np.bincount(corners, minlength=len(points)), 1)
    for _ in range(90):
        points = np.stack([np.bincount(corners, points[near, c], len(points)) / count for c in range(3)], axis=1)
    return points


def glasses(person: Identity, shot: Shot, balls: dict[str, Ball], brow_z: float, ears: dict[str, Floats]) -> list[Part]:
    """Thin frames on the nose, arms to the ears; dark lenses for sunglasses."""
    rng = person.stream("frame" if shot.glasses == "clear" else f"sunglasses {shot.number}")
    dark = shot.glasses == "dark"
    half_w, half_h = rng.uniform(0.23, 0.285), rng.uniform(0.16, 0.23) + (0.02 if dark else 0)
    power, wire = rng.uniform(2.0, 4.5), rng.choice([0.006, 0.010, 0.016], p=[0.35, 0.35, 0.3])
    color = np.array([0.012, 0.012, 0.012]) if rng.random() < 0.5 else linear(rng.uniform(0.1, 0.75, 3))
    angle = np.linspace(0, 2 * np.pi, 41)
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power) * half_w
    y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / power) * half_h
    front = max(balls["left"].centre[2] + 0.25, brow_z + 0.02)
    found, inner = [], {}
    for side, sign in (("left", 1), ("right", -1)):
        c = balls[side].centre
        middle = np.array([c[0] + 0.015 * sign, c[1] - 0.03])
        rim = np.stack([middle[0] + x, middle[1] + y, front - 0.25 * np.abs(x + c[0]) ** 2], axis=1)
        found.append(_wire(rim, wire, color))
        if dark:
            hub = np.concatenate([[[*middle, front - 0.25 * c[0] ** 2 + 0.02]], rim])
            fan = np.array([[0, k, k + 1, k + 1] for k in range(1, len(rim))])
            found.append(Part("gloss", hub, fan, one_color((0.012, 0.012, 0.014), len(hub)), np.ones(len(hub))))
        start = np.array([middle[0] + sign * half_w, c[1] + 0.03, front - 0.25 * (half_w + abs(c[0])) ** 2])
        end = ears[side] + [sign * 0.01, c[1] + 0.05 - ears[side][1], -0.02]
        t = np.linspace(0, 1, 20)[:, None]
        arm = start + (end - start) * t
        arm[:, 0] += sign * 0.08 * np.sin(np.pi * t[:, 0] ** 0.6)
        found.append(_wire(arm, wire, color))
        inner[side] = np.array([middle[0] - sign * half_w, c[1] + 0.03, front - 0.25 * (abs(c[0]) - half_w) ** 2])
    t = np.linspace(0, 1, 12)[:, None]
    bridge = inner["left"] + (inner["right"] - inner["left"]) * t
    bridge += np.sin(np.pi * t) * [0, 0.03, 0.05]
    return [*found, _wire(bridge, wire, color)]


def _wire(path: Floats, radius: float, color: Floats) -> Part:
    points, quads = tube(path, radius)
    return Part("gloss", points, quads, one_color(color, len(points)), np.ones(len(points)))


def mask(person: Identity, shot: Shot, skin: Surface, points: Floats, outward: Floats) -> Part:
    """A medical mask from the bridge of the nose to under the chin."""
    rng = person.stream(f"mask {shot.number}")
    rest = skin.rest
    outer = np.flatnonzero((rest[:, 1] > 6.0) & (rest[:, 1] < 7.5) & (rest[:, 2] > 0.55) & (outward[:, 2] > -0.2))
    outer = outer[~((np.abs(rest[outer, 0]) < 0.4) & (rest[outer, 2] < 1.3) & (rest[outer, 1] > 6.4))]
    across, down = np.meshgrid(np.linspace(-1, 1, 31), np.linspace(0, 1, 19), indexing="xy")
    top = rng.uniform(6.98, 7.12) - 0.22 * across**2
    y = top + (6.2 + 0.32 * across**2 - top) * down
    x = across * (0.66 - 0.12 * np.abs(down - 0.4))
    depth = np.full(x.shape, -np.inf)
    near = points[outer]
    for row in range(len(x)):
        distance = np.hypot(near[:, 0] - x[row][:, None], near[:, 1] - y[row][:, None])
        depth[row] = np.where(distance < 0.075, near[:, 2], -np.inf).max(axis=1)
        nearest = near[distance.argmin(axis=1), 2]
        depth[row] = np.where(np.isfinite(depth[row]), depth[row], nearest)
    smooth = depth.copy()
    for _ in range(10):  # cloth spans hollows: relax, but never behind the face
        padded = np.pad(smooth, 1, mode="edge")
        mean = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
        smooth = np.maximum(mean, depth)
    placed = np.stack([x, y, smooth + 0.045], axis=-1).reshape(-1, 3)
    palette = [(0.42, 0.62, 0.72), (0.75, 0.76, 0.76), (0.03, 0.03, 0.035), (0.55, 0.42, 0.5)]
    color = np.array(palette[int(rng.integers(len(palette)))]) * rng.uniform(0.9, 1.1)
    pleats = 1 - 0.15 * (np.abs(np.sin(down.ravel() * 14)) < 0.2)
    quads = grid_quads(19, 31, closed=False)[:, ::-1]
    return Part("cloth", placed, quads, color * pleats[:, None], np.ones(len(placed)))


def held(person: Identity, shot: Shot, mouth: Floats) -> list[Part]:
    """A hand, cup, phone or microphone before the lower face, in the rest frame of the head."""
    rng = person.stream(f"held {shot.number}")
    side = int(rng.choice([-1, 1]))
    front, inwards = np.array([0.0, 0.1, 1.0]), np.array([-side, 0.0, 0.0])
    if shot.held == "hand":
        middle = mouth + np.array([side * rng.uniform(0.05, 0.45), rng.uniform(-0.25, 0.1), 0.2])
        along = np.array([-side * 0.8, rng.uniform(0.2, 0.7), 0.05])
        return _gripping(person, middle - unit(along) * 0.9, along, np.array([0, 0, -1.0]), -side, 0.15)
    color = linear(rng.uniform(0.05, 0.9, 3))
    color = 0.5 * color + 0.5 * color.mean()
    if shot.held == "cup":
        middle = mouth + np.array([side * 0.05, -0.45, 0.5])
        path = np.stack([np.zeros(6), np.linspace(-0.42, 0.42, 6), np.zeros(6)], axis=1) + middle
        points, quads = tube(path, np.linspace(0.3, 0.38, 6), 24)
        grip = _gripping(person, middle + np.array([side * 0.47, -0.08, -0.75]), front, inwards, side, 0.5)
        return [Part("gloss", points, quads, one_color(color, len(points)), np.ones(len(points))), *grip]
    if shot.held == "microphone":
        start, end = mouth + np.array([side * 0.1, -0.12, 0.28]), mouth + np.array([side * 0.35, -1.4, 0.7])
        t = np.linspace(0, 1, 12)[:, None]
        points, quads = tube(start + (end - start) * t, np.array([0.04, 0.15, 0.18, 0.17, 0.12] + [0.09] * 7), 16)
        grip = _gripping(person, end + np.array([side * 0.2, 0.45, -0.85]), front, inwards, side, 0.75)
        return [Part("matte", points, quads, one_color((0.03, 0.03, 0.03), len(points)), np.ones(len(points))), *grip]
    turned = axis_rotation(1, side * rng.uniform(-25, 25)) @ axis_rotation(2, rng.uniform(-15, 15))
    corners = np.array([[x, y, z] for z in (-0.04, 0.04) for y in (-0.75, 0.75) for x in (-0.37, 0.37)])
    middle = mouth + np.array([side * rng.uniform(0.3, 0.8), rng.uniform(-0.3, 0.5), 0.9])
    quads = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    box = corners @ turned.T + middle
    phone = Part("gloss", box, quads, one_color((0.02, 0.02, 0.022), 8), np.ones(8))
    up = np.array([-side * 0.45, 0.85, 0.0])
    wrist = middle + np.array([side * 0.55, -1.25, 0.2])
    return [phone, *_gripping(person, wrist, up, np.array([0, 0, -1.0]), -side, 0.2)]


def _gripping(person: Identity, wrist: Floats, along: Floats, palm: Floats, thumb: int, bend: float) -> list[Part]:
    """A hand raised to the face, and the forearm that leads down from it."""
    color = tone(person.monk) * np.array([1.0, 0.95, 0.94])
    side = np.sign(wrist[0]) or 1.0
    elbow = wrist + np.array([side * 0.9, -2.0, -0.2]) - 0.3 * unit(along)
    return [
        *hand(person.monk, wrist, along, palm, thumb, bend, 1.0),
        forearm(elbow, wrist + 0.06 * unit(along), (0.36, 0.24), color, 1.0),
    ]
