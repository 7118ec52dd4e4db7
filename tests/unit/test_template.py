"""What each of the template's parameters changes, and what excludes what, once transformed."""

import json
import re
import shlex
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

import boto3
import jmespath
import pytest
from moto.iam.aws_managed_policies import aws_managed_policies_data

from isodrop.domain.model import DistributionSettings
from isodrop.settings import IntakeSettings, ReportSettings
from isodrop_local.template import ROOT, definition, source
from tools.resolved_template import Resolved, TemplateError, resolve

KEY = "arn:aws:kms:eu-central-1:123456789012:key/1b2c3d4e-0000-1111-2222-333344445555"
UPLOAD_RULE = "UploadRule"  # the rule
INFRASTRUCTURE = "arn:aws:imagebuilder:eu-central-1:123456789012:infrastructure-configuration/ours"
ROLE = "arn:aws:iam::123456789012:role/ours/builder"
DISTRIBUTION = "arn:aws:imagebuilder:eu-central-1:123456789012:distribution-configuration/ours"
BOUNDARY = "arn:aws:iam::123456789012:policy/ours/boundary"
EXAMPLES = sorted(ROOT.glob("examples/*/template.yaml"))
IN_A_SUBNET = {"SubnetId": "subnet-0123456789abcdef0", "SecurityGroupIds": "sg-0123456789abcdef0"}


# Where ISOs are dropped


def swept(made: Resolved) -> tuple[str, str]:
    """Where the sweep looks."""
    variables = made.properties("Sweep")["Environment"]["Variables"]
    return variables["UPLOAD_BUCKET"], variables["KEY_PREFIX"]


def test_by_default_the_stack_creates_its_bucket_and_takes_every_iso() -> None:
    made = resolve()
    rule = made.properties(UPLOAD_RULE)
    assert made.of_type("AWS::S3::Bucket").keys() == {"UploadBucket", "StagingBucket"}
    assert rule["EventPattern"]["detail"] == {
        "bucket": {"name": ["UploadBucket"]},
        "object": {"key": [{"suffix": {"equals-ignore-case": ".iso"}}]},
    }
    assert made.outputs["UploadCommand"] == "aws s3 cp Win11.iso s3://UploadBucket/"
    assert "NotificationCommand" not in made.outputs


def test_an_existing_bucket_is_used_and_not_changed() -> None:
    made = resolve(ExistingBucketName="our-media")
    rule = made.properties(UPLOAD_RULE)
    assert made.of_type("AWS::S3::Bucket").keys() == {"StagingBucket"}
    assert rule["EventPattern"]["detail"]["bucket"] == {"name": ["our-media"]}
    for role in ("ImportIsoRole", "ReportBuildRole", "SweepRole"):
        told = made.statement(role, "DistinguishMissingUploads")
        assert told
        assert told["Resource"] == "arn:aws:s3:::our-media"
    assert made.outputs["UploadBucketName"] == "our-media"
    assert swept(made) == ("our-media", "")


@pytest.mark.parametrize(
    "there", [{}, {"TopicConfigurations": [{"TopicArn": "t", "Events": ["s3:*"]}]}]
)
def test_an_existing_bucket_has_an_output_with_the_setup_command(
    there: dict[str, Any],
) -> None:
    # Given what the bucket notifies already
    command = resolve(ExistingBucketName="our-media").outputs["NotificationCommand"]
    outer, inner = re.fullmatch(r'(.*) --notification-configuration "\$\((.*)\)"', command).groups()  # type: ignore[union-attr] # it is of that form
    # When the command merges
    asks = shlex.split(inner)
    merged = jmespath.search(asks[asks.index("--query") + 1], there)
    # Then
    # S3 would else send a test message to each destination, and refuse all for one that is broken.
    assert outer == (
        "aws s3api put-bucket-notification-configuration --bucket our-media"
        " --skip-destination-validation"
    )
    assert inner.startswith(
        "aws s3api get-bucket-notification-configuration --bucket our-media --output json "
    )
    assert merged == {**there, "EventBridgeConfiguration": {}}


def isos_below(prefix: str) -> set[str]:
    """The resources of a policy that are all ISOs below a prefix, however .iso is spelled."""
    spellings = map("".join, product("iI", "sS", "oO"))
    return {f"arn:aws:s3:::UploadBucket/{prefix}*.{each}" for each in spellings}


