"""What isodrop doctor makes of what AWS answers: each answer as AWS documents it."""

import ast
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto.iam.aws_managed_policies import aws_managed_policies_data
from rich.console import Console

from isodrop_cli.commands import doctor as cli
from isodrop_cli.doctor import CHECKS, CheckContext, Finding, run_checks
from isodrop_cli.doctor.context import action_of
from isodrop_cli.doctor.functions import BOTO3
from isodrop_cli.doctor.results import CheckResult, Level
from isodrop_local.template import ROOT, source

Answers = dict[str, Any]

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
    "SweepEveryFewMinutes": "the-schedule",
    "LedgerTable": "the-ledger",
    "DeadLetterQueue": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/undelivered",
}
STACK = {
    "StackName": "imports",
    "StackId": ARN.format("cloudformation", "stack/imports/0"),
    "StackStatus": "CREATE_COMPLETE",
    "Parameters": [{"ParameterKey": "TrackingTimeoutHours", "ParameterValue": "16"}],
    "Outputs": [
        {"OutputKey": "UploadBucketName", "OutputValue": "drops"},
        {"OutputKey": "StagingBucketName", "OutputValue": "the-copies"},
        {"OutputKey": "EventBus", "OutputValue": "default"},
    ],
}
DISTRIBUTION = ARN.format("imagebuilder", "distribution-configuration/ours")
VARIABLES = {
    "STACK_NAME": "imports",
    "LEDGER_TABLE": "the-ledger",
    "STAGING_BUCKET": "the-copies",
    "INFRASTRUCTURE_CONFIGURATION_ARN": INFRASTRUCTURE,
    "EXECUTION_ROLE": ROLE,
    "SUPPORTED_BUILDS": "26100",
    "MAX_CONSECUTIVE_FAILURES": "5",
    "EVENT_BUS": "default",
    "STATE_MACHINE_ARN": PHYSICAL["ImportStateMachine"],
    "UPLOAD_BUCKET": "drops",
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
HEALTHY: Answers = {
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
    answer: Any = {
        "Error": {"Code": code, "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "Any")


def context(stack: Mapping[str, Any] = STACK, /, **changes: Any) -> CheckContext:
    """A healthy stack but for what is changed: an answer, or an error, for each operation."""
    answers = HEALTHY | changes

    def asks(_service: str, operation: str, parameters: Mapping[str, Any]) -> Any:
        answer = answers[operation]
        if callable(answer):
            answer = answer(parameters)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return CheckContext(asks, stack, datetime(2026, 11, 24, 12, tzinfo=UTC))


def with_parameters(**parameters: str) -> dict[str, Any]:
    told = [
        {"ParameterKey": name, "ParameterValue": value}
        for name, value in {"TrackingTimeoutHours": "16", **parameters}.items()
    ]
    return {**STACK, "Parameters": told}


def run_check(check: str, at: CheckContext) -> CheckResult:
    found: list[Finding] = list(run_checks(at, [each for each in CHECKS if each.name == check]))
    assert len(found) == 1
    return found[0].result


def test_a_healthy_stack_passes_every_check() -> None:
    levels = {each.check: each.result.level for each in run_checks(context())}
    assert set(levels.values()) == {Level.OK}
    assert len(levels) == len(CHECKS)


@pytest.mark.parametrize(
    "policy", [{"Policy": '{"Statement": []}'}, refusal("NoSuchBucketPolicy", 404)], ids=str
)
def test_a_staging_bucket_with_other_writers_is_reported(policy: Any) -> None:
    found = run_check("staging", context(GetBucketPolicy=policy))
    assert found.level is Level.ERROR
    assert "the-copies" in found.message


def test_a_directory_bucket_is_reported() -> None:
    stack = {
        **STACK,
        "Outputs": [{"OutputKey": "UploadBucketName", "OutputValue": "iso--euc1-az1--x-s3"}],
    }
    assert "directory bucket" in run_check("bucket", context(stack)).message


def test_without_permissions_every_check_warns_and_names_one() -> None:
    denied = dict.fromkeys(HEALTHY, refusal("AccessDenied", 403))
    kept = {"ListStackResources": HEALTHY["ListStackResources"]}
    elsewise = ("DescribeKey", "GetDistributionConfiguration", "GetObject")
    unasked = dict.fromkeys(elsewise, refusal("AccessDenied"))
    stack = with_parameters(
        KmsKeyArn=KEY,
        DistributionConfigurationArn=DISTRIBUTION,
        AllowListMode="enforce",
        AllowListUri="s3://lists/isos.txt",
    )

    found = list(run_checks(context(stack, **denied | unasked | kept)))

    unseen = {each.check: each.result for each in found if each.check not in ("stack", "local-sdk")}
    assert {each.level for each in unseen.values()} == {Level.WARNING}
    assert all(
        each.message.startswith("could not be checked: you lack the permission ")
        for each in unseen.values()
    )
    assert unseen["build-quota"].remedy == "request the permission servicequotas:ListServiceQuotas"
    assert unseen["event-notifications"].remedy == "request the permission s3:GetBucketNotification"
    assert unseen["state-machine"].remedy == "request the permission states:DescribeStateMachine"


def test_checks_that_need_the_resource_list_report_that_it_failed() -> None:
    at = context(ListStackResources=refusal("AccessDenied", 403))
    assert (
        run_check("upload-rule", at).remedy
        == "request the permission cloudformation:ListStackResources"
    )
    assert run_check("bucket", at).level is Level.OK


def test_a_service_that_cannot_be_reached_is_a_warning() -> None:
    lost = EndpointConnectionError(endpoint_url="https://nowhere")
    result = run_check("build-quota", context(ListServiceQuotas=lost))
    assert (result.level, result.remedy) == (Level.WARNING, None)
    assert "could not be checked: ListServiceQuotas: Could not connect" in result.message


@pytest.mark.parametrize(
    ("status", "level"),
    [
        ("UPDATE_COMPLETE", Level.OK),
        ("UPDATE_ROLLBACK_COMPLETE", Level.WARNING),
        ("UPDATE_IN_PROGRESS", Level.WARNING),
        ("UPDATE_ROLLBACK_FAILED", Level.ERROR),
        ("ROLLBACK_COMPLETE", Level.ERROR),
        ("DELETE_FAILED", Level.ERROR),
    ],
)
def test_the_status_of_the_stack_is_checked(status: str, level: Level) -> None:
    assert run_check("stack", context({**STACK, "StackStatus": status})).level is level


# The bucket and its key


@pytest.mark.parametrize(
    "check", ["bucket", "event-notifications", "versioning", "can-read-upload"]
)
def test_a_partly_created_stack_lacks_its_bucket(check: str) -> None:
    half = {**STACK, "StackStatus": "ROLLBACK_COMPLETE", "Outputs": []}
    result = run_check(check, context(half))
    assert result.level is Level.ERROR
    assert result.message == "the stack has no output UploadBucketName"


def owned_by_another(parameters: Mapping[str, Any]) -> Any:
    owner = parameters.get("ExpectedBucketOwner")
    return refusal("403", 403) if owner else {"BucketRegion": REGION}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (owned_by_another, f"drops does not belong to the account {ACCOUNT}"),
        ({"BucketRegion": "us-east-1"}, "drops is in us-east-1, the stack in eu-central-1"),
        (refusal("404", 404), "there is no bucket drops"),
    ],
)
def test_a_bucket_that_image_builder_refuses_is_an_error(answer: Any, words: str) -> None:
    result = run_check("bucket", context(HeadBucket=answer))
    assert result.level is Level.ERROR
    assert words in result.message


def test_the_remedy_keeps_other_notifications() -> None:
    kept = {"TopicConfigurations": [{"TopicArn": "t", "Events": ["s3:ObjectCreated:*"]}]}
    answer = {**kept, "ResponseMetadata": {}}
    remedy = run_check(
        "event-notifications", context(GetBucketNotificationConfiguration=answer)
    ).remedy
    assert remedy is not None
    assert json.dumps({**kept, "EventBridgeConfiguration": {}}) in remedy


def encrypted(key: str | None) -> dict[str, Any]:
    chosen = {"SSEAlgorithm": "aws:kms"} | ({"KMSMasterKeyID": key} if key else {})
    rule = {"ApplyServerSideEncryptionByDefault": chosen}
    return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}


@pytest.mark.parametrize(
    ("key", "parameter", "level"),
    [
        (None, "", Level.OK),
        (ARN.format("kms", "alias/aws/s3"), "", Level.OK),
        (KEY, KEY, Level.OK),
        ("1b2c3d4e", KEY, Level.OK),
        (KEY, "", Level.ERROR),
        (ARN.format("kms", "key/another"), KEY, Level.ERROR),
    ],
)
def test_the_stack_must_know_a_buckets_key_unless_aws_owns_it(
    key: str | None, parameter: str, level: Level
) -> None:
    at = context(with_parameters(KmsKeyArn=parameter), GetBucketEncryption=encrypted(key))
    assert run_check("encryption", at).level is level


def key_policy(root: bool, *services: str) -> dict[str, Any]:
    allow: list[Any] = [
        {"Effect": "Allow", "Action": "kms:*", "Principal": {"Service": each}} for each in services
    ]
    if root:
        owner = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        allow.append({"Effect": "Allow", "Action": "kms:*", "Principal": owner})
    return {"Policy": json.dumps({"Statement": allow})}


LOGS, EVENTS = f"logs.{REGION}.amazonaws.com", "events.amazonaws.com"


@pytest.mark.parametrize(
    ("state", "policy", "level", "words"),
    [
        ("Enabled", key_policy(True, LOGS, EVENTS), Level.OK, "enabled"),
        ("Enabled", key_policy(False, LOGS, EVENTS), Level.WARNING, "does not enable IAM policies"),
        ("Enabled", key_policy(True, EVENTS), Level.WARNING, f"does not name {LOGS}"),
        ("Disabled", {}, Level.ERROR, "is Disabled"),
        ("PendingDeletion", {}, Level.ERROR, "is PendingDeletion"),
    ],
)
def test_the_state_and_policy_of_a_customer_key_are_checked(
    state: str, policy: Any, level: Level, words: str
) -> None:
    at = context(
        with_parameters(KmsKeyArn=KEY),
        DescribeKey={"KeyMetadata": {"KeyState": state}},
        GetKeyPolicy=policy,
    )
    result = run_check("kms-key", at)
    assert result.level is level
    assert words in result.message


# Delivery


def test_the_remedy_for_a_rule_without_a_queue_sets_the_stacks_queue() -> None:
    bare = {name: value for name, value in TARGET.items() if name != "DeadLetterConfig"}
    result = run_check("upload-rule", context(ListTargetsByRule={"Targets": [bare]}))
    assert result.level is Level.WARNING
    assert ARN.format("sqs", "undelivered") in str(result.remedy)


def test_a_definition_that_step_functions_refuses_is_reported() -> None:
    judged = {"result": "FAIL", "diagnostics": [{"message": "no such integration"}]}
    result = run_check("state-machine-definition", context(ValidateStateMachineDefinition=judged))
    assert result.level is Level.ERROR
    assert "no such integration" in result.message


def history_of_steps(*runs: Mapping[str, Any]) -> dict[str, Any]:
    details = {
        "resourceType": "aws-sdk:imagebuilder",
        "resource": "listWorkflowExecutions",
        "output": json.dumps({"WorkflowExecutions": runs}),
    }
    return {"events": [{"type": "TaskSucceeded", "taskSucceededEventDetails": details}]}


@pytest.mark.parametrize(
    ("history", "level"),
    [
        (history_of_steps({"TotalStepsSucceeded": 3}), Level.OK),
        (history_of_steps({"Status": "RUNNING"}), Level.WARNING),
        (history_of_steps(), Level.OK),
        ({"events": [{"type": "ExecutionStarted"}]}, Level.OK),
    ],
)
def test_the_history_of_an_execution_is_checked_for_sdk_fields(history: Any, level: Level) -> None:
    ended = {"executions": [{"executionArn": "e"}]}
    assert run_check(
        "sdk-fields", context(ListExecutions=ended, GetExecutionHistory=history)
    ).level is (level)


def bus_denial(**condition: Any) -> dict[str, Any]:
    """A bus whose policy denies publishing to everybody, but on a condition."""
    statement = {
        "Sid": "Shut",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "events:PutEvents",
        "Condition": condition,
    }
    return {"Name": "default", "Policy": json.dumps({"Statement": [statement]})}


def test_an_event_bus_that_denies_publishing_names_the_denied_role() -> None:
    found = run_check("event-bus", context(DescribeEventBus=bus_denial()))
    assert found.level is Level.ERROR
    assert "does not let ReportBuildRole and SweepRole publish" in found.message
    assert "describe-event-bus" in (found.remedy or "")


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (refusal("ResourceNotFoundException"), Level.ERROR),
        ({"Policy": json.dumps(trust("any"))}, Level.OK),
        (
            {
                "Policy": json.dumps(
                    {"Statement": {"Sid": "Ours", "Effect": "Deny", "Action": "events:Put*"}}
                )
            },
            Level.WARNING,
        ),
        (bus_denial(), Level.ERROR),
        (
            bus_denial(ArnNotEquals={"aws:PrincipalArn": ARN.format("iam", "role/other")}),
            Level.ERROR,
        ),
        (bus_denial(ArnNotEquals={"aws:PrincipalArn": [ROLE]}), Level.OK),
        (bus_denial(ArnNotLike={"AWS:principalarn": "*"}), Level.OK),
        (bus_denial(StringNotEquals={"aws:SourceVpc": "vpc-1"}), Level.WARNING),
    ],
)
def test_a_missing_event_bus_or_a_denial_is_reported(answer: Any, level: Level) -> None:
    assert run_check("event-bus", context(DescribeEventBus=answer)).level is level


