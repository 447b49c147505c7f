"""What people wear and hold: clothes, hats, scarves, glasses, masks, cups. All in the rest frame, before posing."""

from __future__ import annotations

from typing import Final

import numpy as np

from fdf.synth.eyes import Ball
from fdf.synth.geometry import Floats, axis_rotation, grid_quads, linear, normals, smoothstep, tube, unit
from fdf.synth.head import SHOULDER, Surface
from fdf.synth.identity import Identity
from fdf.synth.piece import Part, one_color
from fdf.synth.shot import Shot
from fdf.synth.skin import tone

_ARM_DROP: Final = 32.0
"""Degrees by which the arms of the base mesh, held away from the body, are lowered."""


def lower_arms(points: Floats, rest: Floats) -> Floats:
    """Arms beside the body instead of held out."""
    moved = points.copy()
    for sign in (1, -1):
        share = smoothstep(1.25, 2.3, sign * rest[:, 0])
        pivot = SHOULDER * [sign, 1, 1]
        turned = (points - pivot) @ axis_rotation(2, -sign * _ARM_DROP).T + pivot
        moved += share[:, None] * (turned - points)
    return moved


def neckline(person: Identity, shot: Shot, rest: Floats) -> Floats:
    """How far each point lies above the edge of the clothes at the neck; negative is under them."""
    rng = person.stream(f"neckline {shot.number}")
    kind = str(rng.choice(["crew", "vee", "high", "wide"], p=[0.4, 0.3, 0.15, 0.15]))
    height = rest[:, 1] + 0.45 * rest[:, 2] - 0.42 * np.clip(np.abs(rest[:, 0]) - 0.45, 0, 1.2)
    line = {"crew": rng.uniform(5.95, 6.08), "vee": 6.02, "high": 6.35, "wide": rng.uniform(5.8, 5.92)}[kind]
    edge = np.full(len(rest), line)
    if kind == "vee":
        cut = rng.uniform(0.3, 0.75) * np.clip(1 - np.abs(rest[:, 0]) / 0.5, 0, 1)
        edge -= np.where(rest[:, 2] > 0.1, cut, 0)
    return np.asarray(height - edge)


def clothes(person: Identity, shot: Shot, torso: Surface, points: Floats, share: Floats) -> list[Part]:
    """A top with a neckline, forearms, hands and legs."""
    rng = person.stream(f"clothes {shot.number}")
    rest, quads = torso.rest, torso.quads
    above = neckline(person, shot, rest)
    worn = (above[quads] < 0).any(axis=1) & (np.abs(rest[quads, 0]) < 2.72).all(axis=1)
    used, inverse = np.unique(quads[worn], return_inverse=True)
    cut = inverse.reshape(-1, 4)
    body = lower_arms(points, rest)
    body[:, 1] = np.maximum(body[:, 1], 1.0)
    body[:, 1] -= np.maximum(0, above)  # corners over the neckline come down to it: a clean edge
    outward = normals(body, quads)
    folds = 0.024 * torso.clouds(rng, 0.55) + 0.004 * torso.clouds(rng, 0.25)
    rim = smoothstep(0.0, 0.14, -above)
    thickness = rng.uniform(0.05, 0.1) * (0.55 + 0.45 * rim) + folds * rim
    cloth = body + outward * thickness[:, None]
    color, colors = _fabric(rest, rng)
    found = [Part("cloth", cloth[used], cut, colors[used], share[used])]
    elbows = {sign: body[np.abs(sign * rest[:, 0] - 2.58) < 0.14] for sign in (1, -1)}
    return [*found, *_limbs(person, color, elbows, rng)]


