"""Other services on the emulator behave as on AWS, where it matters to isodrop."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isodrop_local.stack import EmulatedStack
from tests.support.emulator_calls import ROLE, Bare, make_function, make_machine, task


def test_a_simulation_knows_the_managed_policies_of_aws(emulator: EmulatedStack) -> None:
    iam = emulator.client("iam")
    role = iam.create_role(RoleName="builds", AssumeRolePolicyDocument="{}")["Role"]
    iam.attach_role_policy(
        RoleName="builds", PolicyArn="arn:aws:iam::aws:policy/EC2ImageBuilderExecutionPolicy"
    )
    simulated = iam.simulate_principal_policy(
        PolicySourceArn=role["Arn"], ActionNames=["ec2:DescribeImages", "s3:GetObject"]
    )["EvaluationResults"]
    assert [each["EvalDecision"] for each in simulated] == ["allowed", "implicitDeny"]


def test_a_simulated_policy_uses_the_given_context(emulator: EmulatedStack) -> None:
    """IAM evaluates conditions with the context keys of SimulatePrincipalPolicy."""
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
        simulated = iam.simulate_principal_policy(
            PolicySourceArn=role["Arn"],
            ActionNames=["iam:PassRole"],
            ResourceArns=[ROLE],
            ContextEntries=[{**key, "ContextKeyValues": [service]}],
        )
        return str(simulated["EvaluationResults"][0]["EvalDecision"])

    assert passing_to("imagebuilder.amazonaws.com") == "allowed"
    assert passing_to("ec2.amazonaws.com") == "implicitDeny"


class TestTheRest:
    def test_ref_of_an_instance_profile_is_its_name(self, emulator: EmulatedStack) -> None:
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

    def test_conditional_writes_and_consistent_queries(self, emulator: EmulatedStack) -> None:
        """Needs no patch, but must stay so."""
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

    def test_a_custom_bus_carries_events_to_a_queue(self, emulator: EmulatedStack) -> None:
        """Needs no patch, but must stay so."""
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
            iam = bare.client("iam")
            iam.create_role(RoleName="any", AssumeRolePolicyDocument="{}")
            allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
            document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
            iam.put_role_policy(RoleName="any", PolicyName="may", PolicyDocument=document)
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

    def test_the_emulator_listens_on_the_loopback_address_only(
        self, emulator: EmulatedStack
    ) -> None:
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
