"""isodrop doctor on the deployed template: healthy, and with each fault."""

import json
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore import xform_name

from isodrop_cli.doctor import CachingApi, CheckContext, run_checks
from isodrop_cli.main import main
from isodrop_local.stack import REGION, EmulatedStack, credentials
from tests.stack.conftest import PARAMETERS

Break = Callable[["Patient"], object]


class Patient:
    """A stack that gets faults and repairs, and doctor's findings."""

    def __init__(self, stack: EmulatedStack) -> None:
        self.stack = stack
        self.session = boto3.Session(**credentials())
        response = stack.client("cloudformation").list_stack_resources(StackName=stack.name)
        found = response["StackResourceSummaries"]
        self.of = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}

    def client(self, service: str) -> Any:
        return self.stack.client(service)

    def findings(self) -> dict[str, tuple[str, str, str | None]]:
        """The failed checks, without those that the emulator does not support."""
        # A change of a function takes a moment.
        self.stack.wait_for(lambda: all(self._is_settled(name) for name in FUNCTIONS))
        response = self.client("cloudformation").describe_stacks(StackName=self.stack.name)
        clients = {name: self.client(name) for name in SERVICES}
        context = CheckContext(
            CachingApi(self.session, clients), response["Stacks"][0], datetime.now(UTC)
        )
        return {
            each.check: (each.result.level.value, each.result.message, each.result.remedy)
            for each in run_checks(context)
            if each.result.level != "ok" and each.check != "build-quota"
        }

    def _is_settled(self, function: str) -> bool:
        arguments = {"FunctionName": self.of[function]}
        response = self.client("lambda").get_function_configuration(**arguments)
        return bool(response["LastUpdateStatus"] == "Successful")

    def follow(self, commands: str) -> None:
        """Run the command of a remedy, as the AWS CLI would."""
        for command in commands.split(" && "):
            _, service, operation, *message = shlex.split(command)
            client = self.client({"s3api": "s3"}.get(service, service))
            method = xform_name("".join(word.capitalize() for word in operation.split("-")))
            name = client.meta.method_to_api_mapping[method]
            members = client.meta.service_model.operation_model(name).input_shape.members
            members = {xform_name(each).replace("_", "-"): each for each in members}
            arguments: dict[str, Any] = {}
            for word in message:
                if word.startswith("--"):
                    arguments[option := word.removeprefix("--")] = True
                else:
                    arguments[option] = _value(word)
            assert arguments.pop("region") == REGION
            getattr(client, method)(**{members[option]: arguments[option] for option in arguments})


SERVICES = (
    *("cloudformation", "s3", "kms", "events", "stepfunctions", "sqs", "lambda", "iam"),
    *("imagebuilder", "ec2", "dynamodb", "service-quotas"),
)


FUNCTIONS = ("ImportIso", "ReportBuild", "Sweep")


def _value(text: str) -> Any:
    if text[0] in "{[":
        return text if text.startswith('{"Version"') else json.loads(text)
    name, equals, value = text.partition("=")
    return {name: {"true": True}.get(value, value)} if equals else text


@pytest.fixture(scope="module")
def patient() -> Iterator[Patient]:
    """A separate stack, because the shared one must stay healthy."""
    with EmulatedStack(wait_scale=0.001) as stack:
        stack.deploy(PARAMETERS)
        yield Patient(stack)


@pytest.fixture
def run(
    patient: Patient, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    for name, value in patient.stack.environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main(("doctor", *arguments))
        return (status, *capfd.readouterr())

    return run


def test_a_healthy_stack_passes_all_checks_that_the_emulator_supports(
    patient: Patient, run: Callable[..., tuple[int, str, str]]
) -> None:
    status, out, _ = run("--json")
    response = json.loads(out)
    levels = {each["check"]: each["level"] for each in response["checks"]}
    assert (status, response["hasErrors"], response["stack"]) == (0, False, patient.stack.name)
    assert {check: level for check, level in levels.items() if level != "ok"} == {
        "build-quota": "warning"
    }


def test_a_broken_stack_is_reported_in_a_line_with_its_remedy(
    patient: Patient, run: Callable[..., tuple[int, str, str]]
) -> None:
    patient.client("events").disable_rule(Name=patient.of["UploadRule"])
    try:
        status, out, _ = run()
    finally:
        patient.client("events").enable_rule(Name=patient.of["UploadRule"])
    broken = [line.split("\t") for line in out.splitlines() if line.startswith("error\t")]
    rule = patient.of["UploadRule"]
    assert status == 4
    assert [(check, remedy) for _, check, _, remedy in broken] == [
        ("upload-rule", f"aws events enable-rule --name {rule} --region {REGION}")
    ]


def test_without_a_stack_no_check_runs(
    run: Callable[..., tuple[int, str, str]],
) -> None:
    status, out, err = run("--stack", "nowhere")
    assert (status, out) == (1, "")
    assert "there is no stack nowhere in us-east-1" in err


def trust(service: str) -> str:
    allow = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [allow]})


def managed(name: str) -> str:
    return f"arn:aws:iam::aws:policy/{name}"


