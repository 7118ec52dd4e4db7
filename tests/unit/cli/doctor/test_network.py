"""The checks of the network of builds."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from isodrop_cli.doctor import CheckContext
from isodrop_cli.doctor.results import Level
from tests.support.doctor_responses import HEALTHY, REGION, context, refusal, run_check

NAT = {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1", "State": "active"}
IGW = {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1", "State": "active"}
LOCAL = {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "State": "active"}


def in_a_subnet(
    route: Mapping[str, Any], *endpoints: str, public: bool = False, **changes: Any
) -> CheckContext:
    """A stack whose builds run in a subnet with its own route table."""
    configured = {
        **HEALTHY["GetInfrastructureConfiguration"]["infrastructureConfiguration"],
        "subnetId": "subnet-1",
        "securityGroupIds": ["sg-1"],
    }
    subnet = {"SubnetId": "subnet-1", "VpcId": "vpc-1", "MapPublicIpOnLaunch": public}
    group = {"GroupId": "sg-1", "VpcId": "vpc-1", "IpPermissionsEgress": [{"IpProtocol": "-1"}]}
    tables = [
        {"Associations": [{"Main": True}], "Routes": [LOCAL, IGW]},
        {"Associations": [{"SubnetId": "subnet-1"}], "Routes": [LOCAL, route]},
    ]
    there = [
        {"ServiceName": f"com.amazonaws.{REGION}.{each}", "State": "available"}
        for each in endpoints
    ]
    answers = {
        "GetInfrastructureConfiguration": {"infrastructureConfiguration": configured},
        "DescribeSubnets": {"Subnets": [subnet]},
        "DescribeSecurityGroups": {"SecurityGroups": [group]},
        "DescribeRouteTables": {"RouteTables": tables},
        "DescribeVpcEndpoints": {"VpcEndpoints": there},
    }
    return context(**answers | changes)


ALL = ("s3", "ec2", "logs", "ssm", "ssmmessages", "ec2messages")


def an_s3_endpoint(*statements: Mapping[str, Any]) -> dict[str, Any]:
    policy = json.dumps({"Statement": list(statements)})
    service = f"com.amazonaws.{REGION}.s3"
    endpoint = {"VpcEndpointId": "vpce-1", "ServiceName": service, "PolicyDocument": policy}
    return {"VpcEndpoints": [endpoint]}


COPIES = "arn:aws:s3:::the-copies/*"
READ_ALL = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}


@pytest.mark.parametrize(
    ("statements", "level"),
    [
        ([READ_ALL], Level.OK),
        ([{**READ_ALL, "Action": ["s3:Get*"], "Resource": [COPIES]}], Level.OK),
        ([{**READ_ALL, "Resource": "arn:aws:s3:::others/*"}], Level.ERROR),
        ([{**READ_ALL, "Action": "s3:PutObject"}], Level.ERROR),
        ([READ_ALL, {**READ_ALL, "Effect": "Deny", "Resource": COPIES}], Level.ERROR),
        ([READ_ALL, {**READ_ALL, "Effect": "Deny", "NotResource": COPIES}], Level.OK),
        ([READ_ALL, {**READ_ALL, "Effect": "Deny", "Condition": {"Bool": {}}}], Level.OK),
    ],
)
def test_the_policy_of_an_s3_endpoint_must_allow_builds_the_copies(
    statements: list[Mapping[str, Any]], level: Level
) -> None:
    result = run_check(
        "network", in_a_subnet(NAT, DescribeVpcEndpoints=an_s3_endpoint(*statements))
    )
    assert result.level is level
    if level is Level.ERROR:
        assert "vpce-1 does not allow builds to read the copies in the-copies" in result.message
        assert "--reset-policy" in str(result.remedy)


@pytest.mark.parametrize(
    ("at", "level", "words"),
    [
        (in_a_subnet(NAT), Level.OK, "routes to the internet through nat-1"),
        (in_a_subnet(IGW, public=True), Level.OK, "routes to the internet through igw-1"),
        (in_a_subnet(IGW), Level.ERROR, "assigns no public IP addresses"),
        (in_a_subnet({**NAT, "State": "blackhole"}), Level.ERROR, "has no internet access"),
        (in_a_subnet(LOCAL, *ALL), Level.OK, "through VPC endpoints"),
        (in_a_subnet(LOCAL, *ALL[:-2]), Level.ERROR, "no endpoints for ssmmessages, ec2messages"),
        (
            in_a_subnet(NAT, DescribeSubnets=refusal("InvalidSubnetID.NotFound")),
            Level.ERROR,
            "there is no ['subnet-1']",
        ),
        (context(DescribeVpcs={"Vpcs": []}), Level.ERROR, "this Region has no default VPC"),
    ],
)
def test_the_route_of_builds_to_the_internet_is_checked(
    at: CheckContext, level: Level, words: str
) -> None:
    result = run_check("network", at)
    assert result.level is level
    assert words in result.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"VpcId": "vpc-2"}, "not in the subnet's VPC"),
        ({"IpPermissionsEgress": []}, "allow no outbound traffic"),
    ],
)
def test_security_groups_that_do_not_fit_are_an_error(changes: Any, words: str) -> None:
    group = {"GroupId": "sg-1", "VpcId": "vpc-1", "IpPermissionsEgress": [{}], **changes}
    at = in_a_subnet(NAT, DescribeSecurityGroups={"SecurityGroups": [group]})
    result = run_check("network", at)
    assert result.level is Level.ERROR
    assert words in result.message
