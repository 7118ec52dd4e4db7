"""Checks of the build environment: infrastructure, instance profile, network, quota."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from isodrop_cli.doctor.context import CheckContext, Response
from isodrop_cli.doctor.policies import allows
from isodrop_cli.doctor.results import CheckResult, CheckSkippedError, NotFoundError, failed, passed
from isodrop_cli.doctor.roles import infrastructure_arn, instance_role

ENDPOINTS: Final = ("s3", "ec2", "logs", "ssm", "ssmmessages", "ec2messages")
"""The VPC endpoints that an import needs in a subnet without internet access.

https://docs.aws.amazon.com/imagebuilder/latest/userguide/vpc-interface-endpoints.html
"""
_ROUTE_TARGETS: Final = (
    *("NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "InstanceId"),
    *("VpcPeeringConnectionId", "CoreNetworkArn", "LocalGatewayId", "CarrierGatewayId"),
)
_EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
_QUOTA_NAME_PART: Final = "concurrent"


def infrastructure(context: CheckContext) -> CheckResult:
    """Check that the infrastructure configuration exists."""
    try:
        response = _infrastructure(context)
    except NotFoundError as error:
        return failed(str(error), "deploy with another InfrastructureConfigurationArn")
    return passed(f"builds use the infrastructure configuration {response['name']}")


def instance_profile(context: CheckContext) -> CheckResult:
    """Check the permissions of the build instance."""
    return instance_role(context, _infrastructure(context)["instanceProfileName"])


def network(context: CheckContext) -> CheckResult:
    """Check that the build instance can reach the services that it needs."""
    response = _infrastructure(context)
    if not response.get("subnetId"):
        return check_default_vpc(
            context, _ec2(context, "DescribeVpcs", _filters(isDefault="true"))["Vpcs"]
        )
    subnet = _ec2(context, "DescribeSubnets", SubnetIds=[response["subnetId"]])["Subnets"][0]
    groups = _ec2(context, "DescribeSecurityGroups", GroupIds=list(response["securityGroupIds"]))
    if found := check_security_groups(context, groups["SecurityGroups"], subnet["VpcId"]):
        return found
    in_vpc = _filters(**{"vpc-id": subnet["VpcId"]})
    endpoints = _ec2(context, "DescribeVpcEndpoints", in_vpc)["VpcEndpoints"]
    if found := check_s3_endpoints(context, endpoints):
        return found
    routes = default_routes(_ec2(context, "DescribeRouteTables", in_vpc)["RouteTables"], subnet)
    if routes:
        return check_default_route(context, routes[0], subnet)
    return check_endpoints(context, endpoints, subnet)


def check_s3_endpoints(
    context: CheckContext, endpoints: Iterable[Mapping[str, Any]]
) -> CheckResult | None:
    """Check the policies of a VPC's S3 endpoints; ``None`` if builds can read the staging bucket.

    https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html
    """
    bucket = context.output("StagingBucketName")
    copy = f"arn:{context.partition}:s3:::{bucket}/copy.iso"
    for each in endpoints:
        if not str(each["ServiceName"]).endswith(".s3"):
            continue
        if not allows(each.get("PolicyDocument"), "s3:GetObject", copy):
            name = str(each["VpcEndpointId"])
            return failed(
                f"the policy of the VPC endpoint {name} does not allow builds to read the copies"
                f" in {bucket}",
                f"allow s3:GetObject on arn:{context.partition}:s3:::{bucket}/* in it, or "
                + context.command(
                    *("ec2", "modify-vpc-endpoint", "--vpc-endpoint-id", name),
                    "--reset-policy",
                ),
            )
    return None


def check_default_vpc(context: CheckContext, vpcs: Iterable[Mapping[str, Any]]) -> CheckResult:
    """Check that there is a default VPC for builds without a subnet."""
    if any(each.get("IsDefault") for each in vpcs):
        return passed("builds run in the default VPC")
    return failed(
        "no subnet is set for builds, and this Region has no default VPC",
        "deploy with SubnetId and SecurityGroupIds, or "
        + context.command("ec2", "create-default-vpc"),
    )


def check_security_groups(
    context: CheckContext, groups: Iterable[Mapping[str, Any]], vpc: str
) -> CheckResult | None:
    """Check the security groups of builds; ``None`` if they have no problem."""
    found = tuple(groups)
    for each in found:
        if each["VpcId"] != vpc:
            return failed(
                f"the security group {each['GroupId']} is not in the subnet's VPC",
                "deploy with SecurityGroupIds of the subnet's VPC",
            )
    if not any(each.get("IpPermissionsEgress") for each in found):
        named = ", ".join(each["GroupId"] for each in found)
        return failed(
            f"the security groups {named} allow no outbound traffic",
            context.command(
                *("ec2", "authorize-security-group-egress", "--group-id", found[0]["GroupId"]),
                *("--protocol", "tcp", "--port", "443", "--cidr", "0.0.0.0/0"),
            ),
        )
    return None


def default_routes(
    tables: Iterable[Mapping[str, Any]], subnet: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Find a subnet's default routes: in its own route table, or in its VPC's main one.

    https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html
    """
    found = tuple(tables)
    own = [
        each
        for each in found
        if any(_is_associated(a, subnet) for a in each.get("Associations", []))
    ]
    main = [each for each in found if any(a.get("Main") for a in each.get("Associations", []))]
    return [
        route
        for table in (own or main)
        for route in table.get("Routes", [])
        if route.get("DestinationCidrBlock") in _EVERYWHERE and route.get("State") == "active"
    ]


