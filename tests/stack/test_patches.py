"""The emulator does what AWS does, where it matters to isodrop: each mend, and what needs none.

A docstring of :mod:`isodrop_local.patches` says of each mend what the real service documents.
"""

import io
import json
import os
import socket
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from isodrop_local.stack import LocalStack, credentials

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.literals import TemplateStageType

ROLE = "arn:aws:iam::123456789012:role/any"
INVOKE = "arn:aws:states:::lambda:invoke"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(wait_scale=0.01, files=[tmp_path_factory.getbasetemp()]) as started:
        started.create_role("any", {"Effect": "Allow", "Action": "*", "Resource": "*"})
        yield started


@pytest.fixture(scope="module")
def bucket(emulator: LocalStack) -> str:
    """A versioned bucket that tells EventBridge what happens in it."""
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket="drops")
    s3.put_bucket_versioning(Bucket="drops", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(
        Bucket="drops", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    return "drops"


def test_keys_that_no_xml_can_hold_are_listed(emulator: LocalStack, bucket: str) -> None:
    """S3 encodes keys as URLs where the client asks for it; boto3 does, and decodes them."""
    s3 = emulator.client("s3")
    key = "odd/\x1b[31m\n +%41é.iso"
    s3.put_object(Bucket=bucket, Key=key, Body=b"")

    listed = s3.list_object_versions(Bucket=bucket, Prefix="odd/")

    assert (listed["Prefix"], [each["Key"] for each in listed["Versions"]]) == ("odd/", [key])


def test_a_simulation_knows_the_managed_policies_of_aws(emulator: LocalStack) -> None:
    iam = emulator.client("iam")
    role = iam.create_role(RoleName="builds", AssumeRolePolicyDocument="{}")["Role"]
    iam.attach_role_policy(
        RoleName="builds", PolicyArn="arn:aws:iam::aws:policy/EC2ImageBuilderExecutionPolicy"
    )
    judged = iam.simulate_principal_policy(
        PolicySourceArn=role["Arn"], ActionNames=["ec2:DescribeImages", "s3:GetObject"]
    )["EvaluationResults"]
    assert [each["EvalDecision"] for each in judged] == ["allowed", "implicitDeny"]


def test_a_simulated_policy_uses_the_given_context(emulator: LocalStack) -> None:
    """IAM evaluates conditions with the keys that SimulatePrincipalPolicy is given."""
    iam = emulator.client("iam")
    service = {"StringEquals": {"iam:PassedToService": "imagebuilder.amazonaws.com"}}
    allow = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": ROLE, "Condition": service}
    role = iam.create_role(RoleName="passes", AssumeRolePolicyDocument="{}")["Role"]
    iam.put_role_policy(
        RoleName="passes",
        PolicyName="pass",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
    )

    def passing_to(service: str) -> str:
        key = {"ContextKeyName": "iam:PassedToService", "ContextKeyType": "string"}
        judged = iam.simulate_principal_policy(
            PolicySourceArn=role["Arn"],
            ActionNames=["iam:PassRole"],
            ResourceArns=[ROLE],
            ContextEntries=[{**key, "ContextKeyValues": [service]}],
        )
        return str(judged["EvaluationResults"][0]["EvalDecision"])

    assert passing_to("imagebuilder.amazonaws.com") == "allowed"
    assert passing_to("ec2.amazonaws.com") == "implicitDeny"


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


class Bare:
    """An emulator that somebody else started."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def client(self, service: str) -> Any:
        session = boto3.session.Session(**credentials())
        return session.client(service, endpoint_url=self.endpoint)  # type: ignore[call-overload]  # any


def make_function(emulator: LocalStack | Bare, body: str, **settings: Any) -> str:
    """Deploy a function whose handler has this body; give its ARN."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    made = emulator.client("lambda").create_function(
        FunctionName=f"f-{uuid.uuid4().hex[:8]}",
        Runtime="python3.13",
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": zipped({"app.py": f"def handler(event, context):\n{lines}\n"})},
        **settings,
    )
    return str(made["FunctionArn"])


def call(emulator: LocalStack, function: str, event: object = None) -> Any:
    answer = emulator.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps(event).encode()
    )
    return json.load(answer["Payload"])


def make_machine(emulator: LocalStack | Bare, states: dict[str, Any], start: str) -> str:
    definition = {"QueryLanguage": "JSONata", "StartAt": start, "States": states}
    made = emulator.client("stepfunctions").create_state_machine(
        name=f"m-{uuid.uuid4().hex[:8]}", definition=json.dumps(definition), roleArn=ROLE
    )
    return str(made["stateMachineArn"])