# Functions and layer


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"LastUpdateStatus": "InProgress"}, Level.WARNING, "LastUpdateStatus is InProgress"),
        (
            {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": "no key"},
            Level.ERROR,
            "LastUpdateStatus is Failed (no key)",
        ),
        ({"State": "Failed"}, Level.ERROR, "State is Failed"),
        ({"Runtime": "python3.9"}, Level.ERROR, "runs on python3.9"),
    ],
)
def test_the_state_of_a_function_is_checked(changes: Any, level: Level, words: str) -> None:
    result = run_check("sweep", context(GetFunctionConfiguration={**FUNCTION, **changes}))
    assert result.level is level
    assert words in result.message


def test_the_remedy_for_a_missing_function_is_to_deploy() -> None:
    gone = refusal("ResourceNotFoundException", 404)
    assert run_check("sweep", context(GetFunctionConfiguration=gone)).level is Level.ERROR


def test_an_environment_with_an_unusable_key_is_reported() -> None:
    shut = {**FUNCTION, "Environment": {"Error": {"Message": "KMS said no"}}}
    result = run_check("import-iso-settings", context(GetFunctionConfiguration=shut))
    assert result.level is Level.ERROR
    assert "KMS said no" in result.message


@pytest.mark.parametrize(
    ("description", "level"),
    [
        ("with boto3 1.44.5 in it", Level.OK),
        ("with boto3 2.0.0 in it", Level.OK),
        ("with boto3 1.43.99 in it", Level.ERROR),
        ("with libraries in it", Level.WARNING),
    ],
)
def test_the_boto3_version_of_a_layer_is_checked(description: str, level: Level) -> None:
    at = context(GetLayerVersionByArn={"Description": description})
    assert run_check("layer", at).level is level


