"""AWS's documented responses for a healthy stack, for the checks of isodrop doctor."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from isodrop_cli.doctor import CHECKS, CheckContext, NamedResult, run_checks
from isodrop_cli.doctor.results import CheckResult

Responses = dict[str, Any]
REGION = "eu-central-1"
ACCOUNT = "123456789012"
ARN = f"arn:aws:{{}}:{REGION}:{ACCOUNT}:{{}}"
KEY = ARN.format("kms", "key/1b2c3d4e")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/builder"
INFRASTRUCTURE = ARN.format("imagebuilder", "infrastructure-configuration/ours")
PHYSICAL = {
    "UploadRule": "the-rule",
    "UploadRuleRole": "dropped-role",
    "ImportStateMachine": ARN.format("states", "stateMachine:imports"),
    "ImportStateMachineRole": "machine-role",
    "ImportIso": "import-iso",
    "ImportIsoRole": "import-iso-role",
    "BuildInstanceRole": "build-instance",
    "ReportBuild": "report-build",
    "ReportBuildRole": "report-build-role",
    "Sweep": "sweep",
    "SweepRole": "sweep-role",
    "SweepSchedule": "the-schedule",
    "LedgerTable": "the-ledger",
    "DeadLetterQueue": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/undelivered",
}
STACK = {
    "StackName": "imports",
    "StackId": ARN.format("cloudformation", "stack/imports/0"),
    "StackStatus": "CREATE_COMPLETE",
    "Parameters": [{"ParameterKey": "TrackingTimeoutHours", "ParameterValue": "16"}],
    "Outputs": [
        {"OutputKey": "UploadBucketName", "OutputValue": "uploads"},
        {"OutputKey": "StagingBucketName", "OutputValue": "the-copies"},
        {"OutputKey": "EventBusName", "OutputValue": "default"},
    ],
}
DISTRIBUTION = ARN.format("imagebuilder", "distribution-configuration/ours")
VARIABLES = {
    "STACK_NAME": "imports",
    "LEDGER_TABLE": "the-ledger",
    "STAGING_BUCKET": "the-copies",
    "INFRASTRUCTURE_CONFIGURATION_ARN": INFRASTRUCTURE,
    "EXECUTION_ROLE": ROLE,
    "SUPPORTED_WINDOWS_BUILDS": "26100",
    "MAX_CONSECUTIVE_FAILURES": "5",
    "EVENT_BUS": "default",
    "STATE_MACHINE_ARN": PHYSICAL["ImportStateMachine"],
    "UPLOAD_BUCKET": "uploads",
    "TRACKING_HOURS": "16",
    "SWEEP_MINUTES": "15",
}
LAYER = ARN.format("lambda", "layer:IsodropLayer0123:7")
FUNCTION = {
    "State": "Active",
    "LastUpdateStatus": "Successful",
    "Runtime": "python3.13",
    "Architectures": ["arm64"],
    "Environment": {"Variables": VARIABLES},
    "Layers": [{"Arn": LAYER}],
}
DEFINITION = " ".join(
    ARN.format("lambda", f"function:{PHYSICAL[name]}") for name in ("ImportIso", "ReportBuild")
)


def trust(*services: str) -> dict[str, Any]:
    allow = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": [*services]}}
    return {"Version": "2012-10-17", "Statement": [allow]}


TARGET = {
    "Id": "ImportStateMachine",
    "Arn": PHYSICAL["ImportStateMachine"],
    "RoleArn": ROLE,
    "DeadLetterConfig": {"Arn": "q"},
}
ONLY_THE_STACK_WRITES = json.dumps(
    {
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": ["s3:PutObject*"],
                "Condition": {"ArnNotEquals": {"aws:PrincipalArn": [ROLE]}},
            }
        ]
    }
)
HEALTHY: Responses = {
    "ListStackResources": {
        "StackResourceSummaries": [
            {"LogicalResourceId": name, "PhysicalResourceId": value}
            for name, value in PHYSICAL.items()
        ]
    },
    "HeadBucket": {"BucketRegion": REGION},
    "GetBucketNotificationConfiguration": {"EventBridgeConfiguration": {}},
    "GetBucketVersioning": {"Status": "Enabled"},
    "GetBucketPolicy": {"Policy": ONLY_THE_STACK_WRITES},
    "GetBucketEncryption": {
        "ServerSideEncryptionConfiguration": {
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        }
    },
    "DescribeRule": {"State": "ENABLED"},
    "ListTargetsByRule": {
        "Targets": [TARGET, {"Id": "Sweep", "Arn": ARN.format("lambda", "function:sweep")}]
    },
    "DescribeStateMachine": {"status": "ACTIVE", "definition": DEFINITION},
    "ValidateStateMachineDefinition": {"result": "OK", "diagnostics": []},
    "ListExecutions": {"executions": []},
    "GetFunctionConfiguration": FUNCTION,
    "GetLayerVersionByArn": {"Description": "isodrop, boto3 1.44.5 among them."},
    "GetRole": {
        "Role": {
            "Arn": ROLE,
            "AssumeRolePolicyDocument": trust("imagebuilder.amazonaws.com", "ec2.amazonaws.com"),
        }
    },
    "SimulatePrincipalPolicy": {"EvaluationResults": [{"EvalDecision": "allowed"}]},
    "GetInfrastructureConfiguration": {
        "infrastructureConfiguration": {"name": "ours", "instanceProfileName": "builds"}
    },
    "GetInstanceProfile": {"InstanceProfile": {"Roles": [{"RoleName": "build-instance"}]}},
    "DescribeVpcs": {"Vpcs": [{"VpcId": "vpc-1", "IsDefault": True}]},
    "ListServiceQuotas": {
        "Quotas": [
            {"QuotaName": "Components", "QuotaCode": "L-1", "Value": 1000.0},
            {"QuotaName": "Concurrent builds", "QuotaCode": "L-2", "Value": 100.0},
        ]
    },
    "DescribeEventBus": {"Name": "default"},
    "DescribeTable": {
        "Table": {
            "TableStatus": "ACTIVE",
            "GlobalSecondaryIndexes": [{"IndexName": "ByState", "IndexStatus": "ACTIVE"}],
        }
    },
    "DescribeContinuousBackups": {
        "ContinuousBackupsDescription": {
            "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}
        }
    },
    "GetQueueAttributes": {"Attributes": {"ApproximateNumberOfMessages": "0"}},
    "Query": {"Items": []},
}


def refusal(code: str, status: int = 400) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Any")


def context(stack: Mapping[str, Any] = STACK, /, **changes: Any) -> CheckContext:
    """A healthy stack, except for the given response, or error, of each operation."""
    responses = HEALTHY | changes

    def call(_service: str, operation: str, parameters: Mapping[str, Any]) -> Any:
        response = responses[operation]
        if callable(response):
            response = response(parameters)
        if isinstance(response, Exception):
            raise response
        return response

    return CheckContext(call, stack, datetime(2026, 11, 24, 12, tzinfo=UTC))


def with_parameters(**parameters: str) -> dict[str, Any]:
    parameter_list = [
        {"ParameterKey": name, "ParameterValue": value}
        for name, value in {"TrackingTimeoutHours": "16", **parameters}.items()
    ]
    return {**STACK, "Parameters": parameter_list}


def run_check(check: str, checked_context: CheckContext) -> CheckResult:
    found: list[NamedResult] = list(
        run_checks(checked_context, [each for each in CHECKS if each.name == check])
    )
    assert len(found) == 1
    return found[0].result
