"""Empties the staging bucket when the stack is deleted, for CloudFormation cannot; wiring only.

A custom resource: whatever happens, CloudFormation is answered, or it would wait for an hour.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref.html
"""

import json
import os
from http import HTTPStatus
from typing import Any

import urllib3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from isodrop.bootstrap import make_staging_bucket

logger = Logger(service="isodrop")


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> None:
    """Empty the bucket on ``Delete``, and answer."""
    answer = {
        "Status": "SUCCESS",
        "PhysicalResourceId": event.get("PhysicalResourceId", "staging"),
        **{name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
    }
    try:
        if event["RequestType"] == "Delete":
            logger.info("emptied", extra={"removed": make_staging_bucket(os.environ).empty()})
    except Exception as error:
        logger.exception("not emptied")
        answer |= {"Status": "FAILED", "Reason": f"{type(error).__name__}: {error}"}
    # As AWS's own module does it: the address is signed for an empty type, and may be of no file.
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/cfn-lambda-function-code-cfnresponsemodule.html
    answered = urllib3.request(
        "PUT",
        event["ResponseURL"],
        body=json.dumps(answer).encode(),
        headers={"Content-Type": ""},
        timeout=20,
    )
    if answered.status >= HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"CloudFormation was not answered: HTTP status {answered.status}")