def test_the_locked_boto3_of_the_layer_is_recent_enough() -> None:
    locked = Path(ROOT, "layers/isodrop/requirements.txt").read_text()
    version = locked.partition("\nboto3==")[2].split()[0]
    described = source()["Resources"]["IsodropLayer"]["Properties"]["Description"]
    assert f"boto3 {version}" in described
    assert tuple(map(int, version.split(".")))[:2] >= BOTO3
    assert (
        run_check("layer", context(GetLayerVersionByArn={"Description": described})).level
        is Level.OK
    )


# Roles


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ({"EvalDecision": "implicitDeny", "MatchedStatements": []}, "sam deploy restores"),
        (
            {
                "EvalDecision": "explicitDeny",
                "MatchedStatements": [{"SourcePolicyId": "no-images"}],
            },
            "the policy no-images",
        ),
        (
            {
                "EvalDecision": "implicitDeny",
                "PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False},
            },
            "its permissions boundary denies it",
        ),
        (
            {
                "EvalDecision": "explicitDeny",
                "OrganizationsDecisionDetail": {"AllowedByOrganizations": False},
            },
            "a policy of your organization denies it",
        ),
    ],
)
def test_a_denied_permission_is_reported_with_its_source(refused: Any, words: str) -> None:
    result = run_check(
        "can-import-image", context(SimulatePrincipalPolicy={"EvaluationResults": [refused]})
    )
    assert result.level is Level.ERROR
    assert "ImportIsoRole may not imagebuilder:ImportDiskImage" in result.message
    assert words in str(result.remedy)


