"""What is left in the emulator after everything was destroyed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from local.aws import Cloud

# What `cdk bootstrap` made. It stays, as in an account.
TOOLKIT = "CDKToolkit"


def leftovers(cloud: Cloud, inventory: dict[str, Any]) -> list[str]:
    """Names all that is left, but for what belongs to the bootstrap stack."""
    kept = {r.get("PhysicalResourceId") for r in cloud.resources(TOOLKIT)} if TOOLKIT in cloud.stacks() else set()
    return sorted(f"{kind} {name}" for kind, name in _everything(cloud, inventory) if name not in kept)


def _everything(cloud: Cloud, inventory: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, stack in cloud.stacks().items():
        if name != TOOLKIT:
            yield "stack", f"{name} ({stack['StackStatus']})"
    for bucket in cloud.client("s3").list_buckets()["Buckets"]:
        yield "bucket", bucket["Name"]
    for repository in cloud.all("ecr", "describe_repositories", "repositories"):
        name = repository["repositoryName"]
        yield "repository", name
        for image in cloud.all("ecr", "list_images", "imageIds", repositoryName=name):
            yield "image", f"{name}@{image['imageDigest']}"
    for function in cloud.all("lambda", "list_functions", "Functions"):
        yield "function", function["FunctionName"]
    for group in cloud.all("logs", "describe_log_groups", "logGroups"):
        yield "log group", group["logGroupName"]
    for secret in cloud.all("secretsmanager", "list_secrets", "SecretList"):
        yield "secret", secret["Name"]
    for database in cloud.all("rds", "describe_db_instances", "DBInstances"):
        yield "database", database["DBInstanceIdentifier"]
    for snapshot in cloud.all("rds", "describe_db_snapshots", "DBSnapshots"):
        yield "database snapshot", snapshot["DBSnapshotIdentifier"]
    for arn in cloud.all("ecs", "list_clusters", "clusterArns"):
        yield "cluster", arn
    for balancer in cloud.all("elbv2", "describe_load_balancers", "LoadBalancers"):
        yield "load balancer", balancer["LoadBalancerName"]
    for vpc in cloud.all("ec2", "describe_vpcs", "Vpcs"):
        if not vpc.get("IsDefault"):
            yield "VPC", vpc["VpcId"]
    for address in cloud.client("ec2").describe_addresses()["Addresses"]:
        yield "elastic IP address", address["PublicIp"]
    for container in inventory.get("containers", []):
        yield "container", f"{container['name']} of task {container['task']} (process {container['pid']})"