def test_only_isos_below_the_prefix_are_announced_and_read() -> None:
    made = resolve(KeyPrefix="isos/windows/")
    rule = made.properties(UPLOAD_RULE)
    wildcards = [each["wildcard"] for each in rule["EventPattern"]["detail"]["object"]["key"]]
    assert len(wildcards) <= 3

    def heard(key: str) -> bool:
        return any(fnmatchcase(key, each) for each in wildcards)

    for letters in product("iI", "sS", "oO"):
        name = f"Win 11.{''.join(letters)}"
        assert heard(f"isos/windows/{name}")
        assert heard(f"isos/windows/deep/{name}")
        assert not heard(f"isos/{name}")
    assert not heard("isos/windows/Win11.iso.sha256")
    for role, sid in (
        ("ImportIsoRole", "ReadUploads"),
        ("ReportBuildRole", "TagObjects"),
        ("SweepRole", "TagObjects"),
    ):
        read = made.statement(role, sid)
        assert read
        assert set(read["Resource"]) == isos_below("isos/windows/")
    assert made.outputs["UploadCommand"].endswith("s3://UploadBucket/isos/windows/")
    assert swept(made) == ("UploadBucket", "isos/windows/")


def test_replaced_versions_are_kept_for_the_given_days() -> None:
    rules = resolve(NoncurrentVersionExpirationDays=7).properties("UploadBucket")[
        "LifecycleConfiguration"
    ]
    assert {"NoncurrentDays": "7"} in [
        rule.get("NoncurrentVersionExpiration") for rule in rules["Rules"]
    ]


def test_imported_isos_are_deleted_after_the_given_days_if_any() -> None:
    def by_tag(**parameters: object) -> list[dict[str, Any]]:
        rules = resolve(**parameters).properties("UploadBucket")["LifecycleConfiguration"]["Rules"]
        return [rule for rule in rules if "TagFilters" in rule]

    (rule,) = by_tag(ImportedIsoExpirationDays=7)
    assert rule["TagFilters"] == [{"Key": "isodrop:state", "Value": "succeeded"}]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", "7")
    assert by_tag() == []
    existing = resolve(ExistingBucketName="our-media", ImportedIsoExpirationDays=7)
    assert "UploadBucket" not in existing.of_type("AWS::S3::Bucket")


# What is imported: private copies


def test_a_directory_bucket_is_refused() -> None:
    with pytest.raises(TemplateError, match="ExistingBucketName"):
        resolve(ExistingBucketName="media--euc1-az1--x-s3")


def test_copies_are_written_by_the_stacks_roles_only_and_last_eight_days() -> None:
    made = resolve()
    (only,) = [
        each
        for each in made.properties("StagingBucketPolicy")["PolicyDocument"]["Statement"]
        if each["Sid"] == "DenyOtherWriters"
    ]
    rules = made.properties("StagingBucket")["LifecycleConfiguration"]["Rules"]
    assert (only["Effect"], only["Principal"]) == ("Deny", "*")
    assert only["Condition"] == {
        "ArnNotEquals": {
            "aws:PrincipalArn": [
                f"{role}.Arn"
                for role in ("ImportIsoRole", "ReportBuildRole", "SweepRole", "EmptyStagingRole")
            ]
        }
    }
    assert [rule.get("ExpirationInDays") for rule in rules] == [8, None]
    assert rules[1]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert "NotificationConfiguration" not in made.properties("StagingBucket")


ACCOUNT = "123456789012"


def test_builds_read_only_copies_of_this_account() -> None:
    made = resolve()
    (policy,) = made.properties("BuildInstanceRole")["Policies"]
    allow, no_objects, no_parameters = policy["PolicyDocument"]["Statement"]
    assert (allow["Effect"], allow["Resource"]) == ("Allow", "StagingBucket.Arn/*")
    assert allow["Condition"] == {"StringEquals": {"s3:ResourceAccount": ACCOUNT}}
    assert (no_objects["Effect"], no_objects["Action"]) == ("Deny", "s3:GetObject*")
    assert no_objects["NotResource"] == "StagingBucket.Arn/*"
    assert no_objects["Condition"] == {"StringEquals": {"aws:ResourceAccount": ACCOUNT}}
    assert (no_parameters["Effect"], no_parameters["Action"]) == ("Deny", "ssm:GetParameter*")


