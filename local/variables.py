"""The variables of the application's container, for a program or an image that is run beside the local target."""

from __future__ import annotations

import json
import os
from pathlib import Path

from local.aws import Cloud
from local.settings import Settings
from local.target import ROOT, STATE, Target


def write(target: Target, cloud: Cloud, settings: Settings) -> Path:
    """Writes what a task is given to a file that only its owner reads, in the form of `podman run --env-file`."""
    outputs = cloud.outputs(settings.stack("service"))
    ecs = cloud.client("ecs")
    service = ecs.describe_services(cluster=outputs["ClusterName"], services=[outputs["ServiceName"]])["services"][0]
    [container] = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]["containerDefinitions"]
    variables = {v["name"]: v["value"] for v in container.get("environment", [])}
    for secret in container.get("secrets", []):
        # arn:aws:secretsmanager:<region>:<account>:secret:<name>, and :<json key>:: if it is a part of it
        parts = secret["valueFrom"].split(":")
        value = cloud.client("secretsmanager").get_secret_value(SecretId=":".join(parts[:7]))["SecretString"]
        variables[secret["name"]] = json.loads(value)[parts[7]] if len(parts) > 7 and parts[7] else value
    variables |= {"AWS_ENDPOINT_URL": target.url, "AWS_REGION": target.region, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    path = STATE / "application.env"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in sorted(variables.items()))
    return path.relative_to(ROOT)
