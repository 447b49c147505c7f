from __future__ import annotations

import pytest

pytest.importorskip("scipy", reason="fdf synth needs the extra [synth]: scipy")
pytest.importorskip("mitsuba", reason="fdf synth needs the extra [synth]: mitsuba")