def test_without_a_distribution_its_checks_are_skipped() -> None:
    at = context(SimulatePrincipalPolicy=refusal("AccessDenied"))
    for check in ("distribution", "can-distribute-image"):
        result = run_check(check, at)
        assert result.level is Level.OK
        assert "images are not distributed" in result.message


def test_the_regions_of_a_distribution_are_listed_and_a_lost_one_fails() -> None:
    stack = with_parameters(DistributionConfigurationArn=DISTRIBUTION)
    distributions = [{"region": region} for region in ("us-west-2", "eu-west-1", "us-west-2")]
    told = {"distributionConfiguration": {"name": "ours", "distributions": distributions}}
    there = run_check("distribution", context(stack, GetDistributionConfiguration=told))
    gone = refusal("ResourceNotFoundException")
    not_there = run_check("distribution", context(stack, GetDistributionConfiguration=gone))
    assert (there.level, there.message) == (
        *(Level.OK, "images are distributed to eu-west-1, us-west-2 by ours"),
    )
    assert not_there.level is Level.ERROR
    assert "DistributionConfigurationArn" in str(not_there.remedy)


@pytest.mark.parametrize("action", ["iam:PassRole", "imagebuilder:DistributeImage"])
def test_a_missing_permission_to_distribute_is_named(action: str) -> None:
    stack = with_parameters(DistributionConfigurationArn=DISTRIBUTION)

    def judge(asked: Mapping[str, Any]) -> Any:
        refused = asked["ActionNames"] == [action]
        decision = "implicitDeny" if refused else "allowed"
        return {"EvaluationResults": [{"EvalDecision": decision}]}

    result = run_check("can-distribute-image", context(stack, SimulatePrincipalPolicy=judge))
    assert result.level is Level.ERROR
    assert f"ReportBuildRole may not {action}" in result.message


