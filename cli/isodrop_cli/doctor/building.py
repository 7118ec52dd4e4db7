"""Where Image Builder builds: infrastructure configuration, instance profile, network, quota."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from isodrop_cli.doctor.context import CheckContext, Response
from isodrop_cli.doctor.policies import allows
from isodrop_cli.doctor.results import CheckResult, CheckSkippedError, NotFoundError, failed, passed
from isodrop_cli.doctor.roles import infrastructure_arn, instance_role

ENDPOINTS: Final = ("s3", "ec2", "logs", "ssm", "ssmmessages", "ec2messages")
"""What a subnet without a way to the internet needs for an import.

https://docs.aws.amazon.com/imagebuilder/latest/userguide/vpc-interface-endpoints.html
"""
_WAYS_OUT: Final = (
    *("NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "InstanceId"),
    *("VpcPeeringConnectionId", "CoreNetworkArn", "LocalGatewayId", "CarrierGatewayId"),
)
_EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
_QUOTA: Final = "concurrent"


def infrastructure(context: CheckContext) -> CheckResult:
    """Whether there is an infrastructure configuration, and what it names is there, too."""
    try:
        told = _infrastructure(context)
    except NotFoundError as error:
        return failed(str(error), "sam deploy with another InfrastructureConfigurationArn")
    return passed(f"builds run as {told['name']} says")


def instance_profile(context: CheckContext) -> CheckResult:
    """Whether a build's instance may do what it must."""
    return instance_role(context, _infrastructure(context)["instanceProfileName"])


def network(context: CheckContext) -> CheckResult:
    """Whether a build's instance reaches what it needs, as far as that can be seen."""
    told = _infrastructure(context)
    if not told.get("subnetId"):
        return default_vpc(context, _ec2(context, "DescribeVpcs", _where(isDefault="true"))["Vpcs"])
    subnet = _ec2(context, "DescribeSubnets", SubnetIds=[told["subnetId"]])["Subnets"][0]
    groups = _ec2(context, "DescribeSecurityGroups", GroupIds=list(told["securityGroupIds"]))
    if found := security_groups(context, groups["SecurityGroups"], subnet["VpcId"]):
        return found
    here = _where(**{"vpc-id": subnet["VpcId"]})
    endpoints = _ec2(context, "DescribeVpcEndpoints", here)["VpcEndpoints"]
    if found := closed_to_copies(context, endpoints):
        return found
    routes = default_routes(_ec2(context, "DescribeRouteTables", here)["RouteTables"], subnet)
    if routes:
        return way_out(context, routes[0], subnet)
    return reached(context, endpoints, subnet)


def closed_to_copies(
    context: CheckContext, endpoints: Iterable[Mapping[str, Any]]
) -> CheckResult | None:
    """Judge the policies of a VPC's endpoints of S3; ``None`` where builds may read the copies.

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
                f"the policy of the endpoint {name} does not let builds read the copies in"
                f" {bucket}",
                f"allow s3:GetObject on arn:{context.partition}:s3:::{bucket}/* there, or "
                + context.command(
                    *("ec2", "modify-vpc-endpoint", "--vpc-endpoint-id", name),
                    "--reset-policy",
                ),
            )
    return None


def default_vpc(context: CheckContext, vpcs: Iterable[Mapping[str, Any]]) -> CheckResult:
    """Judge where builds without a subnet run."""
    if any(each.get("IsDefault") for each in vpcs):
        return passed("builds run in the default VPC")
    return failed(
        "builds have no subnet, and this Region has no default VPC",
        "sam deploy with SubnetId and SecurityGroupIds, or "
        + context.command("ec2", "create-default-vpc"),
    )


def security_groups(
    context: CheckContext, groups: Iterable[Mapping[str, Any]], vpc: str
) -> CheckResult | None:
    """Judge the builds' security groups; ``None`` where they are well."""
    found = tuple(groups)
    for each in found:
        if each["VpcId"] != vpc:
            return failed(
                f"the security group {each['GroupId']} is of another VPC than the subnet",
                "sam deploy with SecurityGroupIds of the subnet's VPC",
            )
    if not any(each.get("IpPermissionsEgress") for each in found):
        named = ", ".join(each["GroupId"] for each in found)
        return failed(
            f"the security groups {named} let nothing out",
            context.command(
                *("ec2", "authorize-security-group-egress", "--group-id", found[0]["GroupId"]),
                *("--protocol", "tcp", "--port", "443", "--cidr", "0.0.0.0/0"),
            ),
        )
    return None


