"""The roles: whether they are there, trusted, and may do what an import takes."""

from dataclasses import dataclass, field
from typing import Any, Final

from isodrop_cli.doctor.context import Ground
from isodrop_cli.doctor.functions import configuration
from isodrop_cli.doctor.policies import trusts
from isodrop_cli.doctor.results import GoneError, Level, Verdict, broken, doubtful, well

_EXECUTION: Final = "EC2ImageBuilderExecutionPolicy"
_INSTANCE: Final = ("EC2InstanceProfileForImageBuilder", "AmazonSSMManagedInstanceCore")
_SERVICE_LINKED: Final = ":role/aws-service-role/"


@dataclass(frozen=True, slots=True)
class Right:
    """What one of the stack's roles must be allowed.

    Attributes
    ----------
    role : str
        Its name in the template.
    action, resource : str
    context : mapping of str to str
        What IAM is to be told beside it.
    """

    role: str
    action: str
    resource: str
    context: dict[str, str] = field(default_factory=dict)


def execution_role(ground: Ground) -> Verdict:
    """Image Builder builds as this role; its service-linked role, by name, fails."""
    arn = _execution_role(ground)
    if arn is None:
        return doubtful(
            "ImportIso is told of no execution role", "sam deploy with ExecutionRoleArn"
        )
    if _SERVICE_LINKED in arn:
        return broken(
            f"{arn} is a service-linked role, which ImportDiskImage does not take",
            "sam deploy with another ExecutionRoleArn, or none",
        )
    return _role(ground, arn.rsplit("/", 1)[-1], "imagebuilder.amazonaws.com", (_EXECUTION,))


def instance_role(ground: Ground, profile: str) -> Verdict:
    """Judge the role behind an instance profile: a build's instance reads the ISO as this."""
    try:
        told = ground.ask("iam", "GetInstanceProfile", InstanceProfileName=profile)
    except GoneError:
        return broken(
            f"there is no instance profile {profile}",
            ground.command("iam", "create-instance-profile", "--instance-profile-name", profile)
            + " and add a role to it, or give the infrastructure configuration another",
        )
    roles = told["InstanceProfile"].get("Roles", [])
    if not roles:
        return broken(
            f"the instance profile {profile} has no role",
            ground.command(
                *("iam", "add-role-to-instance-profile", "--instance-profile-name", profile),
                *("--role-name", "ROLE"),
            ),
        )
    return _role(ground, roles[0]["RoleName"], "ec2.amazonaws.com", _INSTANCE)


def may(ground: Ground, right: Right) -> Verdict:
    """Let IAM simulate what a role may do, boundaries and organisation included."""
    role = ground.ask("iam", "GetRole", RoleName=ground.resource(right.role))["Role"]
    judged: list[dict[str, Any]] = ground.ask(
        "iam",
        "SimulatePrincipalPolicy",
        PolicySourceArn=role["Arn"],
        ActionNames=[right.action],
        ResourceArns=[right.resource],
        ContextEntries=[
            {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for name, value in right.context.items()
        ],
    )["EvaluationResults"]
    refused = next((each for each in judged if each["EvalDecision"] != "allowed"), None)
    if refused is None:
        return well(f"{right.role} may {right.action}")
    return broken(
        f"{right.role} may not {right.action} on {right.resource}: {_why(refused)}",
        f"see {role['Arn']}: {_where(refused)}",
    )


def may_import(ground: Ground) -> Verdict:
    """Ask whether ImportIso is allowed the one paid call."""
    image = ground.arn("imagebuilder", "image/windows-11/11.26100.1/1")
    return may(ground, Right("ImportIsoRole", "imagebuilder:ImportDiskImage", image))


def may_pass(ground: Ground) -> Verdict:
    """Ask whether ImportIso is allowed to hand the execution role to Image Builder."""
    to = {"iam:PassedToService": "imagebuilder.amazonaws.com"}
    role = _execution_role(ground)
    if role is None:
        return well("there is no execution role to pass")
    return may(ground, Right("ImportIsoRole", "iam:PassRole", role, to))


def may_distribute(ground: Ground) -> Verdict:
    """Ask whether ReportBuild is allowed to have images distributed, if they are."""
    configuration_arn = ground.parameter("DistributionConfigurationArn")
    role = _execution_role(ground)
    if not configuration_arn or role is None:
        return well("images are not distributed")
    to = {"iam:PassedToService": "imagebuilder.amazonaws.com"}
    passing = may(ground, Right("ReportBuildRole", "iam:PassRole", role, to))
    if passing.level is not Level.OK:
        return passing
    return may(ground, Right("ReportBuildRole", "imagebuilder:DistributeImage", configuration_arn))


def may_read(ground: Ground) -> Verdict:
    """Ask whether ImportIso is allowed to look inside."""
    where = f"arn:{ground.partition}:s3:::{ground.bucket}/{ground.parameter('KeyPrefix')}Win11.iso"
    return may(ground, Right("ImportIsoRole", "s3:GetObject", where))


def may_start(ground: Ground) -> Verdict:
    """Ask whether the rule is allowed to start the state machine."""
    machine = ground.resource("ImportMachine")
    return may(ground, Right("DroppedRole", "states:StartExecution", machine))


def may_ask(ground: Ground) -> Verdict:
    """Ask whether the state machine is allowed to ask the function."""
    function = ground.arn("lambda", f"function:{ground.resource('ImportIso')}")
    return may(ground, Right("ImportMachineRole", "lambda:InvokeFunction", function))


def may_tell(ground: Ground) -> Verdict:
    """Ask whether ReportBuild is allowed to tell."""
    bus = ground.arn("events", f"event-bus/{ground.output('EventBus') or 'default'}")
    return may(ground, Right("ReportBuildRole", "events:PutEvents", bus))


def _execution_role(ground: Ground) -> str | None:
    told = configuration(ground, "ImportIso").get("Environment", {}).get("Variables", {})
    return told.get("EXECUTION_ROLE") or None


def _role(ground: Ground, name: str, service: str, policies: tuple[str, ...]) -> Verdict:
    try:
        role = ground.ask("iam", "GetRole", RoleName=name)["Role"]
    except GoneError:
        return broken(f"there is no role {name}", f"name another, or deploy {ground.name} anew")
    if not trusts(role.get("AssumeRolePolicyDocument"), service):
        trust = (
            '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":'
            f'{{"Service":"{service}"}},"Action":"sts:AssumeRole"}}]}}'
        )
        return broken(
            f"the role {name} does not trust {service}",
            ground.command(
                *("iam", "update-assume-role-policy", "--role-name", name),
                *("--policy-document", trust),
            ),
        )
    attached = ground.ask("iam", "ListAttachedRolePolicies", RoleName=name)["AttachedPolicies"]
    has = {each["PolicyName"] for each in attached}
    lacking = [each for each in policies if each not in has]
    if lacking:
        return broken(
            f"the role {name} has not got {' and '.join(lacking)}",
            " && ".join(
                ground.command(
                    *("iam", "attach-role-policy", "--role-name", name),
                    *("--policy-arn", f"arn:{ground.partition}:iam::aws:policy/{each}"),
                )
                for each in lacking
            ),
        )
    return well(f"the role {name} trusts {service} and has {' and '.join(policies)}")


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
