"""Only what policies allow is allowed: patches of the emulator's authorization.

The emulator evaluates the policies of its callers (``AUTH=true``). It lacks the keys of some
conditions, the ARNs of some resources, and the permissions that a service checks for its caller;
and it does not evaluate the roles that services assume. Every evaluation is recorded, see
:func:`recorded`.
"""

import json
import re
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from ministack import app
from ministack.core import iam_actions, iam_evaluator, router
from ministack.core.responses import get_account_id, get_region, new_uuid
from ministack.services import dynamodb, eventbridge, iam, s3, tagging

from isodrop_local.image_builder.values import normalize_name

Handler = Callable[..., Awaitable[Any]]
Tags = Callable[[str], Mapping[str, str] | None]

_evaluate = iam_evaluator.evaluate
_combine_resource_policy = iam_evaluator.combine_resource_policy
_compile_pattern = iam_evaluator._fnmatch_compile
_condition_value = iam_evaluator._resolve_condition_key
_dynamodb_context = iam_actions.dynamodb_service_context
_request_context = iam_actions.request_tag_context
_resource_arn = iam_actions.extract_resource_arn
_dispatch_to_stepfunctions = eventbridge._dispatch_to_stepfunctions
_resource_tags = tagging.resource_tags
_lock = threading.Lock()
_evaluates_resource_policy: ContextVar[bool] = ContextVar("of_a_resource", default=False)
_calls: dict[str, dict[str, Any]] = {}

WORKFLOW: Final = "workflow/build/import-iso/1.0.0/1"
"""Any of AWS's own; which one ImportDiskImage runs is not documented."""


class Check(NamedTuple):
    """An action on a resource that must be allowed."""

    action: str
    resource: str
    context: Mapping[str, Any] = {}


# ---------------------------------------------------------------------- recorded evaluations


def evaluate(context: Any, policies: Any, *limits: Any) -> Any:
    """Evaluate policies, and record the result if they are the caller's own."""
    result = _evaluate(context, policies, *limits)
    if _evaluates_resource_policy.get() or ":role/" in context.principal_arn:
        return result  # a resource's policy, or a simulation
    call = {
        "principal": context.principal_arn,
        "action": context.action,
        "resource": context.resource_arn,
        "context": {
            **context.service_context,
            "aws:securetransport": str(context.secure_transport).lower(),
        },
        "allowed": result.decision == "Allow",
    }
    with _lock:
        _calls.setdefault(json.dumps(call, sort_keys=True, default=str), call)
    return result


def combine_resource_policy(*given: Any, **named: Any) -> Any:
    """Evaluate a resource's policy, which is not recorded though :func:`evaluate` is called."""
    token = _evaluates_resource_policy.set(True)
    try:
        return _combine_resource_policy(*given, **named)
    finally:
        _evaluates_resource_policy.reset(token)


def compile_pattern(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    """Let ``*`` match line breaks, too: a key may contain any character.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
    """
    compiled: re.Pattern[str] = _compile_pattern(pattern, ignore_case)
    return re.compile(compiled.pattern, compiled.flags | re.DOTALL)


def condition_value(key: str, context: Any) -> Any:
    """Return the role's ARN for ``aws:PrincipalArn`` of an assumed role.

    "For IAM roles, the request context returns the ARN of the role, not the ARN of the user that
    assumed the role." The emulator returns that of the session.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn
    """
    if key.lower() == "aws:principalarn" and ":assumed-role/" in context.principal_arn:
        name = iam_evaluator._role_name_from_assumed_arn(context.principal_arn)
        role = iam._roles.get_scoped(context.principal_account, None, name)
        return None if role is None else role["Arn"]
    return _condition_value(key, context)


def recorded() -> list[dict[str, Any]]:
    """List the distinct evaluations so far: principal, action, resource, context, result."""
    with _lock:
        return list(_calls.values())


def may_act(role_arn: str, check: Check) -> bool:
    """Whether the policies of a role that a service assumed allow an action."""
    name, account = role_arn.rsplit("/", 1)[-1], get_account_id()
    context = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/{name}/service",
        principal_type="AssumedRole",
        principal_account=account,
        action=check.action,
        resource_arn=check.resource,
        region=get_region(),
        secure_transport=True,
        service_context={key.lower(): value for key, value in check.context.items()},
    )
    policies = iam_evaluator._gather_role_policies(name, account)
    return bool(evaluate(context, policies).decision == "Allow")


# ---------------------------------------------------------------------- conditions and resources


def dynamodb_context(body: bytes) -> dict[str, Any]:
    """Return the partitions of a request: ``dynamodb:LeadingKeys``, which the emulator lacks.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    """
    context: dict[str, Any] = dict(_dynamodb_context(body))
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return context
    if isinstance(request, dict) and (keys := sorted(set(_partitions(request)))):
        context["dynamodb:LeadingKeys"] = keys
    return context


