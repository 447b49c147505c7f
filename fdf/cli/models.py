"""`fdf models`."""

from __future__ import annotations

from fdf.cli.output import JsonOption, print_json, print_table


def models(as_json: JsonOption = False) -> None:
    """List the models fdf knows: task, licence of the weights, what they were trained on, whether they are here."""
    from fdf.vision.zoo import models as all_models

    if as_json:
        print_json([vars(model) for model in all_models()])
        return
    print_table(
        "Models",
        ["id", "task", "where", "#MB", "weights' licence", "trained on"],
        [[m.id, m.task, m.where, m.size / 1e6, m.weight_license, m.training_data] for m in all_models()],
    )
