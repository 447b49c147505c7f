"""How one person is in one photo: pose, expression, gaze, what they wear. All that is not who they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fdf.synth.expression import draw_expression
from fdf.synth.geometry import Floats, axis_rotation, stream
from fdf.synth.identity import Identity
from fdf.synth.recipe import PoseConfig, SynthRecipe, WearConfig


@dataclass(frozen=True, eq=False)
class Shot:
    """One appearance of a person.

    Attributes:
        yaw: degrees between the head and the line of sight to the camera, like pitch and roll; signs of `fdf.schema.FACES`.
        body: share of the yaw that the shoulders take.
        turn: further turn of the shoulders, degrees to the subject's left; lean: of the body to its own right.
        arms: `hanging`, `folded` hands before the belly, `crossed`.
        gaze: of the eyes within the head, degrees to the subject's left and up.
        hat: `none`, `cap`, `beanie`, `brim`, `headscarf`.
        glasses: `none`, `clear`, `dark`.
        held: `none`, `hand`, `cup`, `phone`, `microphone`.
    """

    number: int
    yaw: float
    pitch: float
    roll: float
    body: float
    turn: float
    lean: float
    arms: str
    gaze: tuple[float, float]
    expression: str
    units: Mapping[str, float]
    hat: str
    glasses: str
    mask: bool
    scarf: bool
    held: str

    @property
    def rotation(self) -> Floats:
        """The head's rotation (3, 3) against the line of sight, in the base frame: R = Rz(−roll) Ry(yaw) Rx(−pitch).

        In the picture's axes (x right, y down, z away) this is the convention of `fdf.vision.pose`.
        """
        return axis_rotation(2, -self.roll) @ axis_rotation(1, self.yaw) @ axis_rotation(0, -self.pitch)


def make_shot(person: Identity, number: int, recipe: SynthRecipe) -> Shot:
    """Draw how a person is in their photo `number`."""
    rng = stream(person.seed, "shot", person.number, number)
    yaw, pitch, roll = _pose(recipe.pose, rng)
    name, units = draw_expression(rng)
    sideways, up = rng.normal(0, recipe.pose.gaze_sigma, 2) * [1, 0.5]
    wear = _wear(person, recipe.wear, rng)
    body = float(max(rng.uniform(0.2, 0.8), 1 - 50 / max(abs(yaw), 1)))
    stance = stream(person.seed, "stance", person.number, number)
    neck = yaw * (1 - body)  # the neck turns no further than 50 degrees
    turn = float(np.clip(stance.normal(0, 16), neck - 50, neck + 50))
    return Shot(
        number=number,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        body=body,
        turn=turn,
        lean=float(stance.normal(0, 2.5)),
        arms=str(stance.choice(["hanging", "folded", "crossed"], p=[0.62, 0.2, 0.18])),
        gaze=(float(np.clip(sideways - 0.15 * yaw, -24, 24)), float(np.clip(up, -14, 14))),
        expression=name,
        units=units,
        hat=wear.hat,
        glasses=wear.glasses,
        mask=wear.mask,
        scarf=wear.scarf,
        held=wear.held,
    )


def _pose(config: PoseConfig, rng: np.random.Generator) -> tuple[float, float, float]:
    if rng.random() < config.wide_share:
        yaw = rng.uniform(-config.yaw_max, config.yaw_max)
        pitch, roll = rng.normal(0, 2.2 * config.pitch_sigma), rng.normal(0, 2 * config.roll_sigma)
    else:
        yaw = rng.normal(0, config.yaw_sigma)
        pitch, roll = rng.normal(0, config.pitch_sigma), rng.normal(0, config.roll_sigma)
    limits = config.yaw_max, config.pitch_max, 45.0
    clipped = [float(np.clip(value, -limit, limit)) for value, limit in zip((yaw, pitch, roll), limits, strict=True)]
    return clipped[0], clipped[1], clipped[2]


@dataclass(frozen=True)
class _Worn:
    hat: str
    glasses: str
    mask: bool
    scarf: bool
    held: str


def _wear(person: Identity, config: WearConfig, rng: np.random.Generator) -> _Worn:
    draws = rng.random(6)
    hat = str(rng.choice(["cap", "beanie", "brim"], p=[0.45, 0.35, 0.2])) if draws[0] < config.hat_share else "none"
    # A headscarf belongs to a person, not to a moment.
    if person.feminine > 0.5 and person.stream("headscarf").random() < config.headscarf_share:
        hat = "headscarf"
    dark, clear = draws[1] < config.sunglasses_share, person.glasses and draws[2] < 0.9
    mask, holds = bool(draws[4] < config.mask_share), draws[5] < config.object_share
    thing = str(rng.choice(["hand", "cup", "phone", "microphone"], p=[0.4, 0.25, 0.2, 0.15]))
    return _Worn(
        hat=hat,
        glasses="dark" if dark else "clear" if clear else "none",
        mask=mask,
        scarf=bool(draws[3] < config.scarf_share and hat != "headscarf"),
        held=thing if holds and not mask else "none",
    )