def check_default_route(
    context: CheckContext, route: Mapping[str, Any], subnet: Mapping[str, Any]
) -> CheckResult:
    """Check a default route: an internet gateway requires a public IP address, too."""
    target = next((str(route[each]) for each in _ROUTE_TARGETS if route.get(each)), None)
    gateway = str(route.get("GatewayId", ""))
    name = subnet["SubnetId"]
    if target is None and gateway.startswith("igw-") and not subnet.get("MapPublicIpOnLaunch"):
        return failed(
            f"the subnet {name} routes to {gateway}, but assigns no public IP addresses",
            context.command(
                *("ec2", "modify-subnet-attribute", "--subnet-id", name),
                "--map-public-ip-on-launch",
            )
            + ", or use a subnet behind a NAT gateway",
        )
    return passed(f"the subnet {name} routes to the internet through {target or gateway}")


def check_endpoints(
    context: CheckContext, endpoints: Iterable[Mapping[str, Any]], subnet: Mapping[str, Any]
) -> CheckResult:
    """Check the endpoints of a VPC whose subnet has no internet access."""
    prefix = f"com.amazonaws.{context.region}."
    available = {
        str(each["ServiceName"]).removeprefix(prefix)
        for each in endpoints
        if str(each.get("State", "available")).lower() == "available"
    }
    missing = [each for each in ENDPOINTS if each not in available]
    name = subnet["SubnetId"]
    if not missing:
        return passed(f"the subnet {name} reaches the required services through VPC endpoints")
    return failed(
        f"the subnet {name} has no internet access, and its VPC has no endpoints for"
        f" {', '.join(missing)}",
        "add a route to a NAT gateway, or an endpoint for each of them: "
        + context.command(
            *("ec2", "create-vpc-endpoint", "--vpc-id", subnet["VpcId"]),
            *("--service-name", f"{prefix}{missing[0]}"),
        )
        + " …",
    )


def distribution(context: CheckContext) -> CheckResult:
    """Check that the distribution configuration exists, if one is set."""
    arn = context.parameter("DistributionConfigurationArn")
    if not arn:
        return passed("images are not distributed: DistributionConfigurationArn is not set")
    try:
        response = context.call(
            "imagebuilder", "GetDistributionConfiguration", distributionConfigurationArn=arn
        )["distributionConfiguration"]
    except NotFoundError as error:
        return failed(str(error), "deploy with another DistributionConfigurationArn, or none")
    regions = sorted({each["region"] for each in response.get("distributions", [])})
    return passed(f"images are distributed to {', '.join(regions)} by {response['name']}")


def quota(context: CheckContext) -> CheckResult:
    """Check the quota for concurrent builds; imports beyond it wait."""
    request: dict[str, Any] = {"ServiceCode": "imagebuilder", "MaxResults": 100}
    while True:
        page = context.call("service-quotas", "ListServiceQuotas", **request)
        found = concurrent_builds(page["Quotas"])
        if found is not None:
            break
        if not page.get("NextToken"):
            raise CheckSkippedError("Service Quotas lists no quota for concurrent builds")
        request["NextToken"] = page["NextToken"]
    count = int(found["Value"])
    if count >= 1:
        return passed(
            f"the quota allows {count} concurrent builds in this Region; further builds wait"
        )
    return failed(
        "the quota for concurrent builds is 0",
        context.command(
            *("service-quotas", "request-service-quota-increase", "--service-code"),
            *("imagebuilder", "--quota-code", str(found["QuotaCode"]), "--desired-value", "10"),
        ),
    )


def concurrent_builds(quotas: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Find the quota for concurrent builds by its name: its code is not documented."""
    for each in quotas:
        name = str(each.get("QuotaName", "")).lower()
        if _QUOTA_NAME_PART in name and ("build" in name or "image" in name):
            return each
    return None


def _infrastructure(context: CheckContext) -> Response:
    arn = infrastructure_arn(context)
    found: Response = context.call(
        "imagebuilder", "GetInfrastructureConfiguration", infrastructureConfigurationArn=arn
    )["infrastructureConfiguration"]
    return found


def _ec2(context: CheckContext, operation: str, *filters: Any, **request: Any) -> Response:
    try:
        return context.call(
            "ec2", operation, **request, **({"Filters": filters[0]} if filters else {})
        )
    except NotFoundError as error:
        raise NotFoundError(f"{error}; deploy with another SubnetId or SecurityGroupIds") from error


def _filters(**wanted: str) -> list[dict[str, Any]]:
    return [
        {"Name": {"isDefault": "is-default"}.get(name, name), "Values": [value]}
        for name, value in wanted.items()
    ]


def _is_associated(association: Mapping[str, Any], subnet: Mapping[str, Any]) -> bool:
    return bool(association.get("SubnetId") == subnet["SubnetId"])
