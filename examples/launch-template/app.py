"""Use the AMI of an answer, if the stack published that answer."""

import os
from typing import Any

import boto3

from isodrop.events import SucceededData, UnknownEventError, verify

ledger = boto3.resource("dynamodb").Table(os.environ["LEDGER_TABLE"])
image_builder = boto3.client("imagebuilder")


def handler(event: dict[str, Any], _context: object) -> dict[str, str]:
    answer = verify(event, ledger, image_builder).data
    if not isinstance(answer, SucceededData):
        raise UnknownEventError("not an answer with an AMI")
    plan = answer.plan
    return {"ami": answer.amis[0].id, "title": f"{plan.name} {plan.semantic_version}"}
