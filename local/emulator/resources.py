"""CloudFormation's resource types that ministack lacks or gets wrong, and what each type is here."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Literal

from ministack.core.responses import get_account_id, get_region
from ministack.services import ec2, ecr, iam, s3, secretsmanager
from ministack.services.cloudformation import provisioners

from .settings import Settings

Kind = Literal["real", "stored", "declared"]
Props = dict[str, Any]

HANDLERS = provisioners._RESOURCE_HANDLERS

# real: it does here what it does in AWS, as far as this project uses it. stored: its record is kept and can be read and changed
# through AWS's API, and nothing acts on it. declared: CloudFormation accepts it, nothing else knows of it.
KINDS: dict[str, Kind] = {
    "AWS::CodeBuild::Project": "stored",
    "AWS::CodeConnections::Connection": "declared",
    "AWS::CodePipeline::Pipeline": "declared",
    "AWS::EC2::EIP": "stored",
    "AWS::EC2::InternetGateway": "stored",
    "AWS::EC2::NatGateway": "stored",
    "AWS::EC2::Route": "stored",
    "AWS::EC2::RouteTable": "stored",
    "AWS::EC2::SecurityGroup": "stored",
    "AWS::EC2::SecurityGroupEgress": "stored",
    "AWS::EC2::SecurityGroupIngress": "stored",
    "AWS::EC2::Subnet": "stored",
    "AWS::EC2::SubnetRouteTableAssociation": "stored",
    "AWS::EC2::VPC": "stored",
    "AWS::EC2::VPCEndpoint": "stored",
    "AWS::EC2::VPCGatewayAttachment": "stored",
    "AWS::ECR::Repository": "real",
    "AWS::ECS::Cluster": "real",
    "AWS::ECS::Service": "real",
    "AWS::ECS::TaskDefinition": "real",
    "AWS::ElasticLoadBalancingV2::Listener": "real",
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "real",
    "AWS::ElasticLoadBalancingV2::TargetGroup": "real",
    "AWS::Events::Rule": "real",
    "AWS::IAM::Policy": "stored",
    "AWS::IAM::Role": "stored",
    "AWS::IAM::RolePolicy": "stored",
    "AWS::Lambda::Function": "real",
    "AWS::Lambda::Permission": "stored",
    "AWS::Logs::LogGroup": "real",
    "AWS::RDS::DBInstance": "real",
    "AWS::RDS::DBParameterGroup": "stored",
    "AWS::RDS::DBSubnetGroup": "stored",
    "AWS::S3::Bucket": "real",
    "AWS::S3::BucketPolicy": "stored",
    "AWS::SecretsManager::Secret": "real",
    "AWS::SecretsManager::SecretTargetAttachment": "real",
    "AWS::StepFunctions::StateMachine": "real",
    "Custom::S3AutoDeleteObjects": "real",
    "Custom::SchemaInit": "real",
    "Custom::SeedImage": "real",
    "Custom::VpcRestrictDefaultSG": "real",
}


def install(settings: Settings) -> None:
    _missing()
    _vpc_attributes()
    _buckets()
    _secrets()
    _registry_address(settings)


def _missing() -> None:
    _register("AWS::EC2::EIP", _create_address, _delete_address)
    _register("AWS::EC2::NatGateway", _create_nat_gateway, lambda gateway, _: ec2._nat_gateways.pop(gateway, None))
    _register("AWS::EC2::SecurityGroupIngress", *_security_group_rule("IpPermissions"))
    _register("AWS::EC2::SecurityGroupEgress", *_security_group_rule("IpPermissionsEgress"))
    _register("AWS::IAM::RolePolicy", _put_role_policy, _delete_role_policy)
    _register("AWS::CodeConnections::Connection", _create_connection, lambda *_: None)
    _register("AWS::CodePipeline::Pipeline", lambda logical_id, props, stack: (props.get("Name") or f"{stack}-{logical_id}", {"Version": "1"}), lambda *_: None)


Create = Callable[[str, Props, str], tuple[str, Props]]


def _register(kind: str, create: Create, delete: Callable[[str, Props], object]) -> None:
    """Registers a type whose updates are made by deleting and creating its record under the same name, if it has one."""
    attributes: dict[str, Props] = {}

    def created(logical_id: str, props: Props, stack: str) -> tuple[str, Props]:
        identifier, attributes_ = create(logical_id, props, stack)
        attributes[identifier] = attributes_
        return identifier, attributes_

    def updated(identifier: str, old: Props, new: Props, stack: str, *_: object) -> tuple[str, Props]:
        if old == new:
            return identifier, attributes.get(identifier, {})
        delete(identifier, old)
        return created(identifier, new, stack)

    HANDLERS[kind] = {"create": created, "update": updated, "delete": delete}


def _name(prefix: str) -> str:
    return prefix + uuid.uuid4().hex[:17]


def _create_address(logical_id: str, props: Props, stack: str) -> tuple[str, Props]:
    allocation, address = _name("eipalloc-"), f"192.0.2.{1 + len(ec2._addresses)}"  # of the block for documentation
    ec2._addresses[allocation] = {
        "AllocationId": allocation, "PublicIp": address, "Domain": "vpc", "AssociationId": None, "InstanceId": None, "NetworkInterfaceId": None, "PrivateIpAddress": None,
    }
    return address, {"AllocationId": allocation, "PublicIp": address}


def _delete_address(address: str, props: Props) -> None:
    for allocation, record in list(ec2._addresses.items()):
        if record["PublicIp"] == address:
            del ec2._addresses[allocation]


def _create_nat_gateway(logical_id: str, props: Props, stack: str) -> tuple[str, Props]:
    gateway = _name("nat-")
    ec2._nat_gateways[gateway] = {
        "NatGatewayId": gateway, "SubnetId": props["SubnetId"], "VpcId": (ec2._subnets.get(props["SubnetId"]) or {}).get("VpcId", ""), "State": "available",
        "AllocationId": props.get("AllocationId"), "ConnectivityType": "public", "CreateTime": ec2._now_ts(), "Tags": [],
    }
    return gateway, {"NatGatewayId": gateway}


def _security_group_rule(permissions: str) -> tuple[Create, Callable[[str, Props], None]]:
    def permission(props: Props) -> Any:
        rule = {key: value for key, value in props.items() if key != "GroupId"}
        if "DestinationSecurityGroupId" in rule:
            rule["SourceSecurityGroupId"] = rule.pop("DestinationSecurityGroupId")
        return provisioners._ec2_sg_permissions([rule])[0]

    def create(logical_id: str, props: Props, stack: str) -> tuple[str, Props]:
        if (group := ec2._security_groups.get(props["GroupId"])) is None:
            raise ValueError(f"The security group '{props['GroupId']}' does not exist")
        group[permissions].append(permission(props))
        rule = _name("sgr-")
        return rule, {"Id": rule}

    def delete(rule: str, props: Props) -> None:
        group = ec2._security_groups.get(props.get("GroupId", ""))
        if group and permission(props) in group[permissions]:
            group[permissions].remove(permission(props))

    return create, delete


def _put_role_policy(logical_id: str, props: Props, stack: str) -> tuple[str, Props]:
    role = iam._roles.get(props["RoleName"])
    if role is None:
        raise ValueError(f"The role with name {props['RoleName']} cannot be found.")
    role.setdefault("InlinePolicies", {})[props["PolicyName"]] = props.get("PolicyDocument", {})
    return f"{props['PolicyName']}|{props['RoleName']}", {}


def _delete_role_policy(identifier: str, props: Props) -> None:
    if role := iam._roles.get(props["RoleName"]):
        role.get("InlinePolicies", {}).pop(props["PolicyName"], None)


def _create_connection(logical_id: str, props: Props, stack: str) -> tuple[str, Props]:
    arn = f"arn:aws:codeconnections:{get_region()}:{get_account_id()}:connection/{uuid.uuid4()}"
    return arn, {"ConnectionArn": arn, "ConnectionStatus": "PENDING", "OwnerAccountId": get_account_id()}


def _vpc_attributes() -> None:
    # Fn::GetAtt VPC.CidrBlock, which closing the default security group asks for, is missing.
    handlers = HANDLERS["AWS::EC2::VPC"]
    for operation in ("create", "update"):
        original = handlers[operation]

        def with_attributes(*args: Any, original: Callable[..., Any] = original) -> Any:
            identifier, attributes = original(*args)
            vpc = ec2._vpcs.get(identifier) or {}
            return identifier, {**attributes, "CidrBlock": vpc.get("CidrBlock"), "CidrBlockAssociations": []}

        handlers[operation] = with_attributes


def _buckets() -> None:
    # Tags are dropped, so that the function which empties a bucket finds none and refuses; a bucket with objects can be deleted.
    handlers = HANDLERS["AWS::S3::Bucket"]
    create, update, delete = handlers["create"], handlers["update"], handlers["delete"]

    def tag(bucket: str, props: Props) -> None:
        s3._bucket_tags.pop(bucket, None)
        if props.get("Tags"):
            s3._bucket_tags[bucket] = {t["Key"]: t["Value"] for t in props["Tags"]}

    def created(logical_id: str, props: Props, *rest: Any) -> Any:
        bucket, attributes = create(logical_id, props, *rest)
        tag(bucket, props)
        return bucket, attributes

    def updated(bucket: str, old: Props, new: Props, *rest: Any) -> Any:
        result = update(bucket, old, new, *rest)
        tag(result[0], new)
        return result

    def deleted(bucket: str, props: Props) -> None:
        record = s3._buckets.get(bucket)
        if record and (record.get("objects") or any(key[0] == bucket and versions for key, versions in s3._object_versions.items())):
            raise ValueError("The bucket you tried to delete is not empty")
        delete(bucket, props)

    handlers["create"], handlers["update"], handlers["delete"] = created, updated, deleted


def _secrets() -> None:
    # Ref is the secret's name; in AWS it is the ARN, which is what a container's secret needs.
    handlers = HANDLERS["AWS::SecretsManager::Secret"]
    create, update, delete = handlers["create"], handlers["update"], handlers["delete"]

    def name(arn: str) -> str:
        return next((name for name, secret in secretsmanager._secrets.items() if secret["ARN"] == arn), arn)

    def created(*args: Any) -> Any:
        _, attributes = create(*args)
        return attributes["Arn"], attributes

    def updated(arn: str, *rest: Any) -> Any:
        current, attributes = update(name(arn), *rest)
        return secretsmanager._secrets[current]["ARN"], attributes

    handlers["create"], handlers["update"], handlers["delete"] = created, updated, lambda arn, props: delete(name(arn), props)


def _registry_address(settings: Settings) -> None:
    # The address is that of AWS, over https.
    original = ecr._get_authorization_token

    def here(data: Props) -> Any:
        status, headers, body = original(data)
        host = f"https://{get_account_id()}.dkr.ecr.{get_region()}.amazonaws.com"
        return status, headers, body.replace(host.encode(), settings.url.encode())

    ecr._get_authorization_token = here