def test_the_service_linked_role_given_by_arn_is_a_warning() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/imagebuilder.amazonaws.com/AWSServiceRole"
    changed = {**FUNCTION, "Environment": {"Variables": {**VARIABLES, "EXECUTION_ROLE": role}}}
    result = run_check("execution-role", context(GetFunctionConfiguration=changed))
    assert result.level is Level.WARNING


def test_a_new_account_gets_the_command_for_its_service_linked_role() -> None:
    result = run_check("service-linked-role", context(GetRole=refusal("NoSuchEntity", 404)))
    assert result.level is Level.WARNING
    assert "create-service-linked-role --aws-service-name imagebuilder.amazonaws.com" in str(
        result.remedy
    )


def refusing(action: str, **more: Any) -> Any:
    """IAM's simulation, which refuses one action."""

    def judge(asked: Mapping[str, Any]) -> Any:
        refused = {"EvalDecision": "implicitDeny", **more}
        return {
            "EvaluationResults": [
                refused if asked["ActionNames"] == [action] else {"EvalDecision": "allowed"}
            ]
        }

    return judge


@pytest.mark.parametrize(
    "action",
    [
        *("imagebuilder:ImportDiskImage", "imagebuilder:TagResource"),
        *("imagebuilder:GetWorkflow", "imagebuilder:GetInfrastructureConfiguration"),
    ],
)
def test_a_missing_permission_that_imports_need_is_named(action: str) -> None:
    result = run_check("can-import-image", context(SimulatePrincipalPolicy=refusing(action)))
    assert result.level is Level.ERROR
    assert f"ImportIsoRole may not {action}" in result.message


