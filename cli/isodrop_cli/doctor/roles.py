"""The roles: whether they are there, trusted, and may do what an import takes."""

from dataclasses import dataclass, field
from typing import Any, Final

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
class Right:
    """What a role must be allowed.

    Attributes
    ----------
    action, resource : str
    context : mapping of str to str
        What IAM is to be told beside it.
    """

    action: str
    resource: str
    context: dict[str, str] = field(default_factory=dict)


def execution_role(ground: CheckContext) -> CheckResult:
    """Image Builder builds as this role: see that it is trusted, and may do what a build takes."""
    arn = _execution_role(ground)
    if arn is None:
        return warned("ImportIso is told of no execution role", "sam deploy with ExecutionRoleArn")
    if _SERVICE_LINKED in arn:
        return warned(
            f"builds run as the service-linked role {arn}: others were seen to do so, but AWS asks"
            " for a role of one's own",
            "sam deploy with another ExecutionRoleArn, or none, if the first build is refused",
        )
    image = f"arn:{ground.partition}:ec2:{ground.region}::image/ami-0123456789abcdef0"
    document = f"arn:{ground.partition}:ssm:{ground.region}::document/AWS-RunPowerShellScript"
    tagged = {"aws:RequestTag/CreatedBy": "EC2 Image Builder"}
    return _role(
        *(ground, arn.rsplit("/", 1)[-1], _SERVICE, _EXECUTION),
        Right("ec2:DescribeImages", "*"),
        Right("ec2:RunInstances", image),
        Right("ec2:RegisterImage", image, tagged),
        Right("ssm:SendCommand", document),
    )


def service_linked_role(ground: CheckContext) -> CheckResult:
    """Look for the role that Image Builder works with everywhere: a fresh account lacks it.

    https://docs.aws.amazon.com/imagebuilder/latest/userguide/image-builder-service-linked-role.html
    """
    try:
        ground.call("iam", "GetRole", RoleName=_SERVICE_LINKED_NAME)
    except NotFoundError:
        return warned(
            f"this account has no {_SERVICE_LINKED_NAME} yet, and the stack's roles may not make"
            " it",
            ground.command("iam", "create-service-linked-role", "--aws-service-name", _SERVICE),
        )
    return passed(f"there is {_SERVICE_LINKED_NAME}")


def instance_role(ground: CheckContext, profile: str) -> CheckResult:
    """Judge the role behind an instance profile: a build's instance reads the ISO as this."""
    try:
        told = ground.call("iam", "GetInstanceProfile", InstanceProfileName=profile)
    except NotFoundError:
        return failed(
            f"there is no instance profile {profile}",
            ground.command("iam", "create-instance-profile", "--instance-profile-name", profile)
            + " and add a role to it, or give the infrastructure configuration another",
        )
    roles = told["InstanceProfile"].get("Roles", [])
    if not roles:
        return failed(
            f"the instance profile {profile} has no role",
            ground.command(
                *("iam", "add-role-to-instance-profile", "--instance-profile-name", profile),
                *("--role-name", "ROLE"),
            ),
        )
    group = ground.parameter("BuildLogGroupName") or "/aws/imagebuilder/windows-11"
    return _role(
        *(ground, roles[0]["RoleName"], "ec2.amazonaws.com", _INSTANCE),
        Right("imagebuilder:GetComponent", "*"),
        Right("ssm:UpdateInstanceInformation", "*"),
        Right("ssmmessages:OpenControlChannel", "*"),
        Right("logs:PutLogEvents", ground.arn("logs", f"log-group:{group}:log-stream:1/1")),
    )


def check_permission(ground: CheckContext, logical: str, *rights: Right) -> CheckResult:
    """Ask whether one of the stack's roles, by its name in the template, has rights."""
    role = ground.call("iam", "GetRole", RoleName=ground.resource(logical))["Role"]
    for right in rights:
        refused = _refused(ground, role["Arn"], right)
        if refused is not None:
            return failed(
                f"{logical} may not {right.action} on {right.resource}: {_why(refused)}",
                f"see {role['Arn']}: {_where(refused)}",
            )
    return passed(f"{logical} may {', '.join(right.action for right in rights)}")


