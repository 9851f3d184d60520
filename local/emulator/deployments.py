"""Service deployments and service revisions, which ministack answers with empty lists, and their events.

The rules are those that functions/release relies on: a revision has the digest that a tag named when the deployment began, the
circuit breaker turns a deployment to ROLLBACK_IN_PROGRESS and, when the tasks of the former revision run, to
ROLLBACK_SUCCESSFUL; each end is announced by an "ECS Deployment State Change".
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.core.responses import get_account_id, get_region, json_response
from ministack.services import ecs, eventbridge

Record = dict[str, Any]

_deployments: dict[str, Record] = {}  # by ministack's deployment id, in the order of their creation
_revisions: dict[str, Record] = {}  # by ARN
_numbers = itertools.count(1)
_lock = threading.RLock()

ENDED = ("SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED")


def install() -> None:
    make = ecs._make_deployment

    def begins(*args: Any, **kwargs: Any) -> Record:
        # A new service's first deployment is called completed before a task runs.
        deployment: Record = make(*args, **kwargs)
        return deployment | {"rolloutState": "IN_PROGRESS", "rolloutStateReason": "ECS deployment in progress."}

    ecs._make_deployment = begins

    # Whatever changes a deployment's state ends in one of these.
    for name in ("_create_service", "_update_service", "_delete_service", "_complete_service_deployment", "_record_service_task_failure", "_mark_task_running"):
        original = getattr(ecs, name)
        setattr(ecs, name, _then_follow(original))
    ecs._ACTION_MAP |= {
        "CreateService": ecs._create_service,
        "UpdateService": ecs._update_service,
        "DeleteService": ecs._delete_service,
        "ListServiceDeployments": _list,
        "DescribeServiceDeployments": _describe,
        "DescribeServiceRevisions": _describe_revisions,
    }


def newest(service_arn: str) -> Record | None:
    with _lock:
        return next((d for d in reversed(_deployments.values()) if d["serviceArn"] == service_arn), None)


def _then_follow(original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        for service in list(ecs._services.values()):
            _follow(service)
        return result

    return wrapped


def _follow(service: Record) -> None:
    """Brings the records in step with the states that ministack keeps in a service, and announces what ended."""
    announced = []
    with _lock:
        present = list(reversed(service["deployments"]))  # the oldest first
        for deployment in present:
            record = _deployments.get(deployment["id"])
            if record is None:
                record = _deployments[deployment["id"]] = _begin(service, deployment)
            _count(record, deployment)
            if event := _advance(service, record, deployment):
                announced.append((event, record))
        # What a newer deployment replaced before it ended.
        ids = {d["id"] for d in present if d["status"] == "PRIMARY" or d.get("rolloutState") in ("COMPLETED", "FAILED")}
        for key, record in _deployments.items():
            if record["serviceArn"] == service["serviceArn"] and record["status"] == "IN_PROGRESS" and key not in ids:
                _end(record, "STOPPED", "A newer deployment began." if service["status"] == "ACTIVE" else "The service was deleted.")
    for event, record in announced:
        _announce(event, record)


def _begin(service: Record, deployment: Record) -> Record:
    path, number = service["serviceArn"].split(":service/")[1], next(_numbers)
    now, definition = time.time(), ecs._task_defs.get(ecs._resolve_td_key(deployment["taskDefinition"])) or {}
    revision = f"arn:aws:ecs:{get_region()}:{get_account_id()}:service-revision/{path}/{number:019d}"
    _revisions[revision] = {
        "serviceRevisionArn": revision, "serviceArn": service["serviceArn"], "clusterArn": service["clusterArn"], "taskDefinition": deployment["taskDefinition"],
        "createdAt": now, "containerImages": [{"containerName": c["name"], "image": c["image"]} for c in definition.get("containerDefinitions", [])],
    }
    return {
        "serviceDeploymentArn": f"arn:aws:ecs:{get_region()}:{get_account_id()}:service-deployment/{path}/{deployment['id'].rsplit('/', 1)[-1]}",
        "serviceArn": service["serviceArn"], "clusterArn": service["clusterArn"], "createdAt": now, "startedAt": now, "updatedAt": now, "status": "IN_PROGRESS",
        "targetServiceRevision": {"arn": revision, "requestedTaskCount": deployment["desiredCount"], "runningTaskCount": 0, "pendingTaskCount": 0},
    }


def _count(record: Record, deployment: Record) -> None:
    if record["status"] in ENDED:
        return
    record["targetServiceRevision"] |= {"runningTaskCount": deployment["runningCount"], "pendingTaskCount": deployment["pendingCount"]}
    digests = deployment.get("_image_digests", {})
    for image in _revisions[record["targetServiceRevision"]["arn"]]["containerImages"]:
        if digest := digests.get(image["containerName"]):
            image["imageDigest"] = digest


def _advance(service: Record, record: Record, deployment: Record) -> str | None:
    """The name of the event that a change of state is announced with."""
    state = deployment.get("rolloutState")
    if record["status"] == "IN_PROGRESS" and state == "COMPLETED":
        _end(record, "SUCCESSFUL", deployment["rolloutStateReason"])
        return "SERVICE_DEPLOYMENT_COMPLETED"
    if record["status"] == "IN_PROGRESS" and state == "FAILED":
        former = next((d for d in service["deployments"] if d["status"] == "PRIMARY" and d is not deployment), None)
        if former is None:
            _end(record, "ROLLBACK_FAILED", deployment["rolloutStateReason"])
        else:
            record["status"], record["updatedAt"] = "ROLLBACK_IN_PROGRESS", time.time()
            record["rollback"] = {
                "reason": deployment["rolloutStateReason"], "startedAt": time.time(), "serviceRevisionArn": _deployments[former["id"]]["targetServiceRevision"]["arn"],
            }
        return "SERVICE_DEPLOYMENT_FAILED"
    if record["status"] == "ROLLBACK_IN_PROGRESS":
        primary = ecs._primary_deployment(service)
        if primary and primary["rolloutState"] == "COMPLETED":
            _end(record, "ROLLBACK_SUCCESSFUL", record["rollback"]["reason"])
            return "SERVICE_DEPLOYMENT_COMPLETED"
    return None


def _end(record: Record, status: str, reason: str) -> None:
    now = time.time()
    record |= {"status": status, "statusReason": reason, "finishedAt": now, "updatedAt": now}


def _announce(name: str, record: Record) -> None:
    detail = {
        "eventType": "ERROR" if name.endswith("FAILED") else "INFO", "eventName": name, "reason": record.get("statusReason") or record["rollback"]["reason"],
        "deploymentId": "ecs-svc/" + record["serviceDeploymentArn"].rsplit("/", 1)[-1], "updatedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record["updatedAt"])),
    }
    entry = {"Source": "aws.ecs", "DetailType": "ECS Deployment State Change", "Detail": json.dumps(detail), "Resources": [record["serviceArn"]]}
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def _list(data: Record) -> Any:
    created, states = data.get("createdAt") or {}, data.get("status") or []
    name = data["service"].rsplit("/", 1)[-1]
    with _lock:
        found = [
            d for d in reversed(_deployments.values())
            if d["serviceArn"].endswith("/" + name) and (not states or d["status"] in states)
            and created.get("after", 0) <= d["createdAt"] <= created.get("before", float("inf"))
        ]
        return json_response({"serviceDeployments": [_brief(d) for d in found]})


def _brief(record: Record) -> Record:
    keys = ("serviceDeploymentArn", "serviceArn", "clusterArn", "startedAt", "createdAt", "finishedAt", "status", "statusReason")
    return {key: record[key] for key in keys if key in record} | {"targetServiceRevisionArn": record["targetServiceRevision"]["arn"]}


def _describe(data: Record) -> Any:
    return _answer("serviceDeployments", data["serviceDeploymentArns"], {d["serviceDeploymentArn"]: d for d in _deployments.values()})


def _describe_revisions(data: Record) -> Any:
    return _answer("serviceRevisions", data["serviceRevisionArns"], _revisions)


def _answer(key: str, arns: list[str], records: dict[str, Record]) -> Any:
    with _lock:
        return json_response({
            key: [records[arn] for arn in arns if arn in records], "failures": [{"arn": arn, "reason": "MISSING"} for arn in arns if arn not in records],
        })
