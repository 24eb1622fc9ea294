"""IAM: every role exists, trusts SageMaker and may be passed. On this machine nobody looks at rights.

What `launcher check` asks about a role is answered here; the rest is moto's.
"""

from __future__ import annotations

import json

from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends

from local_sagemaker.api.request_context import Document, RequestContext
from local_sagemaker.state import ACCOUNT

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def get_role(_context: RequestContext, request: Document) -> None:
    """GetRole: make the role that is asked for; moto tells the rest."""
    backend = iam_backends[ACCOUNT]["aws"]
    try:
        backend.get_role(request["RoleName"])
    except NotFoundException:
        backend.create_role(request["RoleName"], json.dumps(_TRUST), "/", None, "", [], "3600")


def simulate_principal_policy(_context: RequestContext, request: Document) -> Document:
    """SimulatePrincipalPolicy: everybody may do everything."""
    results = [{"EvalActionName": name, "EvalDecision": "allowed"} for name in request["ActionNames"]]
    return {"EvaluationResults": results, "IsTruncated": False}
