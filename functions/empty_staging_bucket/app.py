"""Empties the staging bucket when the stack is deleted, because CloudFormation cannot.

This is a custom resource. It always sends a response, even after an error, because CloudFormation
would otherwise wait for an hour.
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
    """Empty the bucket on ``Delete``, and send a response."""
    response = {
        "Status": "SUCCESS",
        "PhysicalResourceId": event.get("PhysicalResourceId", "staging"),
        **{name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
    }
    try:
        if event["RequestType"] == "Delete":
            logger.info("emptied", extra={"removed": make_staging_bucket(os.environ).empty()})
    except Exception as error:
        logger.exception("not emptied")
        response |= {"Status": "FAILED", "Reason": f"{type(error).__name__}: {error}"}
    # Like AWS's cfn-response module: the presigned URL requires an empty content type.
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/cfn-lambda-function-code-cfnresponsemodule.html
    result = urllib3.request(
        "PUT",
        event["ResponseURL"],
        body=json.dumps(response).encode(),
        headers={"Content-Type": ""},
        timeout=20,
    )
    if result.status >= HTTPStatus.BAD_REQUEST:
        raise RuntimeError(
            f"CloudFormation did not accept the response: HTTP status {result.status}"
        )