def _partitions(request: Mapping[str, Any]) -> Iterator[str]:
    for name, many in (request.get("RequestItems") or {}).items():
        requests = many.get("Keys", []) if isinstance(many, dict) else many
        for each in requests:
            for item in (
                each,
                each.get("PutRequest", {}).get("Item"),
                each.get("DeleteRequest", {}).get("Key"),
            ):
                yield from _partition(name, item)
    for each in request.get("TransactItems") or ():
        for operation in each.values():
            yield from _partitions(operation)
    table = request.get("TableName", "")
    for item in (request.get("Item"), request.get("Key")):
        yield from _partition(table, item)
    if "KeyConditionExpression" in request and "IndexName" not in request:
        # In a query, the partition is the only value that is compared with `=`.
        names = request.get("ExpressionAttributeNames") or {}
        for part in request["KeyConditionExpression"].split(" AND "):
            left, equals, right = part.strip(" ()").partition(" = ")
            value = (request.get("ExpressionAttributeValues") or {}).get(right.strip())
            if equals and names.get(left, left) == _hash_key(table):
                yield from _partition(table, {_hash_key(table): value})


def _partition(table: str, item: Mapping[str, Any] | None) -> Iterator[str]:
    value = (item or {}).get(_hash_key(table))
    if isinstance(value, dict):
        yield from map(str, value.values())


def _hash_key(table: str) -> str:
    known = dynamodb._tables.get(table.rpartition("/")[2])
    return "" if known is None else str(known["pk_name"])


def request_context(service: str, iam_action: str, body: bytes, *more: Any) -> dict[str, Any]:
    """Return the sources and detail types of published events; the emulator has neither key.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-conditions.html
    """
    context: dict[str, Any] = dict(_request_context(service, iam_action, body, *more))
    if iam_action == "events:PutEvents":
        entries = [each for each in _json(body).get("Entries", ()) if isinstance(each, dict)]
        for key, member in (("events:source", "Source"), ("events:detail-type", "DetailType")):
            if values := sorted({str(each[member]) for each in entries if each.get(member)}):
                context[key] = values
    return context


def resource_arn(service: str, method: str, path: str, *more: Any) -> str:
    """Return the ARN of a call's resource; the emulator has ``*`` for Image Builder and tagging.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2imagebuilder.html
    """
    _headers, body, query, region, account = more
    if service == "imagebuilder":
        request = _json(body)
        base = f"arn:aws:imagebuilder:{region}:{account}:image"
        if path == "/ImportDiskImage":
            return (
                f"{base}/{normalize_name(request.get('name', ''))}/{request.get('semanticVersion')}"
            )
        if path == "/ListImageBuildVersions":
            return f"{request.get('imageVersionArn')}/*"
        if path.startswith("/tags/"):
            return unquote(path.removeprefix("/tags/"))
        named = ("imageBuildVersionArn", "sourceImage", "imageVersionArn")
        found = [str(given) for key in named if (given := request.get(key) or _first(query, key))]
        arns = [_first(query, key) for key in query if key.endswith("Arn")]
        return next(iter([*found, *filter(None, arns)]), "*")
    if service == "ec2" and _first(query, "Action") == "CreateTags":
        tagged = str(_first(query, "ResourceId.1"))
        return f"arn:aws:ec2:{region}::image/{tagged}" if tagged.startswith("ami-") else "*"
    found_arn: str = _resource_arn(service, method, path, *more)
    return found_arn


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _first(query: Mapping[str, Any], key: str) -> str | None:
    value = query.get(key)
    return value[0] if isinstance(value, list) and value else value or None


# ---------------------------------------------------------------------- dependent actions