@pytest.mark.parametrize(
    ("check", "action", "policy"),
    [
        ("execution-role", "ssm:SendCommand", "EC2ImageBuilderExecutionPolicy"),
        ("instance-profile", "logs:PutLogEvents", "EC2InstanceProfileForImageBuilder"),
    ],
)
def test_a_missing_permission_that_builds_need_is_named(
    check: str, action: str, policy: str
) -> None:
    # A role of one's own has policies of its own: what counts is what it may do.
    bounded = {"PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False}}
    well = run_check(check, context())
    lacking = run_check(check, context(SimulatePrincipalPolicy=refusing(action)))
    kept = run_check(check, context(SimulatePrincipalPolicy=refusing(action, **bounded)))
    assert well.level is Level.OK
    assert lacking.level is kept.level is Level.ERROR
    assert f"may not {action}" in lacking.message
    assert policy in str(lacking.remedy)
    assert "its permissions boundary denies it" in str(kept.remedy)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal("NoSuchEntity", 404), "there is no instance profile builds"),
        ({"InstanceProfile": {"Roles": []}}, "has no role"),
    ],
)
def test_an_instance_profile_without_a_role_is_an_error(answer: Any, words: str) -> None:
    result = run_check("instance-profile", context(GetInstanceProfile=answer))
    assert result.level is Level.ERROR
    assert words in result.message


# The network


