"""All commands, registered in the order of `fdf --help`. Nothing heavy is imported before a command runs."""

from __future__ import annotations

from fdf.cli import (
    anonymize,
    attack,
    audit,
    build,
    compare,
    docs,
    doctor,
    evaluate,
    lineage,
    models,
    report,
    status,
    synth,
    train,
    ui,
    validate,
)
from fdf.cli.app import app

app.command("build")(build.build)
app.command("status")(status.status)
app.command("validate")(validate.validate)
app.command("report")(report.report)
app.command("synth")(synth.synth)
app.command("train")(train.train)
app.command("export")(train.export)
app.command("lineage")(lineage.lineage)
app.command("evaluate")(evaluate.evaluate)
app.command("anonymize")(anonymize.anonymize)
app.command("attack")(attack.attack)
app.command("compare")(compare.compare)
app.command("ui")(ui.ui)
app.command("audit")(audit.audit)
app.command("models")(models.models)
app.command("doctor")(doctor.doctor)
app.command("docs", hidden=True)(docs.docs)
