"""Checks of the roles: they exist, trust the right service, and have the required permissions."""

from dataclasses import dataclass, field
from typing import Any, Final

from isodrop.events import SOURCE
from isodrop_cli.doctor.context import CheckContext
from isodrop_cli.doctor.functions import configuration
from isodrop_cli.doctor.policies import trusts
from isodrop_cli.doctor.results import CheckResult, Level, NotFoundError, failed, passed, warned

_EXECUTION: Final = ("EC2ImageBuilderExecutionPolicy",)
_INSTANCE: Final = ("EC2InstanceProfileForImageBuilder", "AmazonSSMManagedInstanceCore")
_SERVICE_LINKED: Final = ":role/aws-service-role/"
_SERVICE_LINKED_NAME: Final = "AWSServiceRoleForImageBuilder"
_SERVICE: Final = "imagebuilder.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Permission:
    """A permission that a role needs.

    Attributes
    ----------
    action, resource : str
    condition_values : mapping of str to str
        The values of the request's condition keys, by key.
    """

    action: str
    resource: str
    condition_values: dict[str, str] = field(default_factory=dict)


def execution_role(context: CheckContext) -> CheckResult:
    """Check the role that Image Builder assumes for a build."""
    arn = _execution_role(context)
    if arn is None:
        return warned("no execution role is set for ImportIso", "deploy with ExecutionRoleArn")
    if _SERVICE_LINKED in arn:
        return warned(
            f"builds use the service-linked role {arn}: this is reported to work, but AWS's"
            " documentation uses a role of your own",
            "deploy with another ExecutionRoleArn, or none, if the first build is denied",
        )
    image = f"arn:{context.partition}:ec2:{context.region}::image/ami-0123456789abcdef0"
    document = f"arn:{context.partition}:ssm:{context.region}::document/AWS-RunPowerShellScript"
    tagged = {"aws:RequestTag/CreatedBy": "EC2 Image Builder"}
    return _check_role(
        *(context, arn.rsplit("/", 1)[-1], _SERVICE, _EXECUTION),
        Permission("ec2:DescribeImages", "*"),
        Permission("ec2:RunInstances", image),
        Permission("ec2:RegisterImage", image, tagged),
        Permission("ssm:SendCommand", document),
    )


def service_linked_role(context: CheckContext) -> CheckResult:
    """Check for Image Builder's service-linked role: a new account lacks it.

    https://docs.aws.amazon.com/imagebuilder/latest/userguide/image-builder-service-linked-role.html
    """
    try:
        context.call("iam", "GetRole", RoleName=_SERVICE_LINKED_NAME)
    except NotFoundError:
        return warned(
            f"this account has no {_SERVICE_LINKED_NAME} yet, and the stack's roles are not allowed"
            " to create it",
            context.command("iam", "create-service-linked-role", "--aws-service-name", _SERVICE),
        )
    return passed(f"the role {_SERVICE_LINKED_NAME} exists")


def instance_role(context: CheckContext, profile: str) -> CheckResult:
    """Check the role of an instance profile: the build instance reads the ISO with it."""
    try:
        response = context.call("iam", "GetInstanceProfile", InstanceProfileName=profile)
    except NotFoundError:
        return failed(
            f"there is no instance profile {profile}",
            context.command("iam", "create-instance-profile", "--instance-profile-name", profile)
            + " and add a role to it, or use another one in the infrastructure configuration",
        )
    roles = response["InstanceProfile"].get("Roles", [])
    if not roles:
        return failed(
            f"the instance profile {profile} has no role",
            context.command(
                *("iam", "add-role-to-instance-profile", "--instance-profile-name", profile),
                *("--role-name", "ROLE"),
            ),
        )
    group = context.parameter("BuildLogGroupName") or "/aws/imagebuilder/windows-11"
    return _check_role(
        *(context, roles[0]["RoleName"], "ec2.amazonaws.com", _INSTANCE),
        Permission("imagebuilder:GetComponent", "*"),
        Permission("ssm:UpdateInstanceInformation", "*"),
        Permission("ssmmessages:OpenControlChannel", "*"),
        Permission("logs:PutLogEvents", context.arn("logs", f"log-group:{group}:log-stream:1/1")),
    )