NAT = {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1", "State": "active"}
IGW = {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1", "State": "active"}
LOCAL = {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "State": "active"}


def in_a_subnet(
    route: Mapping[str, Any], *endpoints: str, public: bool = False, **changes: Any
) -> CheckContext:
    """A stack whose builds run in a subnet with a route table of its own."""
    configured = {
        **HEALTHY["GetInfrastructureConfiguration"]["infrastructureConfiguration"],
        "subnetId": "subnet-1",
        "securityGroupIds": ["sg-1"],
    }
    subnet = {"SubnetId": "subnet-1", "VpcId": "vpc-1", "MapPublicIpOnLaunch": public}
    group = {"GroupId": "sg-1", "VpcId": "vpc-1", "IpPermissionsEgress": [{"IpProtocol": "-1"}]}
    tables = [
        {"Associations": [{"Main": True}], "Routes": [LOCAL, IGW]},
        {"Associations": [{"SubnetId": "subnet-1"}], "Routes": [LOCAL, route]},
    ]
    there = [
        {"ServiceName": f"com.amazonaws.{REGION}.{each}", "State": "available"}
        for each in endpoints
    ]
    answers = {
        "GetInfrastructureConfiguration": {"infrastructureConfiguration": configured},
        "DescribeSubnets": {"Subnets": [subnet]},
        "DescribeSecurityGroups": {"SecurityGroups": [group]},
        "DescribeRouteTables": {"RouteTables": tables},
        "DescribeVpcEndpoints": {"VpcEndpoints": there},
    }
    return context(**answers | changes)


ALL = ("s3", "ec2", "logs", "ssm", "ssmmessages", "ec2messages")


def an_s3_endpoint(*statements: Mapping[str, Any]) -> dict[str, Any]:
    policy = json.dumps({"Statement": list(statements)})
    service = f"com.amazonaws.{REGION}.s3"
    endpoint = {"VpcEndpointId": "vpce-1", "ServiceName": service, "PolicyDocument": policy}
    return {"VpcEndpoints": [endpoint]}


COPIES = "arn:aws:s3:::the-copies/*"
READ_ALL = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}


@pytest.mark.parametrize(
    ("statements", "level"),
    [
        ([READ_ALL], Level.OK),
        ([{**READ_ALL, "Action": ["s3:Get*"], "Resource": [COPIES]}], Level.OK),
        ([{**READ_ALL, "Resource": "arn:aws:s3:::others/*"}], Level.ERROR),
        ([{**READ_ALL, "Action": "s3:PutObject"}], Level.ERROR),
        ([READ_ALL, {**READ_ALL, "Effect": "Deny", "Resource": COPIES}], Level.ERROR),
        ([READ_ALL, {**READ_ALL, "Effect": "Deny", "NotResource": COPIES}], Level.OK),
        ([READ_ALL, {**READ_ALL, "Effect": "Deny", "Condition": {"Bool": {}}}], Level.OK),
    ],
)
def test_the_policy_of_an_s3_endpoint_must_allow_builds_the_copies(
    statements: list[Mapping[str, Any]], level: Level
) -> None:
    result = run_check(
        "network", in_a_subnet(NAT, DescribeVpcEndpoints=an_s3_endpoint(*statements))
    )
    assert result.level is level
    if level is Level.ERROR:
        assert "vpce-1 does not allow builds to read the copies in the-copies" in result.message
        assert "--reset-policy" in str(result.remedy)


@pytest.mark.parametrize(
    ("at", "level", "words"),
    [
        (in_a_subnet(NAT), Level.OK, "routes to the internet through nat-1"),
        (in_a_subnet(IGW, public=True), Level.OK, "routes to the internet through igw-1"),
        (in_a_subnet(IGW), Level.ERROR, "assigns no public IP addresses"),
        (in_a_subnet({**NAT, "State": "blackhole"}), Level.ERROR, "has no internet access"),
        (in_a_subnet(LOCAL, *ALL), Level.OK, "through VPC endpoints"),
        (in_a_subnet(LOCAL, *ALL[:-2]), Level.ERROR, "no endpoints for ssmmessages, ec2messages"),
        (
            in_a_subnet(NAT, DescribeSubnets=refusal("InvalidSubnetID.NotFound")),
            Level.ERROR,
            "there is no ['subnet-1']",
        ),
        (context(DescribeVpcs={"Vpcs": []}), Level.ERROR, "this Region has no default VPC"),
    ],
)
def test_the_route_of_builds_to_the_internet_is_checked(
    at: CheckContext, level: Level, words: str
) -> None:
    result = run_check("network", at)
    assert result.level is level
    assert words in result.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"VpcId": "vpc-2"}, "not in the subnet's VPC"),
        ({"IpPermissionsEgress": []}, "allow no outbound traffic"),
    ],
)
def test_security_groups_that_do_not_fit_are_an_error(changes: Any, words: str) -> None:
    group = {"GroupId": "sg-1", "VpcId": "vpc-1", "IpPermissionsEgress": [{}], **changes}
    at = in_a_subnet(NAT, DescribeSecurityGroups={"SecurityGroups": [group]})
    result = run_check("network", at)
    assert result.level is Level.ERROR
    assert words in result.message


@pytest.mark.parametrize(
    ("quotas", "level", "words"),
    [
        ([("Concurrent builds", 3.0)], Level.OK, "allows 3 concurrent builds"),
        ([("Concurrent builds", 0.0)], Level.ERROR, "the quota of concurrent builds is 0"),
        ([("Components", 1000.0)], Level.WARNING, "lists no quota of concurrent builds"),
    ],
)
def test_the_quota_of_concurrent_builds_is_found_by_its_name(
    quotas: Any, level: Level, words: str
) -> None:
    told = [{"QuotaName": name, "Value": value, "QuotaCode": "L-1"} for name, value in quotas]
    result = run_check("build-quota", context(ListServiceQuotas={"Quotas": told}))
    assert result.level is level
    assert words in result.message