def run(emulator: LocalStack, states: dict[str, Any], start: str, given: object = None) -> Any:
    """Run a state machine to its end; give its output, or its error's name."""
    states_client = emulator.client("stepfunctions")
    execution = states_client.start_execution(
        stateMachineArn=make_machine(emulator, states, start), input=json.dumps(given)
    )["executionArn"]
    ended = emulator.wait_for(lambda: over(emulator, execution))
    return json.loads(ended["output"]) if ended["status"] == "SUCCEEDED" else ended["error"]


def over(emulator: LocalStack, execution: str) -> Any:
    found = emulator.client("stepfunctions").describe_execution(executionArn=execution)
    return found if found["status"] != "RUNNING" else None


def task(function: str, **fields: Any) -> dict[str, Any]:
    """A state that invokes a function and gives its result."""
    return {
        "Type": "Task",
        "Resource": INVOKE,
        "Arguments": {"FunctionName": function, "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
        "End": True,
        **fields,
    }


class TestFunctions:
    def test_an_exception_is_reported_under_its_class_s_name(self, emulator: LocalStack) -> None:
        function = make_function(
            emulator, "class BusyError(Exception): pass\nraise BusyError('no')"
        )
        answer = call(emulator, function)
        assert (answer["errorType"], answer["errorMessage"]) == ("BusyError", "no")
        assert answer["stackTrace"]

    def test_step_functions_retries_and_catches_by_that_name(self, emulator: LocalStack) -> None:
        body = """\
import pathlib, tempfile
class BusyError(Exception): pass
class LostError(Exception): pass
mark = pathlib.Path(tempfile.gettempdir(), "mark")
if not mark.exists():
    mark.touch()
    raise BusyError()
raise LostError()"""
        state = task(
            make_function(emulator, body),
            Retry=[{"ErrorEquals": ["BusyError"], "MaxAttempts": 1}],
            Catch=[{"ErrorEquals": ["LostError"], "Output": "caught", "Next": "End"}],
        )
        states = {"Do": state, "End": {"Type": "Succeed"}}
        assert run(emulator, states, "Do") == "caught"

    def test_a_function_sees_its_code_and_the_standard_library_only(
        self, emulator: LocalStack
    ) -> None:
        body = """\
import importlib.util, os, sys
found = [n for n in ("botocore", "pytest", "isodrop", "pip") if importlib.util.find_spec(n)]
return {"found": found, "path": sys.path, "environ": sorted(os.environ)}"""
        answer = call(emulator, make_function(emulator, body))
        assert answer["found"] == []
        assert not [entry for entry in answer["path"] if "site-packages" in entry]
        lambdas_own = ("AWS_", "LAMBDA_", "_X_AMZN_", "LANG", "LC_", "PATH", "TZ", "HOME", "TMPDIR")
        assert [name for name in answer["environ"] if not name.startswith(lambdas_own)] == []

    def test_a_function_sees_its_layers(self, emulator: LocalStack) -> None:
        layer = emulator.client("lambda").publish_layer_version(
            LayerName="words", Content={"ZipFile": zipped({"python/words.py": "WORD = 'layer'"})}
        )["LayerVersionArn"]
        body = "import words\nreturn words.WORD"
        assert call(emulator, make_function(emulator, body, Layers=[layer])) == "layer"

    def test_a_function_that_dies_is_an_exit_error(self, emulator: LocalStack) -> None:
        function = make_function(
            emulator, "import os, signal\nif event: os.kill(os.getpid(), signal.SIGKILL)\nreturn 1"
        )
        assert call(emulator, function, 0) == 1
        answer = call(emulator, function, 1)
        assert answer["errorType"] == "Runtime.ExitError"
        assert answer["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
        assert call(emulator, function, 0) == 1

    def test_a_function_that_takes_too_long_is_timed_out(self, emulator: LocalStack) -> None:
        function = make_function(emulator, "import time\ntime.sleep(event)\nreturn 1", Timeout=1)
        answer = call(emulator, function, 5)
        assert answer["errorType"] == "Sandbox.Timedout"
        assert answer["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
        assert call(emulator, function, 0) == 1

    def test_a_function_that_cannot_be_imported_fails_with_a_reason(
        self, emulator: LocalStack
    ) -> None:
        function = emulator.client("lambda").create_function(
            FunctionName="broken",
            Runtime="python3.13",
            Role=ROLE,
            Handler="app.handler",
            Code={"ZipFile": zipped({"app.py": "import nowhere"})},
        )["FunctionArn"]
        assert call(emulator, function)["errorType"] == "Runtime.ImportModuleError"

    def test_a_result_that_is_no_json_is_an_error(self, emulator: LocalStack) -> None:
        answer = call(emulator, make_function(emulator, "return object()"))
        assert answer["errorType"] == "Runtime.MarshalError"

    def test_a_call_can_kill_its_caller_and_take_effect(self, emulator: LocalStack) -> None:
        """As a crash does after the call and before its answer."""
        body = """\
import os, urllib.request
request = urllib.request.Request(
    os.environ["AWS_ENDPOINT_URL"] + "/ListInfrastructureConfigurations",
    b"{}",
    {
        "Authorization": "AWS4-HMAC-SHA256 Credential=1/2/us-east-1/imagebuilder/aws4_request",
        "User-Agent": "app/isodrop app/" + os.environ["AWS_SDK_UA_APP_ID"],
    },
    method="POST",
)
return urllib.request.urlopen(request).status"""
        function = make_function(emulator, body)
        assert call(emulator, function) == 200
        operation = "ListInfrastructureConfigurations"
        how = {"code": "lost", "committed": True, "kill_caller": True}
        emulator.control("imagebuilder/fail_next", {"operation": operation, **how})
        assert call(emulator, function)["errorType"] == "Runtime.ExitError"
        assert emulator.control("imagebuilder/calls")[-1]["took_effect"]
        assert call(emulator, function) == 200

    def test_output_of_a_function_is_harmless(self, emulator: LocalStack) -> None:
        body = """\
import os
print('{"result": "not this"}', flush=True)
os.system("echo '{}'")
return "this" """
        assert call(emulator, make_function(emulator, body)) == "this"

    def test_output_of_a_function_is_in_its_log(self, emulator: LocalStack) -> None:
        function = make_function(emulator, "print('heard', event)")
        call(emulator, function, 1)
        group = f"/aws/lambda/{function.rpartition(':')[2]}"
        events = emulator.client("logs").filter_log_events(logGroupName=group)["events"]
        assert "heard 1" in [event["message"].strip() for event in events]


class TestMachines:
    def test_a_parallel_has_arguments_output_and_assign(self, emulator: LocalStack) -> None:
        states = {
            "Both": {
                "Type": "Parallel",
                "Arguments": "{% {'number': $states.input.number + 1} %}",
                "Branches": [
                    {
                        "StartAt": "Pass",
                        "States": {
                            "Pass": {
                                "Type": "Pass",
                                "Assign": {"inner": 1},
                                "Output": "{% $states.input.number %}",
                                "End": True,
                            }
                        },
                    }
                ],
                "Assign": {"seen": "{% $states.result[0] %}"},
                "Output": "{% $states.result[0] * 10 %}",
                "Next": "After",
            },
            "After": {
                "Type": "Pass",
                "Output": "{% [$states.input, $seen, $exists($inner)] %}",
                "End": True,
            },
        }
        assert run(emulator, states, "Both", {"number": 1}) == [20, 2, False]

    def test_a_parallel_catches_the_error_of_its_branch(self, emulator: LocalStack) -> None:
        function = make_function(emulator, "raise KeyError('x')")
        states = {
            "All": {
                "Type": "Parallel",
                "Branches": [{"StartAt": "Do", "States": {"Do": task(function)}}],
                "Catch": [
                    {
                        "ErrorEquals": ["States.ALL"],
                        "Output": "{% [$states.input, $states.errorOutput.Error] %}",
                        "Next": "End",
                    }
                ],
                "End": True,
            },
            "End": {"Type": "Succeed"},
        }
        assert run(emulator, states, "All", "given") == ["given", "KeyError"]

    def test_null_is_a_value_and_undefined_is_an_error(self, emulator: LocalStack) -> None:
        null = {
            "Type": "Pass",
            "Assign": {"kept": "{% $states.input.here %}"},
            "Output": "{% $states.input.here %}",
            "Next": "Merge",
        }
        merge = {"Type": "Pass", "Output": "{% $merge([{'a': 1}, {'b': $kept}]) %}", "End": True}
        states = {"Null": null, "Merge": merge}
        assert run(emulator, states, "Null", {"here": None}) == {"a": 1, "b": None}
        assert run(emulator, states, "Null", {}) == "States.QueryEvaluationError"

    def test_the_same_start_again_is_the_same_execution(self, emulator: LocalStack) -> None:
        client = emulator.client("stepfunctions")
        wait = {"Type": "Wait", "Seconds": 100, "End": True}
        asked = {
            "stateMachineArn": make_machine(emulator, {"Wait": wait}, "Wait"),
            "name": "once",
            "input": "{}",
        }
        first, second = client.start_execution(**asked), client.start_execution(**asked)
        assert first["executionArn"] == second["executionArn"]
        assert first["startDate"] == second["startDate"]
        with pytest.raises(client.exceptions.ExecutionAlreadyExists):
            client.start_execution(**{**asked, "input": '{"other": 1}'})
        emulator.wait_for(lambda: over(emulator, first["executionArn"]))
        with pytest.raises(client.exceptions.ExecutionAlreadyExists):
            client.start_execution(**asked)

    def test_a_stopped_execution_proceeds_no_further(self, emulator: LocalStack) -> None:
        client = emulator.client("stepfunctions")
        function = make_function(emulator, "raise ValueError()")
        retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 20, "MaxAttempts": 50}]
        states = {
            "All": {
                "Type": "Parallel",
                "Branches": [{"StartAt": "Do", "States": {"Do": task(function, Retry=retry)}}],
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Do"}],
                "End": True,
            },
            "Do": task(function, Retry=retry),
        }
        machine = make_machine(emulator, states, "All")
        execution = client.start_execution(stateMachineArn=machine)["executionArn"]

        def events() -> list[Any]:
            return list(client.get_execution_history(executionArn=execution)["events"])

        emulator.wait_for(lambda: [each for each in events() if each["type"] == "TaskFailed"])
        client.stop_execution(executionArn=execution, error="Enough")
        time.sleep(0.8)
        assert client.describe_execution(executionArn=execution)["status"] == "ABORTED"
        received = len(events())
        time.sleep(0.5)
        assert len(events()) == received

    def test_an_sdk_call_to_image_builder_speaks_pascal_case(self, emulator: LocalStack) -> None:
        client = emulator.client("imagebuilder")
        arn = client.create_infrastructure_configuration(
            name="any", instanceProfileName="profile", tags={"camelCase": "kept"}, clientToken="t"
        )["infrastructureConfigurationArn"]
        look = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:imagebuilder:getInfrastructureConfiguration",
            "Arguments": {"InfrastructureConfigurationArn": arn},
            "Output": "{% $states.result.InfrastructureConfiguration %}",
            "End": True,
        }
        found = run(emulator, {"Look": look}, "Look")
        assert (found["Arn"], found["InstanceProfileName"]) == (arn, "profile")
        assert found["Tags"] == {"camelCase": "kept"}

    def test_errors_of_an_sdk_call_have_the_services_name(self, emulator: LocalStack) -> None:
        arn = "arn:aws:imagebuilder:us-east-1:123456789012:image/nothing/1.0.0/1"
        look = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:imagebuilder:getImage",
            "Arguments": {"ImageBuildVersionArn": arn},
            "End": True,
        }
        error = "Imagebuilder.ResourceNotFoundException"
        assert run(emulator, {"Look": look}, "Look") == error
        emulator.control("imagebuilder/fail_next", {"operation": "GetImage", "code": "lost"})
        assert run(emulator, {"Look": look}, "Look") == "Imagebuilder.SdkClientException"

    def test_the_history_contains_the_input_of_a_task(self, emulator: LocalStack) -> None:
        states = emulator.client("stepfunctions")
        look = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:sqs:listQueues",
            "Arguments": {"QueueNamePrefix": "{% $states.input & '-x' %}"},
            "End": True,
        }
        machine = make_machine(emulator, {"Look": look}, "Look")
        execution = states.start_execution(stateMachineArn=machine, input='"a"')["executionArn"]
        emulator.wait_for(lambda: over(emulator, execution))
        history = states.get_execution_history(executionArn=execution)["events"]
        (told,) = [e["taskScheduledEventDetails"] for e in history if e["type"] == "TaskScheduled"]
        assert json.loads(told["parameters"]) == {"QueueNamePrefix": "a-x"}
        assert (told["resourceType"], told["resource"]) == ("aws-sdk:sqs", "listQueues")

    def test_a_member_has_its_name_on_the_wire(self, emulator: LocalStack) -> None:
        ec2 = emulator.client("ec2")
        data = {"InstanceType": "m7i.large"}
        made = ec2.create_launch_template(LaunchTemplateName="desks", LaunchTemplateData=data)
        template = made["LaunchTemplate"]["LaunchTemplateId"]
        ec2.create_launch_template_version(LaunchTemplateId=template, LaunchTemplateData=data)
        switch = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:ec2:modifyLaunchTemplate",
            "Arguments": {"LaunchTemplateId": template, "DefaultVersion": "2"},
            "End": True,
        }
        run(emulator, {"Switch": switch}, "Switch")
        (found,) = ec2.describe_launch_templates(LaunchTemplateIds=[template])["LaunchTemplates"]
        assert found["DefaultVersionNumber"] == 2

    def test_a_throttled_invocation_has_its_own_error_name(self, emulator: LocalStack) -> None:
        function = make_function(emulator, "return event")
        emulator.client("lambda").put_function_concurrency(
            FunctionName=function, ReservedConcurrentExecutions=0
        )
        request = {
            "Type": "Task",
            "Resource": INVOKE,
            "Arguments": {"FunctionName": function, "Payload": {}},
            "End": True,
        }
        assert run(emulator, {"Ask": request}, "Ask") == "Lambda.TooManyRequestsException"


