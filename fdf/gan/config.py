"""The recipe of a training run: plain values, TOML if one likes; its run keeps it with every default spelled out."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import tomli_w
from pydantic import Field, ValidationError, model_validator

from fdf.errors import RecipeError, invalid_recipe
from fdf.stages.base import Config

SIZES: Final = ("tiny", "small", "base")
RESOLUTIONS: Final = (64, 128, 256)


class ModelConfig(Config):
    """Which networks."""

    size: str = Field("tiny", description=f"One of {', '.join(SIZES)}.")
    resolution: int = Field(64, ge=8, le=1024, description="Side of the pictures, pixels; the shards must have it.")


class DataConfig(Config):
    """Which faces, and what is varied about them. Pixels are never changed but by a flip: what goes in is what was cropped."""

    split: str = Field("training", description="Split of the manifest to learn from.")
    rights: tuple[str, ...] = Field((), description="Rights classes to learn from; all if empty.")
    flip: float = Field(
        0.5, ge=0, le=1, description="Share of mirrored pictures; left and right keypoints change places."
    )
    ellipse_share: float = Field(0.5, ge=0, le=1, description="Holes that are ellipses; the others are boxes.")
    box_scale: tuple[float, float] = Field(
        (1.0, 1.25),
        description="Sides of the hole over those of the face box, 1 to 4, evenly from the first to the second.",
    )
    box_shift: float = Field(
        0.05,
        ge=0,
        le=0.5,
        description="How far the hole's middle may move, as a share of the box's sides; less where it would bare the face.",
    )
    keypoint_drop: float = Field(0.1, ge=0, le=1, description="Share of single keypoints that are withheld.")
    keypoints_drop_all: float = Field(
        0.1, ge=0, le=1, description="Share of pictures whose keypoints are all withheld."
    )
    keypoint_confidence: float = Field(0.3, ge=0, le=1, description="Keypoints less sure than this count as absent.")
    max_consent_age_days: int = Field(
        180, ge=0, description="Consent signals looked at longer ago are stale, and not trained on unless forced."
    )

    @model_validator(mode="after")
    def _ordered(self) -> DataConfig:
        low, high = self.box_scale
        if not 1 <= low <= high <= 4:  # a smaller hole would bare the face
            raise ValueError("box_scale needs two numbers from 1 to 4, the smaller one first")
        return self


class OptimizerConfig(Config):
    """Adam(0, β₂) for both networks, and the schedule of R3GAN: a cosine from the first to the second value."""

    learning_rate: tuple[float, float] = Field((3e-4, 3e-4), description="At the start and at the end.")
    beta2: float = Field(0.95, gt=0, lt=1, description="Adam's β₂; β₁ is 0.")
    gamma: tuple[float, float] = Field((2.0, 0.2), description="Weight of R1 + R2 at the start and at the end.")
    penalty_every: int = Field(8, ge=1, description="Steps between penalties; each counts that many times.")
    finite_difference: float | None = Field(
        None,
        gt=0,
        description="Step of a penalty by finite differences, 1 at 64 px: no double backward, and not what the exact one "
        "teaches. Exact if left out.",
    )
    ema_pictures: tuple[float, float] = Field(
        (3000.0, 3000.0), description="Half-life of the averaged weights in pictures, at the start and at the end."
    )
    ema_warmup: float = Field(
        0.15, gt=0, description="The half-life is never more than this share of the pictures seen so far."
    )
    anneal_pictures: int = Field(0, ge=0, description="Pictures until the end of the schedule; 0: those of the run.")

    @model_validator(mode="after")
    def _positive(self) -> OptimizerConfig:
        if min(self.learning_rate) <= 0 or min(self.gamma) < 0 or min(self.ema_pictures) <= 0:
            raise ValueError("learning_rate and ema_pictures must be above 0, gamma not below")
        return self


class RunConfig(Config):
    """How far, how large the steps, what is written down on the way."""

    pictures: int = Field(
        20_000, ge=1, description="Pictures to train on, repeats counted; the run ends with the step that reaches them."
    )
    batch: int = Field(16, ge=1, description="Pictures in a step, over all processes and accumulations.")
    accumulate: int = Field(1, ge=1, description="Parts of a process's share of a step: more need less memory.")
    seed: int = Field(0, ge=0, lt=2**31, description="Another seed, another run.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="`auto`: bf16 on a GPU that has it, else fp32. Weights are fp32 in any case."
    )
    compile: bool = Field(
        False, description="torch.compile for the generator (never the discriminator: double backward)."
    )
    metrics_every: int = Field(500, ge=1, description="Pictures between lines of metrics; losses are checked there.")
    sample_every: int = Field(5000, ge=1, description="Pictures between sample grids.")
    sample_faces: int = Field(8, ge=1, le=64, description="Rows of a sample grid.")
    sample_variants: int = Field(4, ge=1, le=16, description="Different z in a row of a sample grid.")
    checkpoint_every: int = Field(5000, ge=1, description="Pictures between checkpoints.")
    keep: int = Field(2, ge=1, description="How many of the latest checkpoints stay.")


class TrainRecipe(Config):
    """All settings of `fdf train`."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    run: RunConfig = RunConfig()

    def to_toml(self) -> str:
        """The recipe with every default spelled out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def override(self, **sections: Mapping[str, Any]) -> TrainRecipe:
        """Another recipe: values that are not None replace the ones here.

        Raises:
            RecipeError: an impossible value.
        """
        values = self.model_dump(mode="json", exclude_none=True)
        for name, changes in sections.items():
            values[name].update({key: value for key, value in changes.items() if value is not None})
        return _validated(values, "The options make")

    def resolved(self) -> TrainRecipe:
        """With the length of the schedule written down, so that a run that is made longer keeps its schedule."""
        if self.optimizer.anneal_pictures:
            return self
        return self.override(optimizer={"anneal_pictures": self.run.pictures})


def load_train_recipe(path: Path) -> TrainRecipe:
    """Read a TOML recipe; what it leaves out keeps its default.

    Raises:
        RecipeError: unreadable, no TOML, an unknown key or an impossible value.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path} can't be read as a recipe ({error})", expected="a TOML file in UTF-8") from error
    return _validated(values, f"{path} is")


def differences(before: Config, now: Config, prefix: str = "") -> Iterator[str]:
    """`section.key: before → now` for every setting that differs."""
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(now, name)
        if isinstance(old, Config):
            yield from differences(old, new, f"{prefix}{name}.")
        elif old != new:
            yield f"{prefix}{name}: {old} → {new}"


def _validated(values: Mapping[str, Any], subject: str) -> TrainRecipe:
    try:
        return TrainRecipe.model_validate(values)
    except ValidationError as error:
        raise invalid_recipe(error, subject, "train") from error
