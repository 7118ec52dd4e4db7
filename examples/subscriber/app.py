"""Tag the first AMI of each answer with its version of Windows."""

from typing import Any

import boto3

from isodrop.events import SucceededData, parse


def handler(event: dict[str, Any], _context: object) -> None:
    answer = parse(event).data
    if isinstance(answer, SucceededData):
        ami, version = answer.amis[0], answer.plan.semantic_version
        ec2 = boto3.client("ec2", region_name=ami.region)
        ec2.create_tags(Resources=[ami.id], Tags=[{"Key": "Windows", "Value": version}])