def _refused(ground: CheckContext, arn: str, right: Right) -> dict[str, Any] | None:
    """Let IAM simulate what a role may do, boundaries and organisation included."""
    judged: list[dict[str, Any]] = ground.call(
        "iam",
        "SimulatePrincipalPolicy",
        PolicySourceArn=arn,
        ActionNames=[right.action],
        ResourceArns=[right.resource],
        ContextEntries=[
            {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for name, value in right.context.items()
        ],
    )["EvaluationResults"]
    return next((each for each in judged if each["EvalDecision"] != "allowed"), None)


def can_import(ground: CheckContext) -> CheckResult:
    """Ask whether ImportIso is allowed the one paid call, and all that it depends on."""
    image = ground.arn("imagebuilder", "image/windows-11/11.26100.1/1")
    workflow = f"arn:{ground.partition}:imagebuilder:{ground.region}:aws:workflow/build/x/1.0.0/1"
    return check_permission(
        *(ground, "ImportIsoRole"),
        Right("imagebuilder:ImportDiskImage", image, _tagged(ground)),
        Right("imagebuilder:TagResource", image, _tagged(ground)),
        Right("imagebuilder:GetWorkflow", workflow),
        Right("imagebuilder:GetInfrastructureConfiguration", infrastructure_arn(ground)),
    )


def can_pass_roles(ground: CheckContext) -> CheckResult:
    """Ask whether ImportIso is allowed to hand the execution role to Image Builder."""
    role = _execution_role(ground)
    if role is None:
        return passed("there is no execution role to pass")
    return check_permission(ground, "ImportIsoRole", _passing(role))


def can_distribute(ground: CheckContext) -> CheckResult:
    """Ask whether ReportBuild is allowed to have images distributed, if they are."""
    configuration_arn = ground.parameter("DistributionConfigurationArn")
    role = _execution_role(ground)
    if not configuration_arn or role is None:
        return passed("images are not distributed")
    image = ground.arn("imagebuilder", "image/windows-11/11.26100.1/1")
    return check_permission(
        *(ground, "ReportBuildRole", _passing(role)),
        Right("imagebuilder:DistributeImage", image, _tagged(ground)),
        Right("imagebuilder:GetDistributionConfiguration", configuration_arn),
    )


def can_read(ground: CheckContext) -> CheckResult:
    """Ask whether ImportIso is allowed to look inside."""
    where = f"arn:{ground.partition}:s3:::{ground.bucket}/{ground.parameter('KeyPrefix')}Win11.iso"
    reading = Right("s3:GetObjectVersion", where, _in_this_account(ground))
    return check_permission(ground, "ImportIsoRole", reading)


def can_copy(ground: CheckContext) -> CheckResult:
    """Ask whether ImportIso is allowed to make copies, and the build to read them."""
    copies = f"arn:{ground.partition}:s3:::{ground.output('StagingBucketName') or ''}/0-0.iso"
    put = Right("s3:PutObject", copies, _in_this_account(ground))
    writing = check_permission(ground, "ImportIsoRole", put)
    if writing.level is not Level.OK or ground.parameter("InfrastructureConfigurationArn"):
        return writing
    return check_permission(ground, "BuildInstanceRole", Right("s3:GetObject", copies))


def can_start(ground: CheckContext) -> CheckResult:
    """Ask whether the rule is allowed to start the state machine."""
    start = Right("states:StartExecution", ground.resource("ImportStateMachine"))
    return check_permission(ground, "UploadRuleRole", start)


def can_invoke(ground: CheckContext) -> CheckResult:
    """Ask whether the state machine is allowed to ask the function."""
    function = ground.arn("lambda", f"function:{ground.resource('ImportIso')}")
    return check_permission(
        ground, "ImportStateMachineRole", Right("lambda:InvokeFunction", function)
    )


def can_publish(ground: CheckContext) -> CheckResult:
    """Ask whether ReportBuild is allowed to tell."""
    bus = ground.arn("events", f"event-bus/{ground.output('EventBus') or 'default'}")
    return check_permission(ground, "ReportBuildRole", Right("events:PutEvents", bus))


def infrastructure_arn(ground: CheckContext) -> str:
    """Find the infrastructure configuration that builds run by.

    Raises
    ------
    GoneError
        The stack names none.
    """
    told = configuration(ground, "ImportIso").get("Environment", {}).get("Variables", {})
    found = told.get("INFRASTRUCTURE_CONFIGURATION_ARN")
    found = found or ground.output("InfrastructureConfiguration")
    if not found:
        raise NotFoundError("the stack names no infrastructure configuration")
    return str(found)


def _tagged(ground: CheckContext) -> dict[str, str]:
    """Say what a request's tags are: a simulation knows no key that it is not told."""
    return {"aws:RequestTag/isodrop:stack": ground.name}


def _in_this_account(ground: CheckContext) -> dict[str, str]:
    return {"s3:ResourceAccount": ground.account}


def _passing(role: str) -> Right:
    return Right("iam:PassRole", role, {"iam:PassedToService": _SERVICE})


def _execution_role(ground: CheckContext) -> str | None:
    told = configuration(ground, "ImportIso").get("Environment", {}).get("Variables", {})
    return told.get("EXECUTION_ROLE") or None


def _role(
    ground: CheckContext, name: str, service: str, policies: tuple[str, ...], *rights: Right
) -> CheckResult:
    """Judge a role by whom it trusts and what it may do; AWS's policies are the remedy only."""
    try:
        role = ground.call("iam", "GetRole", RoleName=name)["Role"]
    except NotFoundError:
        return failed(f"there is no role {name}", f"name another, or deploy {ground.name} anew")
    if not trusts(role.get("AssumeRolePolicyDocument"), service):
        trust = (
            '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":'
            f'{{"Service":"{service}"}},"Action":"sts:AssumeRole"}}]}}'
        )
        return failed(
            f"the role {name} does not trust {service}",
            ground.command(
                *("iam", "update-assume-role-policy", "--role-name", name),
                *("--policy-document", trust),
            ),
        )
    for right in rights:
        refused = _refused(ground, role["Arn"], right)
        if refused is None:
            continue
        commands = (
            ground.command(
                *("iam", "attach-role-policy", "--role-name", name),
                *("--policy-arn", f"arn:{ground.partition}:iam::aws:policy/{each}"),
            )
            for each in policies
        )
        return failed(
            f"the role {name} may not {right.action}: {_why(refused)}",
            " && ".join(commands)
            if _is_lacking(refused)
            else f"see {role['Arn']}: {_where(refused)}",
        )
    return passed(f"the role {name} trusts {service} and may do what a build takes")


def _is_lacking(refused: dict[str, Any]) -> bool:
    """Whether it is only that no policy allows it, and none refuses it."""
    organisation = refused.get("OrganizationsDecisionDetail", {})
    boundary = refused.get("PermissionsBoundaryDecisionDetail", {})
    return (
        refused["EvalDecision"] == "implicitDeny"
        and organisation.get("AllowedByOrganizations") is not False
        and boundary.get("AllowedByPermissionsBoundary") is not False
    )


def _why(refused: dict[str, Any]) -> str:
    if refused["EvalDecision"] == "explicitDeny":
        return "a policy denies it"
    return "no policy allows it"


def _where(refused: dict[str, Any]) -> str:
    """Say who refuses, as IAM tells it.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_EvaluationResult.html
    """
    if refused.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations") is False:
        return "a policy of your organisation refuses it"
    boundary = refused.get("PermissionsBoundaryDecisionDetail", {})
    if boundary.get("AllowedByPermissionsBoundary") is False:
        return "its permissions boundary refuses it (PermissionsBoundaryArn)"
    matched = refused.get("MatchedStatements", [])
    named = ", ".join(each["SourcePolicyId"] for each in matched if "SourcePolicyId" in each)
    return f"the policy {named}" if named else "its policies; sam deploy puts the stack's own back"