class TestBuses:
    def test_an_input_transformer_takes_elements_of_arrays(self, emulator: LocalStack) -> None:
        sqs, events = emulator.client("sqs"), emulator.client("events")
        queue = sqs.create_queue(QueueName="transformed")["QueueUrl"]
        known = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        transformer = {
            "InputPathsMap": {
                "second": "$.detail.list[1].name",
                "third": "$.detail.list[2].name",
                "plain": "$.detail.plain",
            },
            "InputTemplate": '"<second>, <plain>, <third>."',
        }
        target = {"Id": "queue", "Arn": known["Attributes"]["QueueArn"]}
        events.put_rule(Name="transformed", EventPattern='{"source": ["arrays"]}')
        events.put_targets(
            Rule="transformed", Targets=[{**target, "InputTransformer": transformer}]
        )
        detail = {"list": [{"name": "a"}, {"name": "b"}], "plain": "c"}
        entry = {"Source": "arrays", "DetailType": "any", "Detail": json.dumps(detail)}
        events.put_events(Entries=[entry])
        got = emulator.wait_for(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
        assert got[0]["Body"] == '"b, c, ."'

    def test_a_template_makes_an_api_destination(self, emulator: LocalStack) -> None:
        client, events = emulator.client("cloudformation"), emulator.client("events")
        key = {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "secret"}}
        destination = {
            "ConnectionArn": {"Fn::GetAtt": ["Connection", "Arn"]},
            "InvocationEndpoint": "https://example.com/",
            "HttpMethod": "POST",
        }
        template = {
            "Resources": {
                "Connection": {
                    "Type": "AWS::Events::Connection",
                    "Properties": {"AuthorizationType": "API_KEY", "AuthParameters": key},
                },
                "Destination": {
                    "Type": "AWS::Events::ApiDestination",
                    "Properties": destination,
                },
            },
            "Outputs": {"Name": {"Value": {"Ref": "Destination"}}},
        }
        client.create_stack(StackName="posts", TemplateBody=json.dumps(template))

        def outputs() -> Any:
            return client.describe_stacks(StackName="posts")["Stacks"][0].get("Outputs")

        name = emulator.wait_for(outputs)[0]["OutputValue"]
        made = events.describe_api_destination(Name=name)
        connection = made["ConnectionArn"].rpartition("/")[2]
        assert events.describe_connection(Name=connection)["AuthorizationType"] == "API_KEY"
        client.delete_stack(StackName="posts")
        emulator.wait_for(lambda: not events.list_api_destinations()["ApiDestinations"])
        assert not events.list_connections()["Connections"]

    @pytest.mark.parametrize("wanted", [True, False])
    def test_a_template_sets_point_in_time_recovery_of_a_table(
        self, emulator: LocalStack, wanted: bool
    ) -> None:
        client, name = emulator.client("cloudformation"), f"table-{wanted}".lower()
        table = {
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": wanted},
        }
        resource = {"Type": "AWS::DynamoDB::Table", "Properties": table}
        template = {
            "Resources": {"Table": resource},
            "Outputs": {"Name": {"Value": {"Ref": "Table"}}},
        }
        client.create_stack(StackName=name, TemplateBody=json.dumps(template))
        made = emulator.wait_for(
            lambda: client.describe_stacks(StackName=name)["Stacks"][0].get("Outputs")
        )[0]["OutputValue"]

        told = emulator.client("dynamodb").describe_continuous_backups(TableName=made)

        recovery = told["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        assert recovery["PointInTimeRecoveryStatus"] == ("ENABLED" if wanted else "DISABLED")

    @pytest.mark.parametrize("stage", ["Original", "Processed"])
    def test_a_nested_template_has_an_address_that_sam_delete_reads(
        self, emulator: LocalStack, bucket: str, stage: "TemplateStageType"
    ) -> None:
        name = _nesting(emulator, bucket, f"{emulator.endpoint}/{bucket}/in")

        cloudformation = emulator.client("cloudformation")
        told = cloudformation.get_template(StackName=name, TemplateStage=stage)["TemplateBody"]

        address = told["Resources"]["In"]["Properties"]["TemplateURL"]
        assert address == f"https://s3.amazonaws.com/{bucket}/in"

    @pytest.mark.parametrize("host", ["s3", "s3.us-east-1", "s3-us-west-2"])
    def test_a_nested_template_s_bucket_may_be_in_the_host_s_name(
        self, emulator: LocalStack, bucket: str, host: str
    ) -> None:
        _nesting(emulator, bucket, f"https://{bucket}.{host}.amazonaws.com/in")

    def test_a_saved_query_of_log_groups_that_are_there_can_be_made(
        self, emulator: LocalStack
    ) -> None:
        client = emulator.client("cloudformation")

        def made(group: Any) -> str:
            query = {"Name": "q", "QueryString": "fields @message", "LogGroupNames": [group]}
            template = {
                "Resources": {
                    "Logs": {"Type": "AWS::Logs::LogGroup"},
                    "Query": {"Type": "AWS::Logs::QueryDefinition", "Properties": query},
                }
            }
            name = f"queries-{uuid.uuid4().hex[:8]}"
            client.create_stack(StackName=name, TemplateBody=json.dumps(template))

            def ended() -> str | None:
                status: str = client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
                return None if status.endswith("IN_PROGRESS") else status

            return str(emulator.wait_for(ended))

        assert made({"Ref": "Logs"}) == "CREATE_COMPLETE"
        assert made("nowhere") == "ROLLBACK_COMPLETE"


def _nesting(emulator: LocalStack, bucket: str, address: str) -> str:
    """Deploy a stack within a stack, its template in the bucket; give the outer one's name."""
    client, name = emulator.client("cloudformation"), f"outer-{uuid.uuid4().hex[:8]}"
    nested = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    emulator.client("s3").put_object(Bucket=bucket, Key="in", Body=json.dumps(nested))
    within = {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": address}}
    client.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"In": within}}))
    emulator.wait_for(
        lambda: (
            client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
        )
    )
    return name


