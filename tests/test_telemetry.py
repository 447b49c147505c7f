"""What fdf looks at stays on the machine."""

from __future__ import annotations

import os
import subprocess
import sys


def test_onnxruntime_is_told_not_to_report_before_it_loads() -> None:
    code = "import fdf, sys, os; assert 'onnxruntime' not in sys.modules; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    bare = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_who_wants_the_reports_keeps_them() -> None:
    code = "import fdf, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    wanted = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=wanted, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
