"""What the made-up people and their photos are like: distributions as plain values, TOML if one likes.

None of these numbers describes a population. They are chosen so that every look, light and pose is there often enough to
test against; a user who needs another mix writes another recipe.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from fdf.errors import RecipeError, invalid_recipe
from fdf.stages.base import Config

Scene = Literal["portrait", "group", "crowd"]
Share = float


def _share(default: float, description: str) -> Share:
    value: Share = Field(default, ge=0, le=1, description=description)
    return value


class PeopleConfig(Config):
    """Who is made. Adults only."""

    age_years: tuple[float, float] = Field((20.0, 90.0), description="Youngest and oldest; ages between are even.")
    monk_weights: tuple[float, ...] = Field(
        (1.0,) * 10, min_length=10, max_length=10, description="Weights of the ten Monk skin tones."
    )
    between_share: float = _share(0.1, "People whose features lie between typically male and female.")
    female_share: float = _share(0.5, "Of the others, those with typically female features.")
    shape_spread: float = Field(
        1.0,
        ge=0,
        le=2,
        description="How far faces lie apart: scales every shape slider's spread and the free form.",
    )
    beard_share: float = _share(0.45, "Beards, moustaches and stubble among those who may have them.")
    glasses_share: float = _share(0.2, "People who wear glasses (in nine photos of ten).")
    makeup_share: float = _share(0.4, "Visible make-up among people with typically female features.")

    @model_validator(mode="after")
    def _adults(self) -> PeopleConfig:
        low, high = self.age_years
        if not 18 <= low <= high <= 95:
            raise ValueError("age_years must lie in 18–95, the youngest first: there are no children here")
        if min(self.monk_weights) < 0 or sum(self.monk_weights) <= 0:
            raise ValueError("monk_weights can't be negative, nor all zero")
        return self


class PoseConfig(Config):
    """How heads are held; degrees, signs as in `fdf.schema.FACES`."""

    yaw_sigma: float = Field(20.0, ge=0, le=90, description="Standard deviation of yaw for most photos.")
    wide_share: float = _share(0.2, "Photos with yaw drawn evenly from −90 to 90 and a wider pitch and roll.")
    yaw_max: float = Field(90.0, ge=0, le=90, description="Largest yaw.")
    pitch_sigma: float = Field(8.0, ge=0, le=45, description="Standard deviation of pitch for most photos.")
    pitch_max: float = Field(45.0, ge=0, le=45, description="Largest pitch.")
    roll_sigma: float = Field(6.0, ge=0, le=45, description="Standard deviation of roll for most photos.")
    gaze_sigma: float = Field(9.0, ge=0, le=25, description="Standard deviation of the eyes' own turn.")


class WearConfig(Config):
    """What covers heads and faces, as shares of photos."""

    hat_share: float = _share(0.10, "Cap, beanie, brimmed hat.")
    headscarf_share: float = _share(0.03, "Headscarf round the face.")
    scarf_share: float = _share(0.05, "Scarf round the neck, over the chin at times.")
    mask_share: float = _share(0.02, "Medical mask.")
    sunglasses_share: float = _share(0.03, "Dark glasses.")
    object_share: float = _share(0.04, "A hand, cup, phone or microphone before the face.")


class CameraConfig(Config):
    """Lens, light and what a camera does to them."""

    focal_mm: tuple[float, float] = Field((26.0, 120.0), description="Focal length, as on 24 × 36 mm.")
    face_fraction: tuple[float, float] = Field(
        (0.34, 0.66), description="Portraits: height of the face over that of the picture."
    )
    night_share: float = _share(0.08, "Dark scenes with lamps; more noise.")
    backlight_share: float = _share(0.10, "The main light behind the person.")
    blur_share: float = _share(0.25, "Photos with visible blur: motion or focus.")
    jpeg_quality: tuple[int, int] = Field((62, 95), description="Lowest and highest JPEG quality.")
    samples: int = Field(
        0, ge=0, le=1024, description="Light paths a pixel; 0: as many as the picture's size asks for."
    )

    @field_validator("focal_mm", "face_fraction", "jpeg_quality")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("needs two numbers above 0, the smaller one first")
        return value

    @model_validator(mode="after")
    def _possible(self) -> CameraConfig:
        if self.focal_mm[0] < 16 or self.focal_mm[1] > 400:
            raise ValueError("focal_mm must lie in 16–400")
        if self.face_fraction[1] > 1.2:
            raise ValueError("face_fraction can't exceed 1.2: the face would not fit")
        if self.jpeg_quality[1] > 100:
            raise ValueError("jpeg_quality ends at 100")
        return self


class SynthRecipe(Config):
    """All distributions of `fdf synth`."""

    people: PeopleConfig = PeopleConfig()
    pose: PoseConfig = PoseConfig()
    wear: WearConfig = WearConfig()
    camera: CameraConfig = CameraConfig()


def load_synth_recipe(path: Path) -> SynthRecipe:
    """Read a TOML recipe of distributions; what it leaves out keeps its default.

    Raises:
        RecipeError: unreadable, no TOML, an unknown key or an impossible value.
    """
    try:
        return SynthRecipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path} can't be read as a recipe ({error})", expected="a TOML file in UTF-8") from error
    except ValidationError as error:
        raise invalid_recipe(error, f"{path} is", "synth") from error