class TestStorage:
    @pytest.fixture
    def received(self, emulator: LocalStack, bucket: str) -> Any:
        """What EventBridge delivers of ISOs in the bucket: a function that waits for it."""
        sqs, events = emulator.client("sqs"), emulator.client("events")
        queue = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
        known = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        pattern = {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {
                "bucket": {"name": [bucket]},
                "object": {"key": [{"suffix": {"equals-ignore-case": ".iso"}}]},
            },
        }
        rule = f"r-{uuid.uuid4().hex[:8]}"
        events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        target = {"Id": "q", "Arn": known["Attributes"]["QueueArn"]}
        events.put_targets(Rule=rule, Targets=[target])

        def hear(number: int) -> list[dict[str, Any]]:
            got: list[dict[str, Any]] = []

            def enough() -> bool:
                messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
                for message in messages.get("Messages", []):
                    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                    got.append(json.loads(message["Body"]))
                return len(got) >= number

            emulator.wait_for(enough, 5)
            return got

        return hear

    def test_an_upload_s_event_has_the_raw_key_and_the_version(
        self, emulator: LocalStack, bucket: str, received: Any
    ) -> None:
        key = "a folder/Win 11+ü%2B.Iso"
        put = emulator.client("s3").put_object(Bucket=bucket, Key=key, Body=b"12345")
        emulator.client("s3").put_object(Bucket=bucket, Key="not.iso.txt", Body=b"")
        (event,) = received(1)
        described = event["detail"]["object"]
        assert described["key"] == key
        assert described["version-id"] == put["VersionId"]
        assert described["etag"] == put["ETag"].strip('"')
        assert described["size"] == 5
        assert event["detail"]["reason"] == "PutObject"
        assert event["source"] == "aws.s3"
        assert event["resources"] == [f"arn:aws:s3:::{bucket}"]

    def test_sequencers_of_one_key_rise(
        self, emulator: LocalStack, bucket: str, received: Any
    ) -> None:
        for body in (b"1", b"2", b"3"):
            emulator.client("s3").put_object(Bucket=bucket, Key="again.iso", Body=body)
        told = sorted(received(3), key=lambda event: event["detail"]["object"]["sequencer"])
        etags = [event["detail"]["object"]["etag"][:4] for event in told]
        assert etags == ["c4ca", "c81e", "eccb"]

    def test_a_multipart_upload_is_marked_in_its_event(
        self, emulator: LocalStack, bucket: str, received: Any
    ) -> None:
        s3 = emulator.client("s3")
        upload = s3.create_multipart_upload(
            Bucket=bucket, Key="big.iso", Metadata={"image-name": "mine"}
        )
        which = {"Bucket": bucket, "Key": "big.iso", "UploadId": upload["UploadId"]}
        part = s3.upload_part(**which, PartNumber=1, Body=b"x" * 10)
        parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
        s3.complete_multipart_upload(**which, MultipartUpload={"Parts": parts})
        (event,) = received(1)
        assert event["detail"]["reason"] == "CompleteMultipartUpload"
        assert event["detail"]["object"]["etag"].endswith("-1")
        assert s3.head_object(Bucket=bucket, Key="big.iso")["Metadata"] == {"image-name": "mine"}

    def test_a_file_put_in_by_reference_is_read_in_place(
        self, emulator: LocalStack, bucket: str, received: Any, tmp_path: Path
    ) -> None:
        """Six sparse gigabytes go in at once, and no process grows by them."""
        size = 6 << 30
        with (tmp_path / "huge.iso").open("wb") as file:
            file.truncate(size)
            file.seek(5 << 30)
            file.write(b"here")
        asked = {"bucket": bucket, "key": "huge.iso", "path": str(tmp_path / "huge.iso")}
        emulator.control("objects", {**asked, "metadata": {"edition": "Enterprise"}})
        (event,) = received(1)
        described = event["detail"]["object"]
        assert (described["size"], event["detail"]["reason"]) == (size, "CompleteMultipartUpload")
        etag = described["etag"]
        begin = 5 << 30
        answer = emulator.client("s3").get_object(
            Bucket=bucket, Key="huge.iso", Range=f"bytes={begin}-{begin + 3}", IfMatch=etag
        )
        assert answer["Body"].read() == b"here"
        assert answer["ContentRange"] == f"bytes {begin}-{begin + 3}/{size}"
        assert answer["VersionId"] == described["version-id"]
        assert answer["Metadata"] == {"edition": "Enterprise"}
        head = emulator.client("s3").head_object(Bucket=bucket, Key="huge.iso", IfMatch=etag)
        assert head["ContentLength"] == size

    def test_a_whole_file_put_in_by_reference_is_streamed(
        self, emulator: LocalStack, bucket: str, tmp_path: Path
    ) -> None:
        (tmp_path / "small.iso").write_bytes(b"ab" * 3_000_000)
        asked = {"bucket": bucket, "key": "small.iso", "path": str(tmp_path / "small.iso")}
        emulator.control("objects", asked)
        answer = emulator.client("s3").get_object(Bucket=bucket, Key="small.iso")
        assert answer["Body"].read() == b"ab" * 3_000_000

    def test_a_head_of_a_part_returns_its_size_and_the_number_of_parts(
        self, emulator: LocalStack, bucket: str
    ) -> None:
        s3 = emulator.client("s3")
        which = {"Bucket": bucket, "Key": "parts"}
        begun = which | {"UploadId": s3.create_multipart_upload(**which)["UploadId"]}
        parts = [
            {"PartNumber": n, "ETag": s3.upload_part(**begun, PartNumber=n, Body=body)["ETag"]}
            for n, body in ((1, b"x" * (5 << 20)), (2, b"xx"))
        ]
        s3.complete_multipart_upload(**begun, MultipartUpload={"Parts": parts})
        whole, part = s3.head_object(**which), s3.head_object(**which, PartNumber=2)
        assert (whole["ContentLength"], "PartsCount" in whole) == ((5 << 20) + 2, False)
        assert (part["ContentLength"], part["PartsCount"]) == (2, 2)
        assert part["ETag"] == whole["ETag"]
        assert part["ResponseMetadata"]["HTTPStatusCode"] == 206

    def test_ranges_and_preconditions_work_as_in_s3(
        self, emulator: LocalStack, bucket: str
    ) -> None:
        """Needs no mending, but must stay so."""
        s3 = emulator.client("s3")
        etag = s3.put_object(Bucket=bucket, Key="ten", Body=b"0123456789")["ETag"]
        which = {"Bucket": bucket, "Key": "ten"}
        answer = s3.get_object(**which, Range="bytes=8-20", IfMatch=etag)
        assert (answer["Body"].read(), answer["ContentRange"]) == (b"89", "bytes 8-9/10")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
        for request in (s3.get_object, s3.head_object):
            with pytest.raises(ClientError) as refused:
                request(**which, IfMatch='"other"')
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
        with pytest.raises(ClientError) as beyond:
            s3.get_object(**which, Range="bytes=10-")
        assert beyond.value.response["Error"]["Code"] == "InvalidRange"


