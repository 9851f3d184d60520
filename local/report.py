"""What `make local` says at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from local.aws import Cloud, database
from local.settings import Settings
from local.target import Target

Row = tuple[str, str]


def table(rows: Iterable[Row]) -> str:
    """Two columns. A row without a title goes on with the one before it."""
    rows = list(rows)
    width = max(len(title) for title, _ in rows)
    return "\n".join(f"  {title:<{width}}  {text}".rstrip() for title, text in rows)


# In the order of the report.
MEANINGS = {
    "real": "real: they do here what they do in AWS",
    "stored": "stored: they can be read back, and nothing acts on them",
    "declared": "only declared: nothing of them is there",
    "not listed": "unknown to the emulator's list",
}


def kind_lines(types: Iterable[str], inventory: dict[str, str]) -> list[str]:
    """How many of the deployed resources, and of their types, are of each kind."""
    found: dict[str, list[str]] = {}
    for kind_of in types:
        found.setdefault(inventory.get(kind_of, "not listed"), []).append(kind_of)
    return [f"{len(found[kind]):3} (types: {len(set(found[kind])):2}) are {meaning}" for kind, meaning in MEANINGS.items() if kind in found]


def memory_line(sizes: Sequence[tuple[str, int]]) -> str:
    def size(count: int) -> str:
        return f"{count / 1e6:.0f} MB"

    return f"{size(sum(s for _, s in sizes))} resident: " + ", ".join(f"{kind} {size(s)}" for kind, s in sizes)


def rows(target: Target, settings: Settings, cloud: Cloud, inventory: dict[str, Any], memory: Sequence[tuple[str, int]]) -> list[Row]:
    outputs = {part: cloud.outputs(settings.stack(part)) for part in ("data", "service")}
    secret = database(cloud, settings)
    types = [r["ResourceType"] for part in ("network", "data", "service", "pipeline") for r in cloud.resources(settings.stack(part))]
    kind_rows = kind_lines(types, inventory.get("resourceTypes", {}))
    return [
        ("application", outputs["service"].get("ApplicationUrl", "the service stack has no output ApplicationUrl")),
        ("database", f"{outputs['data'].get('RdsEndpoint')}:{secret.get('port')}, database {secret.get('dbname')}, user {secret.get('username')}"),
        ("bucket", outputs["data"].get("S3BucketName", "the data stack has no output S3BucketName")),
        ("AWS", f"{target.url}, keys test and test, region {target.region}"),
        ("memory", memory_line(memory)),
        ("", ""),
        ("resources", kind_rows[0] if kind_rows else "none"),
        *(("", line) for line in kind_rows[1:]),
        ("", f"which is which: docs/local.md, and {target.url}/_local/inventory"),
        ("", ""),
        ("look around", 'make local-cdk ARGS=diff'),
        ("", "make local-mysql"),
        ("", "make local-logs, then make local-logs ARGS=GROUP"),
        ("release", "make local-release IMAGE=PATH   (an OCI archive or folder, or what docker save wrote)"),
        ("after a change", "make local, again"),
        ("stop", "make local-down"),
    ]
