"""The parameters: their limits, and which cannot be used together."""

import re

import boto3
import pytest

from isodrop_local.template import ROOT, read_template
from tests.support.template_arguments import IN_A_SUBNET, INFRASTRUCTURE, ROLE
from tools.resolved_template import TemplateError, resolve

EXAMPLES = sorted(ROOT.glob("examples/*/template.yaml"))
EXCLUSIONS = [
    (
        {"SubnetId": IN_A_SUBNET["SubnetId"]},
        "SubnetId requires SecurityGroupIds, with at least one security group of the same VPC.",
    ),
    (
        {"SecurityGroupIds": IN_A_SUBNET["SecurityGroupIds"]},
        "SecurityGroupIds requires SubnetId.",
    ),
    (
        {"InfrastructureConfigurationArn": INFRASTRUCTURE, **IN_A_SUBNET},
        (
            "InfrastructureConfigurationArn already sets the network of builds; "
            "leave SubnetId and SecurityGroupIds empty."
        ),
    ),
    (
        {"InfrastructureConfigurationArn": INFRASTRUCTURE, "InstanceTypes": "m7i.large"},
        (
            "InfrastructureConfigurationArn already sets the instance types; "
            "leave InstanceTypes empty."
        ),
    ),
    (
        {"AllowListUri": "s3://ours/isos.txt", "AllowListParameter": "/isos"},
        "Set AllowListUri or AllowListParameter, not both.",
    ),
    (
        {"CreateEventBus": "true", "EventBusName": "ours"},
        "With CreateEventBus=true, leave EventBusName at its default.",
    ),
    (
        {"UefiDataUri": "s3://ours/uefi.b64", "SecureBoot": "false"},
        "Image Builder refuses UefiDataUri together with SecureBoot=false; remove one of them.",
    ),
]


@pytest.mark.parametrize(("parameters", "sentence"), EXCLUSIONS)
def test_exclusive_parameters_are_refused_with_a_sentence(
    parameters: dict[str, str], sentence: str
) -> None:
    with pytest.raises(TemplateError, match=f"^{re.escape(sentence)}$"):
        resolve(**parameters)


def test_every_assertion_of_the_template_is_tested() -> None:
    rules = read_template()["Rules"].values()
    sentences = {each["AssertDescription"] for rule in rules for each in rule["Assertions"]}
    assert sentences == {sentence for _, sentence in EXCLUSIONS}


REFUSED: list[tuple[str, object]] = [
    ("DistributionConfigurationArn", INFRASTRUCTURE),
    ("ImageExpirationDays", -1),
    ("ImageExpirationDays", 1001),
    ("ImagesToRetain", 0),
    ("ImagesToRetain", 11),
    ("ExistingBucketName", "arn:aws:s3:::bucket"),
    ("ExistingBucketName", "Upper"),
    ("KeyPrefix", "isos"),
    ("KeyPrefix", "/isos/"),
    ("KeyPrefix", "*/"),
    ("NoncurrentVersionExpirationDays", 0),
    ("Edition", "Windows 11 Enterprise"),
    ("SupportedWindowsBuilds", "24H2"),
    ("AllowEsd", "yes"),
    ("AllowedOverrides", "edition, rebuild"),
    ("AllowedOverrides", "execution-role"),
    ("ImageNameTemplate", "win.11"),
    ("ImageDescription", "x" * 257),
    ("ImageTags", "no value"),
    ("InfrastructureConfigurationArn", "ours"),
    ("SubnetId", "subnet-1"),
    ("SecurityGroupIds", "sg-0123456789abcdef0, sg-0123456789abcdef1"),
    ("InstanceTypes", "large"),
    ("ExecutionRoleArn", "ours"),
    ("BuildLogGroupName", "with space"),
    ("SecureBoot", "yes"),
    ("UefiDataUri", "https://ours"),
    ("PollIntervalSeconds", 59),
    ("TrackingTimeoutHours", 13),
    ("MaxConsecutiveFailures", 0),
    ("AllowListMode", "on"),
    ("AllowListUri", "https://example.com/list"),
    ("AllowListParameter", "isos"),
    ("MaxBuildsAtOnce", 0),
    ("MaxBuildsPerDay", 0),
    ("MinIsoMegabytes", -1),
    ("MaxIsoGigabytes", 0),
    ("ImportIsoConcurrency", -1),
    ("SweepIntervalMinutes", 4),
    ("ImportedIsoExpirationDays", -1),
    ("LatestAcrossWindowsBuilds", "yes"),
    ("CreateDashboard", "yes"),
    ("EventBusName", "arn:aws:events:eu-central-1:123456789012:event-bus/ours"),
    ("CreateEventBus", "yes"),
    ("RunRetentionDays", 7),
    ("LedgerDeletionProtection", "yes"),
    ("RegisterSchemas", "yes"),
    ("AlarmTopicArn", "ours"),
    ("MalwareScan", "yes"),
    ("KmsKeyArn", "alias/ours"),
    ("PermissionsBoundaryArn", ROLE),
    ("RolePath", "ours"),
    ("LogRetentionDays", 2),
    ("Architecture", "arm"),
]


@pytest.mark.parametrize(("parameter", "refused"), REFUSED)
def test_a_parameter_refuses_an_invalid_value(parameter: str, refused: object) -> None:
    with pytest.raises(TemplateError, match=f"^{parameter} cannot be "):
        resolve(**{parameter: refused})


def test_every_parameter_has_description_default_bound_and_group() -> None:
    template = read_template()
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    placed = [name for group in groups for name in group["Parameters"]]
    tried = {parameter for parameter, _ in REFUSED}
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"].endswith("."), name
        assert "Default" in parameter, name
        assert {"AllowedPattern", "AllowedValues", "MaxLength", "MinValue"} & parameter.keys(), name
        assert name in tried, f"what {name} refuses is not tried above"
    assert sorted(placed) == sorted(template["Parameters"])


def test_the_address_of_aws_is_declared_empty_and_so_is_aws_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables = resolve().properties("ImportIso")["Environment"]["Variables"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", variables["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    client = boto3.Session(region_name="eu-central-1").client("imagebuilder")
    assert client.meta.endpoint_url == "https://imagebuilder.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    "path",
    [
        *("template.yaml", "monitoring.yaml", "statemachine/import.asl.json"),
        *(f"examples/{path.parent.name}/template.yaml" for path in EXAMPLES),
    ],
)
def test_no_resource_depends_on_one_partition(path: str) -> None:
    # In China and GovCloud an ARN, and the Resource of a state machine's task, begins differently.
    assert not re.search(r"arn:aws(-cn|-us-gov)?:", (ROOT / path).read_text())
