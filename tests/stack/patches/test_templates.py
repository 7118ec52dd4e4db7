"""Buses and templates on the emulator behave as on AWS, where it matters to isodrop."""

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from isodrop_local.stack import EmulatedStack

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.literals import TemplateStageType


class TestBuses:
    def test_an_input_transformer_reads_elements_of_arrays(self, emulator: EmulatedStack) -> None:
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

    def test_a_template_makes_an_api_destination(self, emulator: EmulatedStack) -> None:
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
        self, emulator: EmulatedStack, wanted: bool
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

        response = emulator.client("dynamodb").describe_continuous_backups(TableName=made)

        recovery = response["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        assert recovery["PointInTimeRecoveryStatus"] == ("ENABLED" if wanted else "DISABLED")

    @pytest.mark.parametrize("stage", ["Original", "Processed"])
    def test_a_nested_template_has_an_address_that_sam_delete_reads(
        self, emulator: EmulatedStack, bucket: str, stage: "TemplateStageType"
    ) -> None:
        name = _nesting(emulator, bucket, f"{emulator.endpoint}/{bucket}/in")

        cloudformation = emulator.client("cloudformation")
        response = cloudformation.get_template(StackName=name, TemplateStage=stage)["TemplateBody"]

        address = response["Resources"]["In"]["Properties"]["TemplateURL"]
        assert address == f"https://s3.amazonaws.com/{bucket}/in"

    @pytest.mark.parametrize("host", ["s3", "s3.us-east-1", "s3-us-west-2"])
    def test_a_nested_template_s_bucket_may_be_in_the_host_s_name(
        self, emulator: EmulatedStack, bucket: str, host: str
    ) -> None:
        _nesting(emulator, bucket, f"https://{bucket}.{host}.amazonaws.com/in")

    def test_a_saved_query_of_existing_log_groups_can_be_created(
        self, emulator: EmulatedStack
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


def _nesting(emulator: EmulatedStack, bucket: str, address: str) -> str:
    """Deploy a nested stack, with its template in the bucket; return the outer one's name."""
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
