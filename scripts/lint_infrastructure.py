"""Check infrastructure/: the template's IAM policies by parliament, and that the Terraform module fits the template.

    .venv-linters/bin/python scripts/lint_infrastructure.py infrastructure

Prints what is wrong, a line each, and exits with 1 if anything is: an action, a resource type or a condition that AWS
does not know; a parameter of the template that the module does not hand on, or documents in other words.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hcl2
import yaml

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    import parliament

_PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "star-rating",
}
_ARNS = {
    "AWS::ECR::Repository": "arn:aws:ecr:us-east-1:123456789012:repository/{}",
    "AWS::IAM::Role": "arn:aws:iam::123456789012:role/{}",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
}
_PARAMETERS = {"KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"}
_MUTED = {"RESOURCE_STAR"}
"""Whether "*" is needed is what tests/launcher/test_least_privilege.py knows, statement by statement."""


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms: !Ref X is {"Ref": "X"}."""


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt":
        value = str(value).split(".")
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


def policy_findings(template: Mapping[str, Any]) -> Iterator[str]:
    """Yield what parliament finds in a template's policies of roles."""
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::IAM::Policy":
            continue  # parliament knows the policies of identities only
        text = json.dumps(_resolved(resource["Properties"]["PolicyDocument"], template))
        for finding in parliament.analyze_policy_string(text).findings:
            if finding.issue not in _MUTED:
                yield f"{name}: {finding.issue} {finding.detail} {finding.location}"


def module_findings(template: Mapping[str, Any], module: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the Terraform module is not the template: it has to hand on every parameter, and nothing else."""
    variables = {_bare(name): block for entry in module["variable"] for name, block in entry.items()}
    (resource,) = module["resource"]
    ((_, stacks),) = resource.items()
    ((_, stack),) = stacks.items()
    if "/../template.yaml" not in stack["template_body"]:
        yield f"Terraform: template_body is {stack['template_body']}, not the template beside the module"
    handed = {_bare(name): _bare(value) for name, value in stack["parameters"].items()}
    for name in set(template["Parameters"]) ^ set(handed):
        yield f"Terraform: {name} is a parameter of the template or of the module only"
    for name, parameter in template["Parameters"].items():
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name.replace("GitHub", "Github")).lower()
        block = variables.get(snake)
        if block is None or handed.get(name) != f"${{var.{snake}}}":
            yield f"Terraform: {name} is not given the variable {snake}"
        elif _bare(block["description"]) != parameter["Description"]:
            yield f"Terraform: the description of {snake} is not the template's"
        elif _bare(block["default"]).lower() != str(parameter["Default"]):
            yield f"Terraform: the default of {snake} is {block['default']}, the template's {parameter['Default']}"


def _bare(value: object) -> str:
    """Return a value of hcl2 without the quotes that it keeps around strings."""
    return str(value).removeprefix('"').removesuffix('"')


def _resolved(value: Any, template: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return a template's value with its functions replaced by what a stack with all of its options would have."""
    if isinstance(value, list):
        return [_resolved(item, template) for item in value]
    if not isinstance(value, dict):
        return value
    match next(iter(value.items()), None):
        case ("Ref", str(name)) | ("Fn::GetAtt", [str(name), str()]):
            return _of(name, template)
        case ("Fn::If", [_, yes, _]):
            return _resolved(yes, template)
        case ("Fn::Sub", str(text)):
            return re.sub(r"\$\{([^}.]+)(?:\.\w+)?\}", lambda name: _of(name[1], template), text)
    return {key: _resolved(item, template) for key, item in value.items()}


def _of(name: str, template: Mapping[str, Any]) -> str:
    if name in _PSEUDO:
        return _PSEUDO[name]
    if name in template["Parameters"]:
        return _PARAMETERS.get(name) or str(template["Parameters"][name]["Default"]) or "example"
    return _ARNS[template["Resources"][name]["Type"]].format(name.lower())


def main(folder: Path) -> int:
    """Check a folder like infrastructure/ and return the exit code."""
    template = yaml.load((folder / "template.yaml").read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    module = hcl2.loads((folder / "terraform" / "main.tf").read_text(encoding="utf-8"))
    found = [*policy_findings(template), *module_findings(template, module)]
    sys.stdout.writelines(f"{line}\n" for line in found)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
