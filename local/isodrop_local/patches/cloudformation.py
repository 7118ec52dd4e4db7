"""How CloudFormation creates resources: patches of the emulator's provisioners."""

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from ministack.services import cloudwatch_logs, dynamodb, eventbridge
from ministack.services.cloudformation import handlers, helpers, provisioners

_get_template = handlers._ACTION_HANDLERS["GetTemplate"]
_NESTED = re.compile(
    rb"(TemplateURL(?:&quot;|[\s:'\"])*)https?://(?:127\.0\.0\.1|localhost)(?::\d+)?/"
)
_resolve_document = helpers._resolve_document
_VIRTUAL_HOST = re.compile(
    r"https://([a-z0-9.-]+)\.s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?/(.+)"
)
_PROFILE = "AWS::IAM::InstanceProfile"
_before = dict(provisioners._RESOURCE_HANDLERS[_PROFILE])
_TABLE = "AWS::DynamoDB::Table"
_tables_before = dict(provisioners._RESOURCE_HANDLERS[_TABLE])


def create_instance_profile(logical_id: str, props: dict[str, Any], stack: str) -> Any:
    """Return the name of an instance profile for ``Ref``; the emulator returns its ARN.

    "Ref returns the name of the instance profile", and where a name is required, as in Image
    Builder's infrastructure configuration, an ARN is malformed.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-instanceprofile.html
    """
    arn, attributes = _before["create"](logical_id, props, stack)
    return arn.rpartition("/")[2], attributes


def delete_instance_profile(name: str, props: dict[str, Any]) -> None:
    """Delete it by its name."""
    profile = provisioners._iam._instance_profiles.get(name)
    if profile is not None:
        _before["delete"](profile["Arn"], props)


def create_table(logical_id: str, props: dict[str, Any], stack: str) -> Any:
    """Create a table with the point-in-time recovery that its template sets.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-dynamodb-table-pointintimerecoveryspecification.html
    """
    name, attributes = _tables_before["create"](logical_id, props, stack)
    wanted = props.get("PointInTimeRecoverySpecification", {})
    dynamodb._pitr_settings[name] = wanted.get("PointInTimeRecoveryEnabled") in {True, "true"}
    return name, attributes


def create_connection(logical_id: str, props: dict[str, Any], stack: str) -> Any:
    """Create an EventBridge connection; the emulator supports it, except in CloudFormation.

    ``Ref`` is its name, ``Arn`` its ARN.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-events-connection.html
    """
    return _create(eventbridge._create_connection, "ConnectionArn", logical_id, props, stack)


def create_api_destination(logical_id: str, props: dict[str, Any], stack: str) -> Any:
    """Create an API destination; the emulator supports it, except in CloudFormation.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-events-apidestination.html
    """
    return _create(
        eventbridge._create_api_destination, "ApiDestinationArn", logical_id, props, stack
    )


def create_event_bus_policy(logical_id: str, props: dict[str, Any], stack: str) -> Any:
    """Add a statement to an event bus's policy, which the emulator stores but does not enforce.

    The emulator's own ``PutPermission`` supports only statements that allow.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-events-eventbuspolicy.html
    """
    bus, statement = props.get("EventBusName", "default"), props["StatementId"]
    if bus not in eventbridge._event_buses:
        raise ValueError(f"Event bus {bus} does not exist.")
    policy = eventbridge._event_bus_policies.setdefault(
        bus, {"Version": "2012-10-17", "Statement": []}
    )
    others = [each for each in policy["Statement"] if each["Sid"] != statement]
    policy["Statement"] = [*others, {"Sid": statement, **props["Statement"]}]
    return provisioners._physical_name(stack, logical_id, max_len=64), {}


def delete_event_bus_policy(_name: str, props: dict[str, Any]) -> None:
    """Remove the statement."""
    eventbridge._remove_permission(
        {"EventBusName": props.get("EventBusName", "default"), "StatementId": props["StatementId"]}
    )


def _create(
    create: Callable[[dict[str, Any]], Any],
    arn: str,
    logical_id: str,
    props: dict[str, Any],
    stack: str,
) -> Any:
    name = props.get("Name") or provisioners._physical_name(stack, logical_id, max_len=64)
    status, _, body = create({**props, "Name": name})
    response = json.loads(body)
    if status != 200:
        raise ValueError(response["message"])
    return name, {"Arn": response[arn]}


def create_query_definition(_logical_id: str, props: dict[str, Any], _stack: str) -> Any:
    """Accept a saved query of CloudWatch Logs, which the emulator does not support.

    ``Ref`` is its id. It cannot be run here, so nothing is stored.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-logs-querydefinition.html
    """
    groups = cloudwatch_logs._log_groups
    missing = [name for name in props.get("LogGroupNames", ()) if name not in groups]
    if missing or not props["Name"] or not props["QueryString"]:
        raise ValueError(
            f"a query without a name or a query string, or with missing log groups: {missing}"
        )
    return str(uuid.uuid4()), {}


def get_template(params: Any) -> Any:
    """Give a nested template the URL that it has in AWS, whatever the endpoint of S3 is.

    The SAM CLI derives the URL from the endpoint that it uploaded to, and ``sam delete`` accepts
    only ``https://s3…``.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html#path-style-access
    """
    status, headers, body = _get_template(params)
    return status, headers, _NESTED.sub(rb"\1https://s3.amazonaws.com/", body)


def resolve_document(params: Any, body_key: str, url_key: str, label: str) -> Any:
    """Also read a template whose URL has the bucket in its host name; the emulator expects a path.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html#virtual-hosted-style-access
    """
    named = _VIRTUAL_HOST.fullmatch(helpers._p(params, url_key) or "")
    if named:
        params = {**params, url_key: [f"https://s3.amazonaws.com/{named[1]}/{named[2]}"]}
    return _resolve_document(params, body_key, url_key, label)


def apply() -> None:
    """Apply the patches."""
    helpers._resolve_document = resolve_document
    handlers._ACTION_HANDLERS["GetTemplate"] = get_template
    provisioners._RESOURCE_HANDLERS[_TABLE] = {**_tables_before, "create": create_table}
    provisioners._RESOURCE_HANDLERS["AWS::Events::Connection"] = {
        "create": create_connection,
        "delete": lambda name, _props: eventbridge._delete_connection({"Name": name}),
    }
    provisioners._RESOURCE_HANDLERS["AWS::Events::ApiDestination"] = {
        "create": create_api_destination,
        "delete": lambda name, _props: eventbridge._delete_api_destination({"Name": name}),
    }
    provisioners._RESOURCE_HANDLERS["AWS::Events::EventBusPolicy"] = {
        "create": create_event_bus_policy,
        "delete": delete_event_bus_policy,
    }
    provisioners._RESOURCE_HANDLERS["AWS::Logs::QueryDefinition"] = {
        "create": create_query_definition,
        "delete": lambda _id, _props: None,
    }
    provisioners._RESOURCE_HANDLERS[_PROFILE] = {
        "create": create_instance_profile,
        "delete": delete_instance_profile,
    }