# What was promised


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal("ResourceNotFoundException"), "the ledger table the-ledger does not exist"),
        ({"Table": {"TableStatus": "DELETING"}}, "the ledger is DELETING"),
        ({"Table": {"TableStatus": "ACTIVE"}}, "index ByState is not active"),
    ],
)
def test_a_ledger_that_cannot_be_written_is_an_error(answer: Any, words: str) -> None:
    result = run_check("ledger", context(DescribeTable=answer))
    assert result.level is Level.ERROR
    assert words in result.message


def test_only_runs_older_than_the_longest_build_are_overdue() -> None:
    asked: list[Mapping[str, Any]] = []

    def query(parameters: Mapping[str, Any]) -> Any:
        asked.append(parameters)
        return {"Items": []}

    assert run_check("overdue-uploads", context(Query=query)).level is Level.OK
    # 16 hours that a build is followed, and two more.
    before = asked[0]["ExpressionAttributeValues"][":before"]["S"]
    assert before == "2026-11-23T18:00:00+00:00"


def test_commands_name_the_profile_that_was_named() -> None:
    at = replace(context(GetBucketVersioning={}), profile="imports")
    assert run_check("versioning", at).remedy == (
        "aws s3api put-bucket-versioning --bucket drops --versioning-configuration Status=Enabled"
        " --region eu-central-1 --profile imports"
    )


@pytest.mark.parametrize(("number", "last"), [(1, "1 ok, 1 warning"), (2, "1 ok, 2 warnings")])
def test_on_a_terminal_the_findings_are_counted_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, last: str
) -> None:
    monkeypatch.setattr(cli, "console", Console)
    doubts = [Finding("quota", CheckResult(Level.WARNING, "low"))] * number
    cli.print_results((Finding("stack", CheckResult(Level.OK, "is whole")), *doubts))
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_the_sample_in_the_readme_is_what_a_terminal_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "README.md").read_text()
    sample = page.partition("$ isodrop doctor")[2].partition("\n")[2].partition("```")[0]
    summaries = [
        {**each, "PhysicalResourceId": "imports-UploadRule-1X2Y"}
        if each["LogicalResourceId"] == "UploadRule"
        else each
        for each in HEALTHY["ListStackResources"]["StackResourceSummaries"]
    ]
    at = context(
        ListStackResources={"StackResourceSummaries": summaries},
        DescribeRule={"State": "DISABLED"},
        ListServiceQuotas=refusal("AccessDenied", 403),
    )
    shown = [
        each for each in CHECKS if each.name in ("upload-rule", "can-pass-role", "build-quota")
    ]
    screen = Console(width=120, color_system=None, highlight=False, markup=False)
    monkeypatch.setattr(cli, "console", lambda: screen)

    cli.print_results(tuple(run_checks(at, shown)))

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [*sample.splitlines(), "1 error, 1 ok, 1 warning"]
    assert f"(Three of its {len(CHECKS)} checks, " in page


def operations() -> set[tuple[str, str]]:
    """Every service and operation that a check may ask, as the checks' source has it."""
    found = set()
    for path in (ROOT / "cli/isodrop_cli/doctor").glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        words = {each.value for each in nodes if isinstance(each, ast.Constant)}
        for node in nodes:
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".call")):
                continue
            service, operation = (getattr(each, "value", None) for each in node.args[:2])
            assert isinstance(service, str)
            # One helper is told what to describe.
            named = (
                [operation] if operation else [each for each in words if str(each)[:4] == "Desc"]
            )
            found |= {(service, str(each)) for each in named}
    return found


def test_the_policy_in_the_readme_allows_every_call_of_doctor() -> None:
    policies = json.loads(aws_managed_policies_data)
    allowed = [
        action
        for statement in policies["ReadOnlyAccess"]["Document"]["Statement"]
        for action in statement["Action"]
    ]
    asked = {action_of(*each) for each in operations()} | {"cloudformation:DescribeStacks"}

    assert {operation for _, operation in operations()} >= HEALTHY.keys()
    assert [each for each in asked if not any(fnmatchcase(each, one) for one in allowed)] == []
