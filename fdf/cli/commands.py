"""All commands, registered in the order of `fdf --help`. Nothing heavy is imported before a command runs."""

from __future__ import annotations

from fdf.cli import audit, build, docs, doctor, models, report, status, synth, validate
from fdf.cli.app import app

app.command("build")(build.build)
app.command("status")(status.status)
app.command("validate")(validate.validate)
app.command("report")(report.report)
app.command("synth")(synth.synth)
app.command("audit")(audit.audit)
app.command("models")(models.models)
app.command("doctor")(doctor.doctor)
app.command("docs", hidden=True)(docs.docs)
