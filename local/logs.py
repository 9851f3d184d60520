"""The log groups of the local target."""

from __future__ import annotations

import time

from local.aws import Cloud
from local.failure import Failure


def groups(cloud: Cloud) -> list[str]:
    return sorted(g["logGroupName"] for g in cloud.all("logs", "describe_log_groups", "logGroups"))


def choose(name: str, existing: list[str]) -> str:
    """The group of a name, or of a part of it that no other group has."""
    if name in existing:
        return name
    found = [group for group in existing if name.lower() in group.lower()]
    if len(found) == 1:
        return found[0]
    problem = "is part of several" if found else "is no log group and no part of one"
    raise Failure(f"{name} {problem}; there are\n" + "\n".join(f"  {group}" for group in found or existing))


def print_groups(cloud: Cloud) -> None:
    found = groups(cloud)
    if not found:
        raise Failure("there is no log group in the local target: deploy it with `make local`")
    for group in found:
        print(group)


def print_events(cloud: Cloud, name: str) -> None:
    group = choose(name, groups(cloud))
    events = cloud.all("logs", "filter_log_events", "events", logGroupName=group)
    for event in sorted(events, key=lambda e: int(e["timestamp"])):
        seconds, milliseconds = divmod(int(event["timestamp"]), 1000)
        print(f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{milliseconds:03}  {event['message'].rstrip()}")
    if not events:
        print(f"the log group {group} is empty")
