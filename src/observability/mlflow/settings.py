"""Which tracking server, experiment and run: MLflow's own environment variables, as SageMaker and people set them.

    settings = read_settings(os.environ, job_name="star-rating-1")          # None: the job has no tracking server

A job has one if MLFLOW_TRACKING_URI is set: to an http(s) address, or to the ARN of an MLflow App or tracking server of
SageMaker, which the plug-in sagemaker-mlflow signs requests for. CreateTrainingJob's MlflowConfig has such an ARN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from star_rating.failures import ConfigurationError, quote

ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:[0-9]{12}:mlflow-(app|tracking-server)/.+")
"""MlflowResourceArn of CreateTrainingJob, with the parts that the plug-in needs."""
LONGEST_NAME = 256
"""Characters; CreateTrainingJob's limit for MlflowExperimentName and MlflowRunName."""


@dataclass(frozen=True)
class MlflowSettings:
    """Where the run is logged."""

    tracking_uri: str
    experiment_name: str
    run_name: str
    run_id: str | None = None
    """Of a run that is there already; None: one is created."""

    @property
    def server(self) -> str:
        """Return the tracking URI as logs may show it, without user and password."""
        return without_credentials(self.tracking_uri)


def without_credentials(text: str) -> str:
    """Return a text whose addresses have neither user nor password."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def read_settings(environ: Mapping[str, str], job_name: str) -> MlflowSettings | None:
    """Return the settings, None without a tracking server; raise ConfigurationError for one that cannot exist."""
    uri = environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not uri:
        return None
    shown = quote(without_credentials(uri))
    if uri.startswith("arn:"):
        if not ARN.fullmatch(uri):
            raise ConfigurationError(
                f"MLFLOW_TRACKING_URI is {shown}, which is not the ARN of an MLflow App or tracking server "
                "(arn:aws:sagemaker:REGION:ACCOUNT:mlflow-app/ID). Correct it, or remove it to train without MLflow."
            )
    elif urlsplit(uri).scheme not in ("http", "https") or not urlsplit(uri).hostname:
        raise ConfigurationError(
            f"MLFLOW_TRACKING_URI is {shown}; an http or https address, or the ARN of a SageMaker MLflow App or "
            "tracking server is needed. Correct it, or remove it to train without MLflow."
        )
    experiment = environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or "Default"
    run_name = environ.get("MLFLOW_RUN_NAME", "").strip() or job_name
    for variable, name in (("MLFLOW_EXPERIMENT_NAME", experiment), ("MLFLOW_RUN_NAME", run_name)):
        if len(name) > LONGEST_NAME:
            raise ConfigurationError(f"{variable} has {len(name)} characters; at most {LONGEST_NAME} are allowed.")
    return MlflowSettings(uri, experiment, run_name, environ.get("MLFLOW_RUN_ID", "").strip() or None)