def check_permission(
    context: CheckContext, logical_id: str, *permissions: Permission
) -> CheckResult:
    """Check permissions of one of the stack's roles, by its logical id."""
    role = context.call("iam", "GetRole", RoleName=context.resource(logical_id))["Role"]
    for permission in permissions:
        refused = _simulate(context, role["Arn"], permission)
        if refused is not None:
            return failed(
                f"{logical_id} is not allowed to perform {permission.action} on"
                f" {permission.resource}: {_reason(refused)}",
                f"check {role['Arn']}: {_denied_by(refused)}",
            )
    return passed(
        f"{logical_id} is allowed to perform {', '.join(each.action for each in permissions)}"
    )


def _simulate(context: CheckContext, arn: str, permission: Permission) -> dict[str, Any] | None:
    """Simulate a permission in IAM, including boundaries and the organization's policies."""
    evaluations: list[dict[str, Any]] = context.call(
        "iam",
        "SimulatePrincipalPolicy",
        PolicySourceArn=arn,
        ActionNames=[permission.action],
        ResourceArns=[permission.resource],
        ContextEntries=[
            {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for name, value in permission.condition_values.items()
        ],
    )["EvaluationResults"]
    return next((each for each in evaluations if each["EvalDecision"] != "allowed"), None)


def can_import(context: CheckContext) -> CheckResult:
    """Check that ImportIso can start a build, and has all permissions that this requires."""
    image = context.arn("imagebuilder", "image/windows-11/11.26100.1/1")
    workflow = f"arn:{context.partition}:imagebuilder:{context.region}:aws:workflow/build/x/1.0.0/1"
    return check_permission(
        *(context, "ImportIsoRole"),
        Permission("imagebuilder:ImportDiskImage", image, _stack_tag(context)),
        Permission("imagebuilder:TagResource", image, _stack_tag(context)),
        Permission("imagebuilder:GetWorkflow", workflow),
        Permission("imagebuilder:GetInfrastructureConfiguration", infrastructure_arn(context)),
    )


def can_pass_roles(context: CheckContext) -> CheckResult:
    """Check that ImportIso can pass the execution role to Image Builder."""
    role = _execution_role(context)
    if role is None:
        return passed("there is no execution role to pass")
    return check_permission(context, "ImportIsoRole", _pass_role(role))


def can_distribute(context: CheckContext) -> CheckResult:
    """Check that ReportBuild can distribute images, if that is configured."""
    configuration_arn = context.parameter("DistributionConfigurationArn")
    role = _execution_role(context)
    if not configuration_arn or role is None:
        return passed("images are not distributed")
    image = context.arn("imagebuilder", "image/windows-11/11.26100.1/1")
    return check_permission(
        *(context, "ReportBuildRole", _pass_role(role)),
        Permission("imagebuilder:DistributeImage", image, _stack_tag(context)),
        Permission("imagebuilder:GetDistributionConfiguration", configuration_arn),
    )


def can_read(context: CheckContext) -> CheckResult:
    """Check that ImportIso can read uploads."""
    object_arn = (
        f"arn:{context.partition}:s3:::{context.bucket}/{context.parameter('KeyPrefix')}Win11.iso"
    )
    reading = Permission("s3:GetObjectVersion", object_arn, _in_this_account(context))
    return check_permission(context, "ImportIsoRole", reading)


def can_copy(context: CheckContext) -> CheckResult:
    """Check that ImportIso can copy uploads, and that the build instance can read the copies."""
    copies = f"arn:{context.partition}:s3:::{context.output('StagingBucketName') or ''}/0-0.iso"
    put = Permission("s3:PutObject", copies, _in_this_account(context))
    writing = check_permission(context, "ImportIsoRole", put)
    if writing.level is not Level.OK or context.parameter("InfrastructureConfigurationArn"):
        return writing
    return check_permission(context, "BuildInstanceRole", Permission("s3:GetObject", copies))


def can_start(context: CheckContext) -> CheckResult:
    """Check that the rule can start the state machine."""
    start = Permission("states:StartExecution", context.resource("ImportStateMachine"))
    return check_permission(context, "UploadRuleRole", start)


def can_invoke(context: CheckContext) -> CheckResult:
    """Check that the state machine can invoke ImportIso."""
    function = context.arn("lambda", f"function:{context.resource('ImportIso')}")
    return check_permission(
        context, "ImportStateMachineRole", Permission("lambda:InvokeFunction", function)
    )


def can_publish(context: CheckContext) -> CheckResult:
    """Check that ReportBuild can publish events."""
    bus = context.arn("events", f"event-bus/{context.output('EventBusName') or 'default'}")
    return check_permission(
        context,
        "ReportBuildRole",
        Permission("events:PutEvents", bus, {"events:source": SOURCE}),
    )


def infrastructure_arn(context: CheckContext) -> str:
    """Find the infrastructure configuration of builds.

    Raises
    ------
    NotFoundError
        The stack has none.
    """
    response = configuration(context, "ImportIso").get("Environment", {}).get("Variables", {})
    found = response.get("INFRASTRUCTURE_CONFIGURATION_ARN")
    found = found or context.output("InfrastructureConfigurationArn")
    if not found:
        raise NotFoundError("the stack has no infrastructure configuration")
    return str(found)


def _stack_tag(context: CheckContext) -> dict[str, str]:
    """Return the request's tags: a simulation uses only the keys that it is given."""
    return {"aws:RequestTag/isodrop:stack": context.name}


def _in_this_account(context: CheckContext) -> dict[str, str]:
    return {"s3:ResourceAccount": context.account}


def _pass_role(role: str) -> Permission:
    return Permission("iam:PassRole", role, {"iam:PassedToService": _SERVICE})


def _execution_role(context: CheckContext) -> str | None:
    response = configuration(context, "ImportIso").get("Environment", {}).get("Variables", {})
    return response.get("EXECUTION_ROLE") or None


def _check_role(
    context: CheckContext,
    name: str,
    service: str,
    policies: tuple[str, ...],
    *permissions: Permission,
) -> CheckResult:
    """Check a role's trust policy and permissions; the managed policies are only suggested."""
    try:
        role = context.call("iam", "GetRole", RoleName=name)["Role"]
    except NotFoundError:
        return failed(f"there is no role {name}", f"configure another, or redeploy {context.name}")
    if not trusts(role.get("AssumeRolePolicyDocument"), service):
        trust = (
            '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":'
            f'{{"Service":"{service}"}},"Action":"sts:AssumeRole"}}]}}'
        )
        return failed(
            f"the role {name} does not trust {service}",
            context.command(
                *("iam", "update-assume-role-policy", "--role-name", name),
                *("--policy-document", trust),
            ),
        )
    for permission in permissions:
        refused = _simulate(context, role["Arn"], permission)
        if refused is None:
            continue
        commands = (
            context.command(
                *("iam", "attach-role-policy", "--role-name", name),
                *("--policy-arn", f"arn:{context.partition}:iam::aws:policy/{each}"),
            )
            for each in policies
        )
        return failed(
            f"the role {name} is not allowed to perform {permission.action}: {_reason(refused)}",
            " && ".join(commands)
            if _is_only_missing(refused)
            else f"check {role['Arn']}: {_denied_by(refused)}",
        )
    return passed(f"the role {name} trusts {service} and has the required permissions")


def _is_only_missing(refused: dict[str, Any]) -> bool:
    """Whether no policy allows it, but none denies it."""
    organization = refused.get("OrganizationsDecisionDetail", {})
    boundary = refused.get("PermissionsBoundaryDecisionDetail", {})
    return (
        refused["EvalDecision"] == "implicitDeny"
        and organization.get("AllowedByOrganizations") is not False
        and boundary.get("AllowedByPermissionsBoundary") is not False
    )


def _reason(refused: dict[str, Any]) -> str:
    if refused["EvalDecision"] == "explicitDeny":
        return "a policy denies it"
    return "no policy allows it"


def _denied_by(refused: dict[str, Any]) -> str:
    """Describe which policy denies it, from IAM's simulation.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_EvaluationResult.html
    """
    if refused.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations") is False:
        return "a policy of your organization denies it"
    boundary = refused.get("PermissionsBoundaryDecisionDetail", {})
    if boundary.get("AllowedByPermissionsBoundary") is False:
        return "its permissions boundary denies it (PermissionsBoundaryArn)"
    matched = refused.get("MatchedStatements", [])
    policies = ", ".join(each["SourcePolicyId"] for each in matched if "SourcePolicyId" in each)
    return (
        f"the policy {policies}"
        if policies
        else "its policies; sam deploy restores the stack's own"
    )
