"""The template as CloudFormation receives it, for checks that do not transform it themselves.

``python -m isodrop_local.template FOLDER`` writes two templates: ``transformed.json``, the result
of the SAM transform of template.yaml, and ``machine.json``, the state machine with its definition
inline and its substitutions made, because cfn-lint does not check
``AWS::Serverless::StateMachine``; and ``machine.asl.json``, that definition alone. Of each example
it writes the same: ``example-NAME.json``, and ``example-NAME.asl.json`` if it has a state machine.
"""

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
SUBSTITUTES = {
    "Partition": "aws",
    "ImportIsoArn": "arn:aws:lambda:eu-central-1:123456789012:function:ImportIso",
    "ReportBuildArn": "arn:aws:lambda:eu-central-1:123456789012:function:ReportBuild",
    "DistributesImages": "true",
}
"""Substitutes for values that only a deployment has."""


def read_template(path: Path = ROOT / "template.yaml") -> dict[str, Any]:
    """Read a template."""
    parsed: dict[str, Any] = yaml_parse(path.read_text())
    return parsed


def defaults(template: dict[str, Any] | None = None) -> dict[str, str]:
    """Return the defaults of a template's parameters."""
    return {
        name: str(parameter["Default"])
        for name, parameter in (template or read_template())["Parameters"].items()
        if "Default" in parameter
    }


def transform(template: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the result of the SAM transform of a template."""
    template = template or read_template()
    for resource in template["Resources"].values():
        for uri in ("CodeUri", "ContentUri", "DefinitionUri"):
            if isinstance(resource.get("Properties", {}).get(uri), str):
                resource["Properties"][uri] = {"Bucket": "artifacts", "Key": "artifact"}
        nested = resource.get("Properties", {}).get("TemplateURL", "https://")
        if not nested.startswith("https://"):
            resource["Properties"]["TemplateURL"] = "https://s3.amazonaws.com/artifacts/artifact"
    made: dict[str, Any] = Translator(
        {}, Parser(), boto_session=boto3.Session(region_name="eu-central-1")
    ).translate(template, defaults(template))
    return made


def examples() -> dict[str, dict[str, Any]]:
    """Return the templates and state machines of the examples, by file name."""
    made = {}
    for path in sorted((ROOT / "examples").glob("*/template.yaml")):
        name = f"example-{path.parent.name}"
        made[f"{name}.json"] = transform(read_template(path))
        for resource in read_template(path)["Resources"].values():
            if "Definition" in resource["Properties"]:
                text = json.dumps(resource["Properties"]["Definition"])
                made[f"{name}.asl.json"] = json.loads(_substitute(text, SUBSTITUTES))
    return made


def definition(**parameters: object) -> dict[str, Any]:
    """Return the state machine's definition with its substitutions made."""
    text = (ROOT / "statemachine/import.asl.json").read_text()
    values = {**defaults(), **SUBSTITUTES, **parameters}
    made: dict[str, Any] = json.loads(_substitute(text, values))
    return made


def _substitute(text: str, values: Mapping[str, object]) -> str:
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", str(value))
    return text


def machine() -> dict[str, Any]:
    """Return a template of the state machine alone, with its definition inline."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {
            "Machine": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {
                    "RoleArn": "arn:aws:iam::123456789012:role/machine",
                    "Definition": definition(),
                },
            }
        },
    }


def main() -> None:
    """Write all files into a folder."""
    # Otherwise it prints a notice about metrics each time.
    logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in {
        "transformed.json": transform(),
        "machine.json": machine(),
        "machine.asl.json": definition(),
        **examples(),
    }.items():
        (folder / name).write_text(json.dumps(made, indent=1, default=str))


if __name__ == "__main__":
    main()