def _fabric(rest: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Main colour (3,), and the colour of each vertex: plain, striped, checked, heather."""
    vivid = rng.uniform(0.2, 0.7) if rng.random() < 0.4 else rng.uniform(0.03, 0.25)
    base = linear(rng.uniform(0.06, 0.85, 3))
    base = base.mean() * (1 - vivid) + base * vivid
    second = linear(rng.uniform(0.05, 0.95, 3))
    second = 0.5 * base + 0.5 * (second.mean() * 0.6 + second * 0.4)
    kind = rng.choice(["plain", "stripe", "check", "heather"], p=[0.64, 0.16, 0.1, 0.1])
    wave = rng.uniform(12, 36)
    where = np.zeros(len(rest), dtype=bool)
    if kind == "stripe":
        where = np.sin(rest[:, 1] * wave) > 0
    elif kind == "check":
        where = (np.sin(rest[:, 1] * wave) > 0.3) | (np.sin(rest[:, 0] * wave) > 0.3)
    elif kind == "heather":
        where = rng.random(len(rest)) > 0.6
    colors = np.where(where[:, None], second, base) * (1 + 0.015 * rng.standard_normal((len(rest), 1)))
    return base, np.clip(colors, 0.008, 0.9)


def _limbs(person: Identity, color: Floats, elbows: dict[int, Floats], rng: np.random.Generator) -> list[Part]:
    """Plain forearms, hands and legs, for people far enough away to be seen whole."""
    dark = linear(rng.uniform(0.05, 0.35, 3))
    bend, found = rng.uniform(0, 0.8), []
    for sign in (1, -1):
        elbow = elbows[sign].mean(axis=0)
        wide = 1.35 * float(elbows[sign].std(axis=0)[[0, 2]].mean())
        wrist = elbow + np.array([-sign * 0.05, -2.1, 0.2 + bend])
        t = np.linspace(-0.06, 1, 7)[:, None]
        points, quads = tube(elbow + (wrist - elbow) * t, np.linspace(wide, 0.26, 7), 12)
        found.append(Part("cloth", points, quads, one_color(color, len(points)), np.zeros(len(points))))
        hand = np.concatenate([wrist + [0, 0.1, 0] + np.linspace(0, 1, 7)[:, None] * [0.0, -0.95, 0.1]])
        found.append(_finger(hand, 0.23, tone(person.monk)))
        found[-1].share[:] = 0
    for sign in (1, -1):
        y = np.linspace(1.5, -8.3, 8)
        path = np.stack([sign * np.linspace(0.55, 0.75, 8), y, np.full(8, 0.2)], axis=1)
        points, quads = tube(path, np.linspace(0.95, 0.45, 8), 12)
        found.append(
            Part("cloth", points, quads, one_color(0.8 * dark + 0.2 * color * 0.3, len(points)), np.zeros(len(points)))
        )
    return found


def scarf(person: Identity, shot: Shot) -> Part:
    """A thick scarf round the neck; pulled up, it covers the chin."""
    rng = person.stream(f"scarf {shot.number}")
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 48, endpoint=False), np.linspace(0, 2 * np.pi, 13), indexing="ij")
    thick = rng.uniform(0.22, 0.34) * (1 + 0.12 * np.sin(5 * u + rng.uniform(0, 6)) * np.cos(3 * v))
    height = 5.78 + rng.uniform(0, 0.3) + 0.1 * np.sin(u + rng.uniform(0, 6))
    radius = 0.66 + thick * np.cos(v)
    points = np.stack([radius * np.sin(u), height + 1.5 * thick * np.sin(v), 0.25 + 1.15 * radius * np.cos(u)], axis=-1)
    rows = points.reshape(-1, 3)
    quads = grid_quads(48, 13, closed=False)
    last = np.concatenate([np.arange(47 * 13, 48 * 13), np.arange(13)]).reshape(2, 13)
    seam = np.stack([last[0, :-1], last[1, :-1], last[1, 1:], last[0, 1:]], axis=1)
    _, colors = _fabric(rows, rng)
    return Part("cloth", rows, np.concatenate([quads, seam]), colors, smoothstep(5.4, 7.2, rows[:, 1]))


def hat(person: Identity, shot: Shot, skin: Surface, points: Floats, outward: Floats) -> list[Part]:
    """Cap, beanie, brimmed hat or headscarf, grown from the skull."""
    rng = person.stream(f"hat {shot.number}")
    rest, quads = skin.rest, skin.quads
    color = linear(rng.uniform(0.06, 0.85, 3))
    color = color.mean() * 0.5 + color * 0.5
    tilt = 0.10 * np.clip(rest[:, 2], -1, 1.3)
    if shot.hat == "headscarf":
        return [_headscarf(skin, points, outward, color, rng)]
    low = {"cap": 7.74, "beanie": rng.uniform(7.52, 7.7), "brim": 7.76}[shot.hat]
    inside = rest[:, 1] > low + tilt
    used, inverse = np.unique(quads[inside[quads].all(axis=1)], return_inverse=True)
    crown = rest[used]
    t = smoothstep(low, 8.45, crown[:, 1])
    height = {"cap": 0.12 + 0.12 * t, "beanie": 0.10 + 0.2 * t, "brim": 0.13 + 0.35 * t}[shot.hat]
    if shot.hat == "beanie":
        height = height + 0.05 * smoothstep(0.22, 0.14, crown[:, 1] - low - tilt[used])  # the turned-up band
        height = height + 0.012 * np.sin(40 * np.arctan2(crown[:, 0], crown[:, 2]))
    placed = points[used] + outward[used] * height[:, None]
    shade = color * (1 + 0.05 * rng.standard_normal((len(used), 1)))
    found = [Part("cloth", placed, inverse.reshape(-1, 4), np.clip(shade, 0.008, 0.9), np.ones(len(used)))]
    if shot.hat in ("cap", "brim"):
        found.append(_brim(shot.hat, points, rest, low, color))
    return found


def _brim(kind: str, points: Floats, rest: Floats, low: float, color: Floats) -> Part:
    """The visor of a cap, the brim of a hat: a bent sheet round the head at the height of the band."""
    band = points[(np.abs(rest[:, 1] - low - 0.1 * np.clip(rest[:, 2], -1, 1.3)) < 0.08)]
    centre, half = (band.min(axis=0) + band.max(axis=0)) / 2, (np.ptp(band, axis=0)) / 2 + 0.02
    span = np.linspace(-1.15, 1.15, 25) if kind == "cap" else np.linspace(0, 2 * np.pi, 49)
    out = np.linspace(0, 1, 6)
    a, r = np.meshgrid(span, out, indexing="ij")
    reach = 0.75 * np.cos(a * 0.9) if kind == "cap" else 0.62 + 0 * a
    x = centre[0] + (half[0] + r * reach * (0.35 if kind == "cap" else 1)) * np.sin(a)
    z = centre[2] + (half[2] + r * reach) * np.cos(a)
    y = low + 0.1 * np.clip(z, -1, 1.3) + 0.05 - 0.05 * r - 0.1 * r * np.sin(a) ** 2
    rows = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    return Part(
        "cloth",
        rows,
        grid_quads(len(span), len(out), closed=False),
        one_color(color * 0.8, len(rows)),
        np.ones(len(rows)),
    )


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
    placed = points[used] + outward[used] * height[:, None]
    shade = color * (1 + 0.04 * rng.standard_normal((len(used), 1)))
    share = smoothstep(5.4, 6.5, crown[:, 1] + 0.5 * (crown[:, 2] - 0.1))
    return Part("cloth", placed, inverse.reshape(-1, 4), np.clip(shade, 0.008, 0.9), share)


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
    side = rng.choice([-1, 1])
    if shot.held == "hand":
        return _hand(
            person, mouth + np.array([side * rng.uniform(0.05, 0.45), rng.uniform(-0.25, 0.1), 0.18]), side, rng
        )
    color = linear(rng.uniform(0.05, 0.9, 3))
    if shot.held == "cup":
        path = (
            np.stack([np.zeros(6), np.linspace(-0.75, 0.12, 6), np.zeros(6)], axis=1)
            + mouth
            + np.array([side * 0.05, -0.1, 0.5])
        )
        points, quads = tube(path, np.linspace(0.3, 0.4, 6), 24)
        hand = _hand(person, mouth + np.array([side * 0.42, -0.5, 0.55]), side, rng)
        return [Part("gloss", points, quads, one_color(color, len(points)), np.ones(len(points))), *hand]
    if shot.held == "microphone":
        start, end = mouth + np.array([side * 0.1, -0.12, 0.28]), mouth + np.array([side * 0.45, -1.3, 0.75])
        t = np.linspace(0, 1, 12)[:, None]
        points, quads = tube(start + (end - start) * t, np.array([0.04, 0.15, 0.18, 0.17, 0.12] + [0.09] * 7), 16)
        hand = _hand(person, end + np.array([side * 0.02, 0.35, 0]), side, rng)
        return [Part("matte", points, quads, one_color((0.03, 0.03, 0.03), len(points)), np.ones(len(points))), *hand]
    turned = axis_rotation(1, side * rng.uniform(-25, 25)) @ axis_rotation(2, rng.uniform(-15, 15))
    corners = np.array([[x, y, z] for z in (-0.04, 0.04) for y in (-0.75, 0.75) for x in (-0.37, 0.37)])
    box = corners @ turned.T + mouth + np.array([side * rng.uniform(0.3, 0.8), rng.uniform(-0.3, 0.5), 0.9])
    quads = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    phone = Part("gloss", box, quads, one_color((0.02, 0.02, 0.022), 8), np.ones(8))
    return [phone, *_hand(person, mouth + np.array([side * 0.75, -0.5, 1.0]), side, rng)]


def _hand(person: Identity, place: Floats, side: int, rng: np.random.Generator) -> list[Part]:
    """A loose fist: four bent fingers, a thumb and a wrist, in the person's skin."""
    color = tone(person.monk) * np.array([1.0, 0.93, 0.92])
    found = []
    bend = np.linspace(0, 1, 7)
    for k in range(4):
        length = (0.62, 0.72, 0.68, 0.55)[k] * rng.uniform(0.95, 1.05)
        y = place[1] - 0.17 * (k - 1.5)
        path = np.stack(
            [
                place[0] - side * length * (bend - 0.5),
                np.full(7, y) + 0.03 * bend,
                place[2] + 0.12 * np.sin(np.pi * bend),
            ],
            axis=1,
        )
        found.append(_finger(path, 0.085, color))
    palm = np.stack(
        [np.full(7, place[0] + side * 0.36), place[1] + 0.3 - 0.6 * bend, np.full(7, place[2] - 0.02)], axis=1
    )
    wrist = np.array([place[0] + side * 0.4, place[1] - 0.15, place[2]]) + bend[:, None] * [side * 0.5, -1.5, 0.1]
    thumb = np.array([place[0] + side * 0.3, place[1] + 0.32, place[2]]) + bend[:, None] * [-side * 0.35, 0.2, 0.0]
    return [*found, _finger(palm, 0.16, color), _finger(wrist, 0.24, color), _finger(thumb, 0.1, color)]


def _finger(path: Floats, radius: float, color: Floats) -> Part:
    ends = np.array([0.45, 0.85, 1.0, 1.0, 1.0, 0.9, 0.45])
    points, quads = tube(path, radius * ends, 10)
    tips = unit(path[-1:] - path[-2:-1])
    shade = one_color(color, len(points)) * (1 - 0.05 * np.abs(tips[0, 2]))
    return Part("skin", points, quads, shade, np.ones(len(points)), np.full(len(points), 0.5))
