"""The toolkit's process: sagemaker-training's `train`, without TensorFlow and smdebug loaded into it.

    python -P container/run_toolkit.py

The toolkit imports both for the names of their exceptions, which it looks for in the output of a script that it
captures; here the script's output is not captured. Left alone, that import delays training by seconds and holds half
a gigabyte for as long as training runs. `-P` keeps this folder off the path that the toolkit hands to the script.
"""

import sys

# An import of a name that is None in sys.modules raises ImportError: the toolkit takes both as not installed.
sys.modules["tensorflow"] = None  # type: ignore[assignment]
sys.modules["smdebug"] = None  # type: ignore[assignment]

from sagemaker_training.cli.train import main  # noqa: E402 - after the two lines above

main()
