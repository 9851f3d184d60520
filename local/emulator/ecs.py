"""ECS: tasks that are processes, health checks, and CloudFormation waiting for a service.

Private names of ministack 1.5.33 are replaced here; local/tests/test_needs.py says which of its faults are still there.
"""

from __future__ import annotations

import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ministack.services import alb, ecs
from ministack.services.cloudformation import provisioners, stacks

from . import databases, deployments
from .containers import STOP_TIMEOUT, Client, Container
from .images import NotFound
from .settings import Settings

log = logging.getLogger("local")

HANDLERS = provisioners._RESOURCE_HANDLERS

# How long CloudFormation waits for a service here; in AWS it is three hours.
SERVICE_TIMEOUT = 600

Task = dict[str, Any]


def install(settings: Settings) -> None:
    client = Client(settings)
    ecs._docker = client
    _task_definitions()
    _containers(settings, client)
    _health_checks()
    _services()
    deployments.install()


def _task_definitions() -> None:
    # These lists stay as CloudFormation spells them, so that no secret reaches a container and no dependency counts.
    normalize = provisioners._normalize_container_defs

    def normalized(definitions: list[Any]) -> list[Any]:
        out: list[Any] = normalize(definitions)
        for container in out:
            for key in ("secrets", "dependsOn", "healthCheck", "linuxParameters", "ulimits"):
                if key in container:
                    container[key] = provisioners._pascal_to_camel(container[key])
        return out

    provisioners._normalize_container_defs = normalized

    # The platform is dropped, so that DescribeTaskDefinition, and the revision that a release registers, lack it.
    create = provisioners._ecs_task_def_create

    def created(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        arn, attributes = create(logical_id, props, stack)
        definition = ecs._task_defs[arn.rsplit("/", 1)[-1]]
        definition["volumes"] = provisioners._pascal_to_camel(props.get("Volumes", []))
        if "RuntimePlatform" in props:
            definition["runtimePlatform"] = provisioners._pascal_to_camel(props["RuntimePlatform"])
        return arn, attributes

    provisioners._ecs_task_def_create = created  # update calls it by this name
    HANDLERS["AWS::ECS::TaskDefinition"]["create"] = created


def _containers(settings: Settings, client: Client) -> None:
    arguments = ecs._build_run_kwargs

    def with_task_definition(container: dict[str, Any], definition: dict[str, Any], *rest: Any) -> dict[str, Any]:
        # Entry point, working directory, volumes without a host path, dependencies and the stop time-out are ignored.
        out: dict[str, Any] = arguments(container, definition, *rest)
        task_id, task_arn = rest[4], rest[5]
        folders = {}
        for mount in container.get("mountPoints", []):
            folder = settings.state / "volumes" / task_id / mount["sourceVolume"]
            folder.mkdir(parents=True, exist_ok=True)
            folders[mount["containerPath"]] = folder
        return out | {
            "entrypoint": container.get("entryPoint"), "working_dir": container.get("workingDirectory"), "volumes": folders,
            "stop_timeout": container.get("stopTimeout", STOP_TIMEOUT), "serves": bool(container.get("portMappings")),
            "before": lambda: _await_dependencies(settings, client, ecs._tasks[task_arn], definition, container, folders),
        }

    ecs._build_run_kwargs = with_task_definition

    def run(docker: Client, container: dict[str, Any], kwargs: dict[str, Any], **_: object) -> Container:
        # The original falls back to a cached image, or to another platform, as only an engine can.
        try:
            return docker.containers.run(container["image"], **kwargs)
        except NotFound as error:
            raise ecs._ImagePullError(str(error)) from error

    ecs._run_docker_container = run

    attach = ecs._attach_started_container

    def attached(task: Task, container: Container, index: int, *rest: Any) -> Any:
        def exited(code: int) -> None:
            task["containers"][index]["exitCode"] = code

        container.on_exit = exited
        return attach(task, container, index, *rest)

    ecs._attach_started_container = attached

    stopped = ecs._mark_task_stopped

    def mark_stopped(task_arn: str, task: Task, reason: str, stop_code: str, exit_code: int | None = None) -> Any:
        log.info("task %s stops: %s", task_arn.rsplit("/", 1)[-1], reason)
        # StopTask writes 0 for containers that have not ended yet: `attached` writes the code that they end with.
        return stopped(task_arn, task, reason, stop_code, None if stop_code == "UserInitiated" else exit_code)

    ecs._mark_task_stopped = mark_stopped


def _await_dependencies(
    settings: Settings, client: Client, task: Task, definition: dict[str, Any], container: dict[str, Any], folders: dict[str, Path]
) -> None:
    """Waits for the containers that one depends on; if one of them failed the task stops, as on Fargate."""
    names = [c["name"] for c in definition["containerDefinitions"]]
    for dependency in container.get("dependsOn", []):
        index, condition = names.index(dependency["containerName"]), dependency["condition"]
        if index >= len(task["_docker_ids"]):
            raise NotFound(f"container {container['name']} depends on {names[index]}, which stands after it: the local target starts containers in their order")
        if condition not in ("COMPLETE", "SUCCESS", "START"):
            raise NotFound(f"container {container['name']} depends on {names[index]} with {condition}, which the local target does not have")
        needed = client.containers.get(task["_docker_ids"][index])
        while condition != "START" and needed.status == "running":
            if not ecs._task_is_active(task["taskArn"], task):
                raise NotFound("the task was stopped")
            time.sleep(0.05)
        if condition == "START":
            continue
        task["containers"][index] |= {"exitCode": needed.exit_code, "lastStatus": "STOPPED"}
        if condition == "SUCCESS" and needed.exit_code != 0:
            ecs._mark_task_stopped(task["taskArn"], task, "Essential container in task exited", "EssentialContainerExited")
            raise NotFound(f"container {names[index]}, which {container['name']} needs, exited with {needed.exit_code}")
    # The database's certificate is signed by the local target's own CA: whoever trusts RDS's trusts it too.
    for folder in folders.values():
        databases.trust(settings, folder)


def _health_checks() -> None:
    # A task is registered as soon as its process was started, whether it listens or not, and no health check is made.
    running, address = ecs._mark_task_running, ecs._task_ip

    def mark_running(task_arn: str, task: Task) -> Any:
        group = _target_group(task)
        if group is None:
            return running(task_arn, task)
        try:
            task["_healthy"] = _await_health(task, group)
        except TimeoutError as reason:
            ecs._mark_task_stopped(task_arn, task, str(reason), "ServiceSchedulerInitiated")
            ecs._record_service_task_failure(task)
            return False
        return running(task_arn, task)

    def healthy_address(task: Task) -> str | None:
        if task.get("group", "").startswith("service:") and not task.get("_healthy"):
            return None
        found: str | None = address(task)
        return found

    ecs._mark_task_running, ecs._task_ip = mark_running, healthy_address

    # All tasks are registered with the port that the service has now, also those of an older revision with another port.
    publish = alb.set_targets_for_group

    def published(group: str, targets: list[tuple[str, int]], previous: Iterable[str] = ()) -> Any:
        own = {ecs._task_ip(task): _port(task) for task in ecs._tasks.values()}
        return publish(group, [(ip, own.get(ip) or port) for ip, port in targets], previous)

    alb.set_targets_for_group = published


def _service_of(task: Task) -> dict[str, Any] | None:
    kind, _, name = task.get("group", "").partition(":")
    if kind != "service":
        return None
    service: dict[str, Any] | None = ecs._services.get(f"{ecs._cluster_name_from_arn(task['clusterArn'])}/{name}")
    return service


def _target_group(task: Task) -> dict[str, Any] | None:
    service = _service_of(task)
    if not service or not service.get("loadBalancers"):
        return None
    group = alb._tgs.get(service["loadBalancers"][0]["targetGroupArn"])
    return group and {**group, "port": _port(task), "grace": int(service.get("healthCheckGracePeriodSeconds") or 0)}


def _port(task: Task) -> int | None:
    """The first port of the task's own revision."""
    definition = ecs._task_defs.get(ecs._resolve_td_key(task["taskDefinitionArn"])) or {}
    mappings = (m for c in definition.get("containerDefinitions", []) for m in c.get("portMappings") or [])
    return next((int(m["containerPort"]) for m in mappings), None)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A load balancer takes a redirection for the answer, and so for what the matcher does not allow."""

    def redirect_request(self, *_: object) -> None:
        return None


_http = urllib.request.build_opener(_NoRedirect)


def _await_health(task: Task, group: dict[str, Any]) -> bool:
    """Waits until a task answers the health check. False if its process ended before, which ECS then sees itself."""
    container = ecs._docker.containers.get(task["_docker_ids"][-1])
    url = f"http://{container.address}:{group['port']}{group['HealthCheckPath']}"
    limit = group["grace"] + group["HealthCheckIntervalSeconds"] * group["UnhealthyThresholdCount"]
    deadline, answer = time.monotonic() + limit, "no answer"
    while time.monotonic() < deadline:
        if container.exit_code is not None or not ecs._task_is_active(task["taskArn"], task):
            return False
        try:
            with _http.open(url, timeout=group["HealthCheckTimeoutSeconds"]) as response:
                code = response.status
        except urllib.error.HTTPError as error:
            code = error.code
        except OSError:
            time.sleep(0.1)
            continue
        if _matches(code, group["Matcher"]["HttpCode"]):
            return True
        answer = f"status {code}"
        time.sleep(0.5)
    raise TimeoutError(f"Task failed ELB health checks in (target-group {group['TargetGroupArn']}): {url} gave {answer} for {limit} s")


def _matches(code: int, matcher: str) -> bool:
    """200, 200,302 or 200-399."""
    ranges = (part.partition("-") for part in matcher.split(","))
    return any(int(low) <= code <= int(high or low) for low, _, high in ranges)


def _services() -> None:
    handlers = HANDLERS["AWS::ECS::Service"]
    create, update = handlers["create"], handlers["update"]

    def created(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        # The grace period and ECS Exec are only read by updates.
        original = ecs._create_service

        def with_settings(request: dict[str, Any]) -> Any:
            return original(request | {
                "healthCheckGracePeriodSeconds": props.get("HealthCheckGracePeriodSeconds", 0), "enableExecuteCommand": props.get("EnableExecuteCommand", False),
            })

        ecs._create_service = with_settings
        try:
            arn, attributes = create(logical_id, props, stack)
        finally:
            ecs._create_service = original
        try:
            _await_deployment(arn)
        except ValueError:
            handlers["delete"](arn, props)  # CloudFormation deletes only what was created
            raise
        return arn, attributes

    def updated(physical_id: str, *rest: Any) -> Any:
        result = update(physical_id, *rest)
        _await_deployment(physical_id)
        return result

    handlers["create"], handlers["update"] = created, updated

    # CloudFormation reports success at once, and its handlers run on the event loop: one that waits would stop the server.
    on_thread: Callable[[str], bool] = stacks._runs_on_worker_thread
    stacks._runs_on_worker_thread = lambda kind: kind in ("AWS::ECS::Service", "AWS::RDS::DBInstance") or on_thread(kind)


def _await_deployment(service_arn: str) -> None:
    deadline = time.monotonic() + SERVICE_TIMEOUT
    while True:
        deployment = deployments.newest(service_arn)
        if deployment is None or deployment["status"] == "SUCCESSFUL":
            return
        if deployment["status"] == "STOPPED":
            raise ValueError(f"Resource handler returned message: \"The deployment was stopped: {deployment['statusReason']}\"")
        if deployment["status"] in ("ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"):
            raise ValueError("Resource handler returned message: \"Error occurred during operation 'ECS Deployment Circuit Breaker was triggered'.\"")
        if time.monotonic() > deadline:
            raise ValueError(f"Resource of type 'AWS::ECS::Service' with identifier '{service_arn}' did not stabilize.")
        time.sleep(0.2)