WITH_A_COMMAND: dict[str, tuple[str, str, Break]] = {
    "event-notifications": (
        "error",
        "does not send events to EventBridge",
        lambda p: p.client("s3").put_bucket_notification_configuration(
            Bucket=p.stack.bucket, NotificationConfiguration={}
        ),
    ),
    "versioning": (
        "warning",
        "versioning is suspended",
        lambda p: p.client("s3").put_bucket_versioning(
            Bucket=p.stack.bucket, VersioningConfiguration={"Status": "Suspended"}
        ),
    ),
    "upload-rule": (
        "error",
        "does not start the state machine",
        lambda p: p.client("events").remove_targets(
            Rule=p.of["UploadRule"], Ids=["ImportStateMachine"]
        ),
    ),
    "sweep-schedule": (
        "error",
        "is disabled: lost events start nothing, and ended runs get no answer",
        lambda p: p.client("events").disable_rule(Name=p.of["SweepSchedule"]),
    ),
    "report-build": (
        "error",
        "runs on python3.12, but the layer is built for python3.13",
        lambda p: p.client("lambda").update_function_configuration(
            FunctionName=p.of["ReportBuild"], Runtime="python3.12"
        ),
    ),
    "execution-role": (
        "error",
        "is not allowed to perform ec2:DescribeImages: no policy allows it",
        lambda p: p.client("iam").detach_role_policy(
            RoleName=p.of["BuildExecutionRole"],
            PolicyArn=managed("EC2ImageBuilderExecutionPolicy"),
        ),
    ),
    "instance-profile": (
        "error",
        "is not allowed to perform imagebuilder:GetComponent: no policy allows it",
        lambda p: [
            p.client("iam").detach_role_policy(
                RoleName=p.of["BuildInstanceRole"], PolicyArn=managed(name)
            )
            for name in ("EC2InstanceProfileForImageBuilder", "AmazonSSMManagedInstanceCore")
        ],
    ),
    "point-in-time-recovery": (
        "warning",
        "point-in-time recovery is not enabled",
        lambda p: p.client("dynamodb").update_continuous_backups(
            TableName=p.of["LedgerTable"],
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
        ),
    ),
}


@pytest.mark.parametrize("check", WITH_A_COMMAND)
def test_a_fault_is_reported_alone_and_its_remedy_fixes_it(patient: Patient, check: str) -> None:
    level, message, break_it = WITH_A_COMMAND[check]
    break_it(patient)

    found = patient.findings()

    assert found.keys() == {check}
    assert found[check][0] == level
    assert message in found[check][1]
    patient.follow(str(found[check][2]))
    assert patient.findings() == {}


def test_a_role_that_image_builder_may_not_assume_is_reported_and_fixed(patient: Patient) -> None:
    patient.client("iam").update_assume_role_policy(
        RoleName=patient.of["BuildExecutionRole"], PolicyDocument=trust("ec2.amazonaws.com")
    )

    _, message, remedy = patient.findings()["execution-role"]

    assert "does not trust imagebuilder.amazonaws.com" in message
    patient.follow(str(remedy))
    assert patient.findings() == {}


def change_variable(patient: Patient, function: str, **changes: str) -> None:
    functions = patient.client("lambda")
    name = patient.of[function]
    response = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": {**response, **changes}}
    )


def change_layers(patient: Patient, *layers: str) -> None:
    patient.client("lambda").update_function_configuration(
        FunctionName=patient.of["ImportIso"], Layers=list(layers)
    )


def change_policy(patient: Patient, wanted: Callable[[dict[str, Any]], bool]) -> None:
    arguments = {"RoleName": patient.of["ImportIsoRole"], "PolicyName": "import-iso"}
    iam = patient.client("iam")
    kept = patient.__dict__.setdefault("policy", iam.get_role_policy(**arguments)["PolicyDocument"])
    document = {**kept, "Statement": [each for each in kept["Statement"] if wanted(each)]}
    iam.put_role_policy(**arguments, PolicyDocument=json.dumps(document))


def change_definition(patient: Patient, old: str, new: str) -> None:
    states, arn = patient.client("stepfunctions"), patient.of["ImportStateMachine"]
    response = states.describe_state_machine(stateMachineArn=arn)["definition"]
    states.update_state_machine(stateMachineArn=arn, definition=response.replace(old, new))


def change_infrastructure(patient: Patient, **changes: Any) -> None:
    builder, arn = patient.client("imagebuilder"), patient.of["InfrastructureConfiguration"]
    builder.update_infrastructure_configuration(
        infrastructureConfigurationArn=arn,
        instanceProfileName=patient.of["BuildInstanceProfile"],
        **changes,
    )


def in_a_private_subnet(patient: Patient) -> dict[str, Any]:
    subnets = patient.client("ec2").describe_subnets()["Subnets"]
    groups = patient.client("ec2").describe_security_groups()["SecurityGroups"]
    return {"subnetId": subnets[0]["SubnetId"], "securityGroupIds": [groups[0]["GroupId"]]}