def dependents(
    service: str, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Iterable[Check]:
    """List the caller's permissions that a service checks for an operation.

    These are the "dependent actions" of the service authorization reference, and Parameter Store's
    check of a parameter that contains an AMI:
    https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-ec2-aliases.html
    """
    request, region, account = _json(body), get_region(), get_account_id()
    base = f"arn:aws:imagebuilder:{region}:{account}:image"
    tags = {f"aws:RequestTag/{key}": value for key, value in (request.get("tags") or {}).items()}
    tags |= {"aws:TagKeys": sorted(request.get("tags") or {})} if tags else {}
    passed = {"iam:PassedToService": "imagebuilder.amazonaws.com"}
    if (service, path) == ("imagebuilder", "/ImportDiskImage"):
        bucket, _, key = request["uri"].removeprefix("s3://").partition("/")
        image = f"{base}/{normalize_name(request['name'])}/{request['semanticVersion']}/1"
        yield Check(
            "imagebuilder:GetInfrastructureConfiguration", request["infrastructureConfigurationArn"]
        )
        yield Check("imagebuilder:TagResource", image, tags)
        yield Check("imagebuilder:GetWorkflow", f"arn:aws:imagebuilder:{region}:aws:{WORKFLOW}")
        yield Check("iam:PassRole", request["executionRole"], passed)
        yield Check("s3:GetObject", f"arn:aws:s3:::{bucket}/{key}")
        yield Check("s3:ListBucket", f"arn:aws:s3:::{bucket}", {"s3:prefix": key})
    elif (service, path) == ("imagebuilder", "/DistributeImage"):
        image = f"{request['sourceImage'].rpartition('/')[0]}/2"
        yield Check(
            "imagebuilder:GetDistributionConfiguration", request["distributionConfigurationArn"]
        )
        yield Check("imagebuilder:GetImage", request["sourceImage"])
        yield Check("imagebuilder:TagResource", image, tags)
        yield Check("iam:PassRole", request["executionRole"], passed)
        yield Check("ec2:DescribeImages", "*")
    elif service == "s3" and method in {"PUT", "POST"} and headers.get("x-amz-tagging"):
        yield Check("s3:PutObjectTagging", f"arn:aws:s3:::{unquote(path).lstrip('/')}")
    elif service == "ssm" and request.get("DataType") == "aws:ec2:image":
        yield Check("ec2:DescribeImages", "*")


def missing_objects(
    method: str, path: str, headers: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the bucket and key that a read, or the source of a copy, did not find."""
    copied = unquote(headers.get("x-amz-copy-source", "").partition("?")[0])
    for place in (copied,) if copied else (unquote(path),) if method in {"GET", "HEAD"} else ():
        bucket, _, key = place.strip("/").partition("/")
        if key and bucket in s3._buckets:
            yield bucket, key


def guarded(service: str, handler: Handler) -> Handler:
    """Add the checks of dependent actions to a service.

    And to S3 the check of missing keys: 404 for callers that may list the key, 403 for others.
    "If you don't have the s3:ListBucket permission, Amazon S3 returns an HTTP status code 403". The
    key is the value of ``s3:prefix``.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    https://github.com/ceph/ceph/pull/68577
    """

    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Any:
        for check in dependents(service, method, path, headers, body):
            if refused := denied(service, headers, query, check):
                return refused
        response = await handler(method, path, headers, body, query)
        if service == "s3" and response[0] == 404:
            for bucket, key in missing_objects(method, path, headers):
                check = Check("s3:ListBucket", f"arn:aws:s3:::{bucket}", {"s3:prefix": key})
                if refused := denied(service, headers, query, check):
                    return refused if method != "HEAD" else (refused[0], refused[1], b"")
        return response

    return handle


def denied(service: str, headers: Mapping[str, str], query: Mapping[str, Any], check: Check) -> Any:
    """Make the response for a caller that is denied an action; ``None`` if it is allowed."""
    key = router.extract_access_key_id(headers, query)
    account = get_account_id()
    principal = iam_evaluator.resolve_principal(key, account) if key else None
    if principal is None or getattr(principal, "policies", None) is None:
        return None  # the account's own key, or no caller: the emulator has checked that before
    found = iam_evaluator.enforce(
        key,
        check.action,
        check.action.partition(":")[0],
        get_region(),
        resource_arn=check.resource,
        service_context=dict(check.context),
    )
    if found is None:
        return None
    return iam_actions.access_denied_response(
        service,
        check.action,
        principal.arn,
        new_uuid(),
        headers=headers,
        message=f"User: {principal.arn} is not authorized to perform: {check.action} on resource:"
        f" {check.resource}",
    )


def dispatch_to_stepfunctions(arn: str, payload: str) -> None:
    """Start an execution if the target's role allows it; the emulator does not check.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-identity-based.html
    """
    targets = [each for of_rule in eventbridge._targets.values() for each in of_rule]
    roles = {each["RoleArn"] for each in targets if each["Arn"] == arn and "RoleArn" in each}
    if roles and not any(may_act(role, Check("states:StartExecution", arn)) for role in roles):
        return  # a failed invocation; on AWS, its event goes to the rule's dead-letter queue
    _dispatch_to_stepfunctions(arn, payload)


def register_image_builder(tags: Tags) -> None:
    """Support Image Builder's actions and its images' tags in policies."""
    iam_actions.SERVICE_TO_IAM_NAMESPACE["imagebuilder"] = "imagebuilder"
    iam_actions._BOTOCORE_SERVICE_MAP["imagebuilder"] = ["imagebuilder"]

    def resource_tags(arn: str) -> Mapping[str, str] | None:
        if arn.startswith("arn:aws:imagebuilder:"):
            return tags(arn)
        found: Mapping[str, str] | None = _resource_tags(arn)
        return found

    tagging.resource_tags = resource_tags


def apply() -> None:
    """Apply the patches."""
    iam_evaluator.evaluate = evaluate
    iam_evaluator.combine_resource_policy = combine_resource_policy
    iam_evaluator._fnmatch_compile = compile_pattern
    iam_evaluator._resolve_condition_key = condition_value
    iam_actions.dynamodb_service_context = dynamodb_context
    iam_actions.request_tag_context = request_context
    iam_actions.extract_resource_arn = resource_arn
    eventbridge._dispatch_to_stepfunctions = dispatch_to_stepfunctions
    for service in ("s3", "ssm"):
        app.SERVICE_HANDLERS[service] = guarded(service, app.SERVICE_HANDLERS[service])
