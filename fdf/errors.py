"""What can go wrong, said so that the reader can act.

Every error that reaches a user is an `FdfError`: one paragraph that says what was expected, what came and what to do.
Exit codes mean something: 1 a check found something wrong, 2 the request is wrong (arguments, recipe), 3 the machine
refuses (disk, port, network, missing library), 4 the data refuses (damaged or foreign files), 70 a defect of fdf,
130 interrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class FdfError(Exception):
    """Base of all errors shown to a user.

    Args:
        problem: one sentence, what happened.
        expected: what was expected, if that helps.
        got: what came instead.
        action: what the reader can do now.
    """

    exit_code = 1

    def __init__(self, problem: str, *, expected: str = "", got: str = "", action: str = "") -> None:
        self.problem, self.expected, self.got, self.action = problem, expected, got, action
        super().__init__(problem, expected, got, action)

    def __str__(self) -> str:
        parts = [self.problem]
        if self.expected:
            parts.append(f"Expected {self.expected}")
        if self.got:
            parts.append(f"Got {self.got}")
        if self.action:
            parts.append(self.action)
        return " ".join(part if part.endswith(("?", "!")) else f"{part.rstrip('.')}." for part in parts)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way back from a worker process: keyword-only arguments defeat the default."""
        return _rebuild, (type(self), self.problem, self.expected, self.got, self.action)


def _rebuild(kind: type[FdfError], problem: str, expected: str, got: str, action: str) -> FdfError:
    return kind(problem, expected=expected, got=got, action=action)


class UsageError(FdfError):
    """The request itself is wrong: an argument, a stage name, an order of things."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe can't be read or says something impossible."""


def invalid_recipe(error: ValidationError, subject: str, command: str) -> RecipeError:
    """What is wrong with the values of a recipe, the first five of it.

    Args:
        error: pydantic's.
        subject: what was read, with its verb: `train.toml is`.
        command: whose recipe it is; `docs/COMMAND.md` lists its keys.
    """
    found = "; ".join(
        f"{'.'.join(map(str, row['loc']))}: "
        + ("there is no such key" if row["type"] == "extra_forbidden" else row["msg"].removeprefix("Value error, "))
        for row in error.errors(include_url=False)[:5]
    )
    return RecipeError(
        f"{subject} no valid recipe for fdf {command}: {found}", action=f"docs/{command}.md lists all keys"
    )


class MachineError(FdfError):
    """The machine refuses: disk, permission, port, network, a missing library."""

    exit_code = 3


class ModelError(FdfError):
    """Model weights are missing, altered or of the wrong kind."""

    exit_code = 4


class DataError(FdfError):
    """Input data or a build is damaged, foreign or of another shape than its schema says."""

    exit_code = 4


class FingerprintError(DataError):
    """A finished stage was made from other inputs or another config than the ones asked for now."""
