from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from star_rating import quiet_tensorflow
quiet_tensorflow.import_tensorflow()
import tf_keras
assert "pandas" not in sys.modules and "scipy" not in sys.modules
import pandas, scipy.ndimage
print(tf_keras.__name__, pandas.__name__, scipy.ndimage.__name__)
"""


@pytest.mark.slow
def test_tensorflow_comes_quietly_and_without_what_it_does_not_need_and_that_can_be_imported_later() -> None:
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": "src", "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert child.stdout.split() == ["tf_keras", "pandas", "scipy.ndimage"]
    assert "oneDNN" not in child.stderr