def default_routes(
    tables: Iterable[Mapping[str, Any]], subnet: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Find a subnet's default routes: of its own table, or of its VPC's main one.

    https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html
    """
    found = tuple(tables)
    own = [each for each in found if any(_is_of(a, subnet) for a in each.get("Associations", []))]
    main = [each for each in found if any(a.get("Main") for a in each.get("Associations", []))]
    return [
        route
        for table in (own or main)
        for route in table.get("Routes", [])
        if route.get("DestinationCidrBlock") in _EVERYWHERE and route.get("State") == "active"
    ]


def way_out(
    context: CheckContext, route: Mapping[str, Any], subnet: Mapping[str, Any]
) -> CheckResult:
    """Judge a default route: an internet gateway takes a public address, too."""
    by = next((str(route[each]) for each in _WAYS_OUT if route.get(each)), None)
    gateway = str(route.get("GatewayId", ""))
    name = subnet["SubnetId"]
    if by is None and gateway.startswith("igw-") and not subnet.get("MapPublicIpOnLaunch"):
        return failed(
            f"the subnet {name} leads to {gateway}, but gives its instances no public address",
            context.command(
                *("ec2", "modify-subnet-attribute", "--subnet-id", name),
                "--map-public-ip-on-launch",
            )
            + ", or take a subnet behind a NAT gateway",
        )
    return passed(f"the subnet {name} leads to the internet by {by or gateway}")


def reached(
    context: CheckContext, endpoints: Iterable[Mapping[str, Any]], subnet: Mapping[str, Any]
) -> CheckResult:
    """Judge the endpoints of a VPC whose subnet has no way to the internet."""
    prefix = f"com.amazonaws.{context.region}."
    there = {
        str(each["ServiceName"]).removeprefix(prefix)
        for each in endpoints
        if str(each.get("State", "available")).lower() == "available"
    }
    lacking = [each for each in ENDPOINTS if each not in there]
    name = subnet["SubnetId"]
    if not lacking:
        return passed(f"the subnet {name} reaches what a build needs by endpoints")
    return failed(
        f"the subnet {name} has no way to the internet, and its VPC no endpoints for"
        f" {', '.join(lacking)}",
        "a route to a NAT gateway, or an endpoint for each of them: "
        + context.command(
            *("ec2", "create-vpc-endpoint", "--vpc-id", subnet["VpcId"]),
            *("--service-name", f"{prefix}{lacking[0]}"),
        )
        + " …",
    )


def distribution(context: CheckContext) -> CheckResult:
    """Whether there is the distribution configuration that images go by, if they do."""
    arn = context.parameter("DistributionConfigurationArn")
    if not arn:
        return passed("images are not distributed: there is no DistributionConfigurationArn")
    try:
        told = context.call(
            "imagebuilder", "GetDistributionConfiguration", distributionConfigurationArn=arn
        )["distributionConfiguration"]
    except NotFoundError as error:
        return failed(str(error), "sam deploy with another DistributionConfigurationArn, or none")
    regions = sorted({each["region"] for each in told.get("distributions", [])})
    return passed(f"images go to {', '.join(regions)} as {told['name']} says")


def quota(context: CheckContext) -> CheckResult:
    """How many builds may run at once; isodrop waits where there are more."""
    asked: dict[str, Any] = {"ServiceCode": "imagebuilder", "MaxResults": 100}
    while True:
        page = context.call("service-quotas", "ListServiceQuotas", **asked)
        found = concurrent_builds(page["Quotas"])
        if found is not None:
            break
        if not page.get("NextToken"):
            raise CheckSkippedError("Service Quotas names no quota of concurrent builds")
        asked["NextToken"] = page["NextToken"]
    count = int(found["Value"])
    if count >= 1:
        return passed(f"{count} builds may run at once in this Region; more wait")
    return failed(
        "the quota of concurrent builds is 0",
        context.command(
            *("service-quotas", "request-service-quota-increase", "--service-code"),
            *("imagebuilder", "--quota-code", str(found["QuotaCode"]), "--desired-value", "10"),
        ),
    )


def concurrent_builds(quotas: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Find the quota of builds at once by its name: its code is documented nowhere."""
    for each in quotas:
        name = str(each.get("QuotaName", "")).lower()
        if _QUOTA in name and ("build" in name or "image" in name):
            return each
    return None


def _infrastructure(context: CheckContext) -> Response:
    arn = infrastructure_arn(context)
    found: Response = context.call(
        "imagebuilder", "GetInfrastructureConfiguration", infrastructureConfigurationArn=arn
    )["infrastructureConfiguration"]
    return found


def _ec2(context: CheckContext, operation: str, *filters: Any, **asked: Any) -> Response:
    try:
        return context.call(
            "ec2", operation, **asked, **({"Filters": filters[0]} if filters else {})
        )
    except NotFoundError as error:
        raise NotFoundError(
            f"{error}; sam deploy with another SubnetId or SecurityGroupIds"
        ) from error


def _where(**wanted: str) -> list[dict[str, Any]]:
    return [
        {"Name": {"isDefault": "is-default"}.get(name, name), "Values": [value]}
        for name, value in wanted.items()
    ]


def _is_of(association: Mapping[str, Any], subnet: Mapping[str, Any]) -> bool:
    return bool(association.get("SubnetId") == subnet["SubnetId"])
