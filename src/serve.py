"""Answer SageMaker's hosting contract with a trained model: GET /ping, POST /invocations.

    python src/serve.py

The model is what training left below /opt/ml/model (SAGEMAKER_BASE_DIR says another place than /opt/ml). All settings
are variables of the environment; docs/serving.md has them. star_rating/serving/app.py has the paths.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from star_rating import logs
from star_rating.failures import ExitCode, UsageError, as_failure


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM and return the exit code; a user's error is a sentence, never a traceback."""
    logs.configure()
    try:
        if arguments:
            raise UsageError(f"serve takes no options, but was given {' '.join(arguments)}: it reads variables.")
        from star_rating.serving.settings import Settings

        settings = Settings.from_environment(os.environ)
        from star_rating.serving.app import serve

        return serve(settings)
    except Exception as error:
        failure = as_failure(error)
        if failure.exit_code == ExitCode.BUG:
            logging.getLogger("star_rating").exception("A defect")
        sys.stderr.write(f"error: {failure}\n")
        return failure.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
