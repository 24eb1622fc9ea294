"""What every test of this folder needs before TensorFlow is imported."""

from __future__ import annotations

import os

from star_rating.training import instruction_set

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# This machine may advertise instructions that end the process; the training script asks the same question.
instruction_set.choose(os.environ)