def change_encryption(patient: Patient, **how: str) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": how}
    patient.client("s3").put_bucket_encryption(
        Bucket=patient.stack.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}
    )


def waiting() -> dict[str, Any]:
    message = {
        "pk": "UPLOAD#lost",
        "sk": "RUN#000000",
        "state": "open",
        "claimedAt": "2026-01-02T03:04",
    }
    return {name: {"S": value} for name, value in message.items()}


BY_HAND: dict[str, tuple[str, str, str, Break, Break]] = {
    "import-iso-settings": (
        "error",
        "MAX_CONSECUTIVE_FAILURES: Input should be greater than or equal to 1",
        "correct the parameter",
        lambda p: change_variable(p, "ImportIso", MAX_CONSECUTIVE_FAILURES="0"),
        lambda p: change_variable(p, "ImportIso", MAX_CONSECUTIVE_FAILURES="2"),
    ),
    "layer": (
        "error",
        "ImportIso does not have the isodrop layer",
        "sam build && sam deploy",
        change_layers,
        lambda p: change_layers(p, p.stack.outputs["LayerArn"]),
    ),
    "can-pass-role": (
        "error",
        (
            "ImportIsoRole is not allowed to perform iam:PassRole on"
            " arn:aws:iam::123456789012:role/isodrop-Build"
        ),
        "sam deploy restores the stack's own",
        lambda p: change_policy(p, lambda each: each["Action"] != "iam:PassRole"),
        lambda p: change_policy(p, bool),
    ),
    "state-machine": (
        "error",
        "does not invoke this stack's ReportBuild",
        "sam deploy",
        lambda p: change_definition(p, p.of["ReportBuild"], "somebody-else-s"),
        lambda p: change_definition(p, "somebody-else-s", p.of["ReportBuild"]),
    ),
    "network": (
        "error",
        "no endpoints for s3, ec2, logs, ssm, ssmmessages, ec2messages",
        "aws ec2 create-vpc-endpoint --vpc-id vpc-",
        lambda p: change_infrastructure(p, **in_a_private_subnet(p)),
        change_infrastructure,
    ),
    "encryption": (
        "error",
        "encrypted with the KMS key 1b2c3d4e, which the stack's roles are not allowed to use",
        "deploy with KmsKeyArn=arn:aws:kms:us-east-1:123456789012:key/1b2c3d4e",
        lambda p: change_encryption(p, SSEAlgorithm="aws:kms", KMSMasterKeyID="1b2c3d4e"),
        lambda p: change_encryption(p, SSEAlgorithm="AES256"),
    ),
    "dead-letter-queue": (
        "warning",
        "EventBridge could not deliver 1 events",
        "aws sqs receive-message --queue-url",
        lambda p: p.client("sqs").send_message(QueueUrl=p.of["DeadLetterQueue"], MessageBody="{}"),
        lambda p: p.client("sqs").purge_queue(QueueUrl=p.of["DeadLetterQueue"]),
    ),
    "overdue-uploads": (
        "warning",
        "1 uploads have no answer yet and are overdue; the oldest was claimed on 2026-01-02",
        "isodrop list --open --stack isodrop",
        lambda p: p.client("dynamodb").put_item(TableName=p.of["LedgerTable"], Item=waiting()),
        lambda p: p.client("dynamodb").delete_item(
            TableName=p.of["LedgerTable"], Key={name: waiting()[name] for name in ("pk", "sk")}
        ),
    ),
}


@pytest.mark.parametrize("check", BY_HAND)
def test_a_fault_without_an_automatic_fix_is_reported_with_a_remedy(
    patient: Patient, check: str
) -> None:
    level, message, remedy, break_it, repair = BY_HAND[check]
    break_it(patient)
    try:
        found = patient.findings()
    finally:
        repair(patient)
    assert found.keys() == {check}
    assert found[check][0] == level
    assert message in found[check][1]
    assert remedy in str(found[check][2])
    assert patient.findings() == {}


def test_missing_resources_are_named_and_no_check_stops_another(patient: Patient) -> None:
    # Given no bucket, no infrastructure configuration and no schedule
    s3, events = patient.client("s3"), patient.client("events")
    builder = patient.client("imagebuilder")
    s3.delete_bucket(Bucket=patient.stack.bucket)
    builder.delete_infrastructure_configuration(
        infrastructureConfigurationArn=patient.of["InfrastructureConfiguration"]
    )
    schedule = patient.of["SweepSchedule"]
    targets = events.list_targets_by_rule(Rule=schedule)["Targets"]
    events.remove_targets(Rule=schedule, Ids=[each["Id"] for each in targets])
    events.delete_rule(Name=schedule)
    # When
    found = patient.findings()
    # Then
    assert {check for check, (level, *_) in found.items() if level == "error"} >= {
        *("bucket", "infrastructure", "sweep-schedule"),
    }
    assert f"there is no bucket {patient.stack.bucket}" in found["bucket"][1]
    assert patient.of["InfrastructureConfiguration"] in found["infrastructure"][1]
    assert not found.keys() & {
        "upload-rule",
        "state-machine",
        "import-iso",
        "can-pass-role",
        "ledger",
    }
