from pathlib import Path

import numpy as np
import pytest

from fdf.vision.picture import decode

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """Eileen Collins, NASA, public domain; 512 × 512, one face."""
    return decode((DATA / "astronaut.png").read_bytes()).pixels
