"""Empties the staging bucket when the stack is deleted, for CloudFormation cannot; wiring only.

A custom resource: whatever happens, CloudFormation is answered, or it would wait for an hour.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref.html
"""

import json
import os
from typing import Any
from urllib.request import Request, urlopen

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
    request = Request(event["ResponseURL"], json.dumps(answer).encode(), method="PUT")  # noqa: S310 - CloudFormation's own
    with urlopen(request, timeout=20):  # noqa: S310 - likewise
        pass