class TestTheRest:
    def test_ref_of_an_instance_profile_is_its_name(self, emulator: LocalStack) -> None:
        client = emulator.client("cloudformation")
        template = {
            "Resources": {
                "Profile": {"Type": "AWS::IAM::InstanceProfile", "Properties": {"Roles": []}}
            },
            "Outputs": {"Name": {"Value": {"Ref": "Profile"}}},
        }
        client.create_stack(
            StackName="profile", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"]
        )
        client.get_waiter("stack_create_complete").wait(
            StackName="profile", WaiterConfig={"Delay": 1}
        )
        (stack,) = client.describe_stacks(StackName="profile")["Stacks"]
        name = stack["Outputs"][0]["OutputValue"]
        iam = emulator.client("iam")
        assert iam.get_instance_profile(InstanceProfileName=name)
        client.delete_stack(StackName="profile")
        emulator.wait_for(
            lambda: (
                name
                not in [
                    each["InstanceProfileName"]
                    for each in iam.list_instance_profiles()["InstanceProfiles"]
                ]
            )
        )

    def test_conditional_writes_and_consistent_queries(self, emulator: LocalStack) -> None:
        """Needs no mending, but must stay so."""
        table = emulator.client("dynamodb")
        table.create_table(
            TableName="ledger",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")
            ],
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        )
        item = {"pk": {"S": "a"}, "sk": {"S": "b"}}
        fresh = {"TableName": "ledger", "ConditionExpression": "attribute_not_exists(pk)"}
        table.put_item(**fresh, Item=item | {"n": {"N": "1"}})
        with pytest.raises(table.exceptions.ConditionalCheckFailedException) as refused:
            table.put_item(**fresh, Item=item, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        assert refused.value.response["Item"]["n"] == {"N": "1"}
        with pytest.raises(table.exceptions.ConditionalCheckFailedException):
            table.update_item(
                TableName="ledger",
                Key=item,
                UpdateExpression="SET n = :new",
                ConditionExpression="n = :old",
                ExpressionAttributeValues={":new": {"N": "2"}, ":old": {"N": "5"}},
            )
        found = table.query(
            TableName="ledger",
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": "a"}},
        )
        assert found["Items"] == [item | {"n": {"N": "1"}}]

    def test_a_custom_bus_carries_events_to_a_queue(self, emulator: LocalStack) -> None:
        """Needs no mending, but must stay so."""
        sqs, events = emulator.client("sqs"), emulator.client("events")
        events.create_event_bus(Name="mine")
        queue = sqs.create_queue(QueueName="mine")["QueueUrl"]
        known = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        events.put_rule(
            Name="mine", EventBusName="mine", EventPattern=json.dumps({"source": ["isodrop"]})
        )
        target = {"Id": "q", "Arn": known["Attributes"]["QueueArn"]}
        events.put_targets(Rule="mine", EventBusName="mine", Targets=[target])
        entry = {"Source": "isodrop", "DetailType": "Word", "Detail": '{"é": "ü"}'}
        for bus in ("mine", "default"):
            answer = events.put_events(Entries=[{**entry, "EventBusName": bus}])
            assert answer["FailedEntryCount"] == 0
        messages = emulator.wait_for(
            lambda: sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages")
        )
        assert [json.loads(each["Body"])["detail"] for each in messages] == [{"é": "ü"}]

    def test_stopping_leaves_no_process_even_while_executions_run(self, tmp_path: Path) -> None:
        server = subprocess.Popen(
            [sys.executable, "-m", "isodrop_local.server", "--wait-scale", "0.01"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        with server:
            assert server.stdout
            port = int(server.stdout.readline())
            bare = Bare(f"http://127.0.0.1:{port}")
            state = task(make_function(bare, "import os; os._exit(1)"))
            state["Retry"] = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 9999}]
            machine = make_machine(bare, {"Do": state}, "Do")
            for _ in range(5):
                bare.client("stepfunctions").start_execution(stateMachineArn=machine)
            time.sleep(0.7)
            assert [*tmp_path.glob("isodrop-stack-*/function-*")]
            server.terminate()
            assert server.wait(10) == 0
        assert not [*tmp_path.iterdir()]
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            pass

    def test_the_emulator_listens_on_the_loopback_address_only(self, emulator: LocalStack) -> None:
        port = int(emulator.endpoint.rpartition(":")[2])
        table = Path("/proc/net/tcp")
        if not table.exists():
            pytest.skip("reads Linux's table of sockets")
        listening = [
            line.split()[1]
            for line in table.read_text().splitlines()[1:]
            if line.split()[3] == "0A"
        ]
        assert [each for each in listening if each.endswith(f":{port:04X}")] == [
            f"0100007F:{port:04X}"
        ]
