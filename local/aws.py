"""Clients of the emulator's AWS services. botocore comes with the emulator."""

from __future__ import annotations

import json
from typing import Any

import botocore.config
import botocore.session

from local.failure import Failure
from local.settings import Settings
from local.target import Target


class Cloud:
    """The emulator, as AWS."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._session = botocore.session.Session()
        self._session.set_credentials("test", "test")
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            # No invocation is sent twice: a Lambda function may take its time.
            options = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=900, s3={"addressing_style": "path"})
            self._clients[service] = self._session.create_client(service, region_name=self._target.region, endpoint_url=self._target.url, config=options)
        return self._clients[service]

    def all(self, service: str, operation: str, key: str, **parameters: Any) -> list[Any]:
        """All that a list has, over its pages."""
        client = self.client(service)
        if not client.can_paginate(operation):
            return list(getattr(client, operation)(**parameters).get(key, []))
        return [item for page in client.get_paginator(operation).paginate(**parameters) for item in page.get(key, [])]

    def stacks(self) -> dict[str, Any]:
        """The stacks that are there, by name."""
        return {s["StackName"]: s for s in self.all("cloudformation", "describe_stacks", "Stacks") if s["StackStatus"] != "DELETE_COMPLETE"}

    def outputs(self, stack: str) -> dict[str, str]:
        found = self.stacks().get(stack)
        if found is None:
            raise Failure(f"there is no stack {stack} in the local target: deploy it with `make local`")
        return {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])}

    def resources(self, stack: str) -> list[Any]:
        """The resources of a stack: their LogicalResourceId, PhysicalResourceId and ResourceType."""
        return self.all("cloudformation", "list_stack_resources", "StackResourceSummaries", StackName=stack)

    def resource(self, stack: str, kind: str, logical_prefix: str) -> str:
        """The physical id of the one resource of a stack that has a type and whose logical id begins so."""
        found = [r["PhysicalResourceId"] for r in self.resources(stack) if r["ResourceType"] == kind and r["LogicalResourceId"].startswith(logical_prefix)]
        if len(found) != 1:
            raise Failure(f"stack {stack} has {len(found)} resources of type {kind} whose logical id begins with {logical_prefix}, want one: deploy it with `make local`")
        return str(found[0])


def database(cloud: Cloud, settings: Settings) -> dict[str, Any]:
    """The secret of the database's user: host, port, username, password and dbname."""
    secret = cloud.resource(settings.stack("data"), "AWS::SecretsManager::Secret", "DatabaseCredentials")
    value: dict[str, Any] = json.loads(cloud.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])
    return value