@pytest.mark.parametrize(
    ("arn", "denied"),
    [
        (f"arn:aws:ssm:eu-central-1:{ACCOUNT}:parameter/prod/password", True),
        (f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/isodrop/a/26100/latest", True),
        # AWS's own: what the SSM agent and Image Builder read.
        ("arn:aws:ssm:eu-central-1::parameter/aws/service/ami-windows-latest/any", False),
        ("arn:aws:ssm:eu-central-1:210987654321:parameter/theirs", False),
    ],
)
def test_builds_read_no_parameters_of_this_account_and_all_of_aws(
    arn: str, *, denied: bool
) -> None:
    (policy,) = resolve().properties("BuildInstanceRole")["Policies"]
    statements = policy["PolicyDocument"]["Statement"]
    (resource,) = (each["Resource"] for each in statements if each["Sid"] == "DenyParameters")
    assert fnmatchcase(arn, resource) is denied


# What is imported and what it is called: the functions' environment


@pytest.mark.parametrize(
    ("parameter", "value", "setting", "read"),
    [
        ("Edition", "EnterpriseN", "edition", "EnterpriseN"),
        ("SupportedBuilds", "26100,28000", "supported_builds", frozenset({26100, 28000})),
        ("AllowEsd", "true", "allow_esd", True),
        ("AllowEsd", "false", "allow_esd", False),
        ("AllowedOverrides", "edition,rebuild", "allowed_overrides", {"edition", "rebuild"}),
        ("ImageNameTemplate", "w11-{release}", "image_name_template", "w11-{release}"),
        ("ImageDescription", "ours", "image_description", "ours"),
        ("ImageTags", "team=os,cost=42", "image_tags", {"team": "os", "cost": "42"}),
        (
            "InfrastructureConfigurationArn",
            INFRASTRUCTURE,
            "infrastructure_configuration_arn",
            INFRASTRUCTURE,
        ),
        ("ExecutionRoleArn", ROLE, "execution_role", ROLE),
        ("BuildLogGroupName", "/ours/builds", "log_group_name", "/ours/builds"),
        ("SecureBoot", "true", "secure_boot", True),
        ("UefiDataUri", "s3://ours/uefi.b64", "uefi_data_uri", "s3://ours/uefi.b64"),
        ("MaxConsecutiveFailures", 3, "max_consecutive_failures", 3),
        ("AllowListMode", "warn", "allow_list_mode", "warn"),
        ("AllowListUri", "s3://ours/list.txt", "allow_list_uri", "s3://ours/list.txt"),
        ("AllowListParameter", "/isos", "allow_list_uri", "ssm:/isos"),
        ("MaxBuildsAtOnce", 4, "max_builds_at_once", 4),
        ("MaxBuildsPerDay", 12, "max_builds_per_day", 12),
        ("MinIsoMegabytes", 0, "min_iso_megabytes", 0),
        ("MaxIsoGigabytes", 40, "max_iso_gigabytes", 40),
    ],
)
def test_the_importing_function_reads_each_setting(
    parameter: str, value: object, setting: str, read: object
) -> None:
    variables = resolve(**{parameter: value}).properties("ImportIso")["Environment"]["Variables"]
    assert getattr(IntakeSettings.read(variables), setting) == read


@pytest.mark.parametrize(
    ("where", "sid", "resource"),
    [
        ({"AllowListUri": "s3://ours/isos.txt"}, "ReadAllowListObject", ":ours/isos.txt"),
        ({"AllowListParameter": "/isos"}, "ReadAllowListParameter", ":parameter/isos"),
    ],
)
def test_only_the_given_allow_list_may_be_read(
    where: dict[str, str], sid: str, resource: str
) -> None:
    made = resolve(**where, AllowListMode="enforce")
    read = made.statement("ImportIsoRole", sid)
    assert read
    assert read["Resource"].endswith(resource)
    sids = ("ReadAllowListObject", "ReadAllowListParameter")
    assert [bool(made.statement("ImportIsoRole", each)) for each in sids].count(True) == 1
    assert not any(resolve().statement("ImportIsoRole", each) for each in sids)


def test_a_concurrency_is_reserved_for_the_importing_function() -> None:
    reserved = "ReservedConcurrentExecutions"
    assert resolve(ImportConcurrency=5).properties("ImportIso")[reserved] == "5"
    assert reserved not in resolve().properties("ImportIso")
    assert reserved not in resolve(ImportConcurrency=5).properties("ReportBuild")


def test_the_given_uefi_data_may_be_read_and_no_other_object() -> None:
    read = resolve(UefiDataUri="s3://ours/uefi.b64").statement("ImportIsoRole", "ReadUefiData")
    assert read
    assert read["Resource"] == "arn:aws:s3:::ours/uefi.b64"
    assert resolve().statement("ImportIsoRole", "ReadUefiData") is None


# What is told beside the answer


@pytest.mark.parametrize(("value", "read"), [("true", True), ("false", False)])
def test_the_answering_functions_read_whether_one_latest_spans_all_builds(
    value: str, read: bool
) -> None:
    for function in ("ReportBuild", "Sweep"):
        made = resolve(LatestAcrossBuilds=value).properties(function)
        settings = ReportSettings.read(made["Environment"]["Variables"])
        assert settings.latest_across_builds is read


def test_the_answering_roles_write_to_uploads_and_parameters_only() -> None:
    made = resolve(KeyPrefix="isos/")
    for role in ("ReportBuildRole", "SweepRole"):
        object_, parameter = (
            made.statement(role, sid) for sid in ("TagObjects", "PutLatestParameters")
        )
        assert object_
        assert set(object_["Resource"]) == isos_below("isos/")
        assert parameter
        assert parameter["Resource"].endswith(":parameter/isodrop/*")
    assert made.statement("ImportIsoRole", "TagObjects") is None


# What becomes of images


def test_the_answering_roles_may_distribute_by_the_configuration() -> None:
    made = resolve(
        DistributionConfigurationArn=DISTRIBUTION, ExecutionRoleArn=ROLE, BuildLogGroupName="/ours"
    )
    for function in ("ReportBuild", "Sweep"):
        settings = ReportSettings.read(made.properties(function)["Environment"]["Variables"])
        distribute, found, passed = (
            made.statement(f"{function}Role", sid)
            for sid in ("DistributeImage", "FindDistributions", "PassDistributionRole")
        )
        assert settings.distribution() == DistributionSettings(DISTRIBUTION, ROLE, "/ours")
        assert distribute
        assert "imagebuilder:DistributeImage" in distribute["Action"]
        assert found
        assert found["Resource"][1:] == [DISTRIBUTION]
        assert passed
        assert (passed["Action"], passed["Resource"]) == ("iam:PassRole", ROLE)
        assert passed["Condition"] == {
            "StringEquals": {"iam:PassedToService": "imagebuilder.amazonaws.com"}
        }


def test_without_a_configuration_no_role_may_distribute() -> None:
    made = resolve()
    for function in ("ReportBuild", "Sweep"):
        settings = ReportSettings.read(made.properties(function)["Environment"]["Variables"])
        assert settings.distribution() is None
        for sid in ("DistributeImage", "FindDistributions", "PassDistributionRole"):
            assert made.statement(f"{function}Role", sid) is None


@pytest.mark.parametrize("function", ["ReportBuild", "Sweep"])
def test_the_distributing_functions_know_the_number_of_attempts(function: str) -> None:
    variables = resolve(MaxConsecutiveFailures=3).properties(function)["Environment"]["Variables"]
    assert ReportSettings.read(variables).max_consecutive_failures == 3


def test_old_images_are_deleted_after_the_given_days_with_their_amis() -> None:
    made = resolve(ImageExpirationDays=90, ImagesToRetain=5)
    policy = made.properties("ImageLifecyclePolicy")
    assert policy["ResourceSelection"] == {"TagMap": {"isodrop:stack": "isodrop"}}
    assert policy["PolicyDetails"] == [
        {
            "Action": {"Type": "DELETE", "IncludeResources": {"Amis": True, "Snapshots": True}},
            "Filter": {"Type": "AGE", "Value": "90", "Unit": "DAYS", "RetainAtLeast": "5"},
        }
    ]
    (managed,) = made.properties("ImageLifecycleRole")["ManagedPolicyArns"]
    assert managed.endswith(":policy/service-role/EC2ImageBuilderLifecycleExecutionPolicy")


def test_without_days_no_image_is_deleted() -> None:
    made = resolve(ImagesToRetain=5)
    assert not made.of_type("AWS::ImageBuilder::LifecyclePolicy")
    assert "ImageLifecycleRole" not in made.resources


# How Image Builder builds


def test_an_existing_infrastructure_configuration_replaces_the_stacks() -> None:
    made = resolve(InfrastructureConfigurationArn=INFRASTRUCTURE)
    assert made.resources.keys() == resolve().resources.keys() - {
        *("InfrastructureConfiguration", "BuildInstanceProfile", "BuildInstanceRole")
    }
    assert made.outputs["InfrastructureConfiguration"] == INFRASTRUCTURE
    used = made.statement("ImportIsoRole", "UseInfrastructureConfiguration")
    assert used
    assert used["Resource"] == INFRASTRUCTURE


def test_an_existing_execution_role_is_used_and_only_it_may_be_passed() -> None:
    made = resolve(ExecutionRoleArn=ROLE)
    assert made.resources.keys() == resolve().resources.keys() - {"BuildExecutionRole"}
    passed = made.statement("ImportIsoRole", "PassExecutionRole")
    assert passed
    assert passed["Resource"] == ROLE


def test_the_importing_role_may_read_the_workflows_of_aws() -> None:
    # Two of AWS's pages ask for it, the newest does not.
    (statement,) = (
        each
        for policy in resolve().properties("ImportIsoRole")["Policies"]
        for each in policy["PolicyDocument"]["Statement"]
        if "imagebuilder:GetWorkflow" in listed(each["Action"])
    )
    assert statement["Resource"] == "arn:aws:imagebuilder:eu-central-1:aws:workflow/*"


AWS_S_OWN: dict[str, Any] = json.loads(aws_managed_policies_data)


def allows(statements: list[dict[str, Any]], action: str, resource: str) -> bool:
    """Whether any statement without conditions allows an action on a resource."""
    return any(
        statement["Effect"] == "Allow"
        and "Condition" not in statement
        and any(fnmatchcase(action, each) for each in listed(statement["Action"]))
        and any(fnmatchcase(resource, each) for each in listed(statement["Resource"]))
        for statement in statements
    )


def listed(said: str | list[str]) -> list[str]:
    return [said] if isinstance(said, str) else said


@pytest.mark.parametrize("group", ["", "/ours/builds"])
@pytest.mark.parametrize("name", ["BuildExecutionRole", "BuildInstanceRole"])
def test_builds_may_write_to_the_given_log_group(name: str, group: str) -> None:
    role = resolve(BuildLogGroupName=group).properties(name)
    statements = [
        statement
        for policy in role.get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    for arn in role["ManagedPolicyArns"]:
        statements += AWS_S_OWN[arn.rpartition("/")[2]]["Document"]["Statement"]
    where = f"arn:aws:logs:eu-central-1:123456789012:log-group:{group or '/aws/imagebuilder/x'}"
    for action in ("CreateLogGroup", "CreateLogStream", "PutLogEvents"):
        assert allows(statements, f"logs:{action}", f"{where}:log-stream:11.26100.1742/1")


def test_the_execution_role_may_distribute_to_other_regions_and_accounts() -> None:
    (arn,) = resolve().properties("BuildExecutionRole")["ManagedPolicyArns"]
    statements = AWS_S_OWN[arn.rpartition("/")[2]]["Document"]["Statement"]
    there = "arn:aws:iam::210987654321:role/EC2ImageBuilderDistributionCrossAccountRole"
    assert allows(statements, "ec2:CopyImage", "arn:aws:ec2:us-west-2::image/ami-1")
    assert allows(statements, "sts:AssumeRole", there)


def test_builds_run_in_the_given_subnet_or_in_the_default_network() -> None:
    groups = "sg-0123456789abcdef0,sg-0123456789abcdef1"
    made = resolve(**{**IN_A_SUBNET, "SecurityGroupIds": groups}).properties(
        "InfrastructureConfiguration"
    )
    assert made["SubnetId"] == "subnet-0123456789abcdef0"
    assert made["SecurityGroupIds"] == groups.split(",")
    assert {"SubnetId", "SecurityGroupIds"}.isdisjoint(
        resolve().properties("InfrastructureConfiguration")
    )


def test_the_build_s_instance_is_tagged_with_its_stack() -> None:
    made = resolve(**{"AWS::StackName": "ours"}).properties("InfrastructureConfiguration")
    assert made["ResourceTags"] == {"isodrop:stack": "ours"}


def test_builds_run_on_the_given_instance_types() -> None:
    made = resolve(InstanceTypes="m7i.large,m6i.large").properties("InfrastructureConfiguration")
    assert made["InstanceTypes"] == ["m7i.large", "m6i.large"]
    assert "InstanceTypes" not in resolve().properties("InfrastructureConfiguration")


# How long and how often, and who hears of it


@pytest.mark.parametrize(
    ("parameter", "value"), [("PollIntervalSeconds", 77), ("TrackingTimeoutHours", 19)]
)
def test_the_state_machine_uses_the_given_poll_interval(parameter: str, value: int) -> None:
    substitutes = resolve(**{parameter: value}).properties("ImportStateMachine")
    assert substitutes["DefinitionSubstitutions"][parameter] == str(value)
    assert str(definition(**{parameter: value})) != str(definition())


def test_only_the_given_event_bus_is_published_to() -> None:
    made = resolve(EventBusName="ours")
    told = made.statement("ReportBuildRole", "PublishEvents")
    assert told
    assert told["Resource"].endswith(":event-bus/ours")
    assert made.properties("ReportBuild")["Environment"]["Variables"]["EVENT_BUS"] == "ours"
    assert made.outputs["EventBus"] == "ours"


def test_on_request_the_stack_has_its_own_bus_and_two_publishers() -> None:
    made = resolve(CreateEventBus="true")
    (statement,) = [made.properties("EventBusPolicy")["Statement"]]
    assert made.properties("EventBus")["Name"] == "isodrop-events"
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert (statement["Action"], statement["Resource"]) == ("events:PutEvents", "EventBus.Arn")
    assert statement["Condition"] == {
        "ArnNotEquals": {"aws:PrincipalArn": ["ReportBuildRole.Arn", "SweepRole.Arn"]}
    }
    for role, function in (("ReportBuildRole", "ReportBuild"), ("SweepRole", "Sweep")):
        told = made.statement(role, "PublishEvents")
        assert told is not None
        assert told["Resource"] == "EventBus.Arn"
        assert made.properties(function)["Environment"]["Variables"]["EVENT_BUS"] == "EventBus"
    assert made.outputs["EventBus"] == "EventBus"


def test_by_default_the_stack_creates_no_bus() -> None:
    assert not {"EventBus", "EventBusPolicy"} & resolve().resources.keys()


@pytest.mark.parametrize("role", ["ReportBuildRole", "SweepRole"])
def test_publishers_may_publish_as_isodrop_only(role: str) -> None:
    told = resolve().statement(role, "PublishEvents")
    assert told is not None
    assert told["Condition"] == {
        "ForAllValues:StringEquals": {"events:source": "isodrop"},
        "Null": {"events:source": "false"},
    }


@pytest.mark.parametrize(
    ("wish", "protected"), [({}, "false"), ({"LedgerDeletionProtection": "true"}, "true")]
)
def test_the_ledger_is_protected_on_request(wish: dict[str, str], protected: str) -> None:
    assert resolve(**wish).properties("LedgerTable")["DeletionProtectionEnabled"] == protected


@pytest.mark.parametrize("function", ["ReportBuild", "Sweep"])
def test_with_a_retention_the_answering_roles_write_the_expiry(function: str) -> None:
    made = resolve(RunRetentionDays=365)
    assert made.properties(function)["Environment"]["Variables"]["RUN_RETENTION_DAYS"] == "365"
    assert made.properties("LedgerTable")["TimeToLiveSpecification"] == {
        "AttributeName": "expiresAt",
        "Enabled": True,
    }


def test_a_schema_registry_is_created_on_request_only() -> None:
    assert "EventSchemas" not in resolve().resources
    nested = resolve(RegisterSchemas="true").properties("EventSchemas")
    assert (
        source()["Resources"]["EventSchemas"]["Properties"]["TemplateURL"] == "events/registry.json"
    )
    assert nested["Parameters"] == {"RegistryName": "isodrop"}


# What the organisation asks for


def test_everything_stored_is_encrypted_with_the_given_key() -> None:
    made = resolve(KmsKeyArn=KEY)
    (bucket,) = made.properties("UploadBucket")["BucketEncryption"][
        "ServerSideEncryptionConfiguration"
    ]
    assert bucket["ServerSideEncryptionByDefault"]["KMSMasterKeyID"] == KEY
    assert bucket["BucketKeyEnabled"] is True
    for table in made.of_type("AWS::DynamoDB::Table").values():
        assert table["SSESpecification"]["KMSMasterKeyId"] == KEY
    for queue in made.of_type("AWS::SQS::Queue").values():
        assert (queue["KmsMasterKeyId"], "SqsManagedSseEnabled" in queue) == (KEY, False)
    for logs in made.of_type("AWS::Logs::LogGroup").values():
        assert logs["KmsKeyId"] == KEY


def test_only_roles_that_use_data_may_use_the_given_key() -> None:
    made, plain = resolve(KmsKeyArn=KEY), resolve()
    for role in ("ImportIsoRole", "ReportBuildRole", "SweepRole"):
        used = made.statement(role, "UseKmsKey")
        assert used
        assert used["Resource"] == KEY
    for role in ("BuildInstanceRole", "BuildExecutionRole"):
        assert made.properties(role) == plain.properties(role)  # copies are not under the key
    assert "kms:" not in str(plain.resources)


def test_every_role_has_the_given_boundary_and_path() -> None:
    made = resolve(PermissionsBoundaryArn=BOUNDARY, RolePath="/ours/")
    roles = made.of_type("AWS::IAM::Role")
    assert len(roles) >= 6
    for name, role in roles.items():
        assert (role.get("PermissionsBoundary"), role.get("Path")) == (BOUNDARY, "/ours/"), name
    for profile in made.of_type("AWS::IAM::InstanceProfile").values():
        assert profile["Path"] == "/ours/"
    for role in resolve().of_type("AWS::IAM::Role").values():
        assert (role["Path"], "PermissionsBoundary" in role) == ("/", False)


def test_every_log_group_has_the_given_retention() -> None:
    logs = resolve(LogRetentionDays=14).of_type("AWS::Logs::LogGroup")
    assert {each["RetentionInDays"] for each in logs.values()} == {"14"}


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_functions_and_layer_have_the_given_architecture(
    architecture: str,
) -> None:
    made = resolve(Architecture=architecture)
    for function in made.of_type("AWS::Lambda::Function").values():
        assert function["Architectures"] == [architecture]
    (layer,) = made.of_type("AWS::Lambda::LayerVersion").values()
    assert architecture in layer["CompatibleArchitectures"]


def test_the_layer_is_built_for_the_python_that_the_functions_run_on() -> None:
    made = resolve()
    makefile = (ROOT / "layers/isodrop/Makefile").read_text()
    runtimes = {each["Runtime"] for each in made.of_type("AWS::Lambda::Function").values()}
    (layer,) = made.of_type("AWS::Lambda::LayerVersion").values()
    built_for = re.search(r"^LAYER_PYTHON \?= (\S+)$", makefile, re.MULTILINE)
    assert built_for
    assert runtimes == {*layer["CompatibleRuntimes"]} == {f"python{built_for[1]}"}


# What excludes what


EXCLUSIONS = [
    (
        {"SubnetId": IN_A_SUBNET["SubnetId"]},
        "SubnetId requires at least one of SecurityGroupIds, in the same VPC.",
    ),
    (
        {"SecurityGroupIds": IN_A_SUBNET["SecurityGroupIds"]},
        "SecurityGroupIds require a SubnetId.",
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
    rules = source()["Rules"].values()
    sentences = {each["AssertDescription"] for rule in rules for each in rule["Assertions"]}
    assert sentences == {sentence for _, sentence in EXCLUSIONS}


# The parameters as such


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
    ("SupportedBuilds", "24H2"),
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
    ("ImportConcurrency", -1),
    ("SweepIntervalMinutes", 4),
    ("ImportedIsoExpirationDays", -1),
    ("LatestAcrossBuilds", "yes"),
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
    template = source()
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
