"""The events of the CDK CLI, kept short."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

# How long nothing may be said while a stack is at work.
SILENCE_SECONDS = 5

# flask-app-local-data | 12/20 | 12:05:48 PM | CREATE_COMPLETE | AWS::S3::Bucket | local/Data/Bucket (Bucket83908E77) reason
_EVENT = re.compile(r"^(?P<stack>[\w-]+) \| +(?P<count>[\d/]+) \| [\d:]+ [AP]M \| (?P<status>[A-Z_]+) +\| (?P<type>[\w:]+) +\| (?P<name>.*)$")
_BEGIN = re.compile(r"^(?P<path>\S+)(?: \((?P<stack>[\w-]+)\))?: (?P<verb>deploying|destroying)\.\.\.")
_END = re.compile(r"^ *✅ +(?P<path>\S+)(?: \((?P<stack>[\w-]+)\))?(?:: (?P<verb>destroyed))?(?P<same> \(no changes\))?$")
_FAILED = re.compile(r"^(?:Failed resources:| *❌)")


@dataclass
class Stack:
    count: str = ""
    working: dict[str, str] = field(default_factory=dict)  # the resources that are, by name, with their types
    done: set[str] = field(default_factory=set)


class Progress:
    """Reads the CLI's output line by line and says what a person wants to know of it: stacks begin, wait and end, and all of an
    error. It says nothing of the resources that go well."""

    def __init__(self, say: Callable[[str], None], prefix: str, now: Callable[[], float] = time.monotonic) -> None:
        self._say, self._prefix, self._now = say, prefix, now
        self._stacks: dict[str, Stack] = {}
        self.said_why = False  # the reason of a failure is being said, or was
        self._said_at = now()

    def line(self, text: str) -> None:
        text = text.rstrip()
        if event := _EVENT.match(text):
            self._event(event)
        elif self.said_why:
            self._tell(text)
        elif begin := _BEGIN.match(text):
            stack = begin["stack"] or begin["path"]
            self._stacks[stack] = Stack()
            self._tell(f"{self._short(stack)}: {begin['verb']}")
        elif end := _END.match(text):
            stack = end["stack"] or end["path"]
            known = self._stacks.pop(stack, Stack())
            how = "no changes" if end["same"] else end["verb"] or "deployed"
            count = len(known.done)
            resources = "" if end["same"] or not count else f", {count} resource{'s' if count > 1 else ''} changed"
            self._tell(f"{self._short(stack)}: {how}{resources}")
        elif _FAILED.match(text):
            self.said_why = True  # what follows is the reason
            self._tell(text.strip())

    def tick(self) -> None:
        """Is called often: says what is waited for, if nothing was said for a while."""
        if self.said_why or self._now() - self._said_at < SILENCE_SECONDS:
            return
        for name, stack in self._stacks.items():
            waits = ", ".join(sorted(stack.working)[:3]) + (f" and {len(stack.working) - 3} more" if len(stack.working) > 3 else "")
            self._tell(f"{self._short(name)}: {stack.count or 'begins'}" + (f", waits for {waits}" if waits else ""))
        self._said_at = self._now()

    def _event(self, event: re.Match[str]) -> None:
        stack = self._stacks.setdefault(event["stack"], Stack())
        stack.count = event["count"]
        name, status = event["name"].split(" (")[0], event["status"]
        if event["type"] == "AWS::CloudFormation::Stack":
            if "ROLLBACK" in status:
                self._tell(f"{self._short(event['stack'])}: {status}")
            return
        # The CLI shows the events of a moment in any order.
        if status.endswith("_IN_PROGRESS") and name not in stack.done:
            stack.working[name] = event["type"]
        elif not status.endswith("_IN_PROGRESS"):
            stack.working.pop(name, None)
            stack.done.add(name)
        if status.endswith("_FAILED"):
            self._tell(f"{self._short(event['stack'])}: {status} {event['type']} {event['name']}")

    def _short(self, stack: str) -> str:
        return stack.removeprefix(self._prefix)

    def _tell(self, text: str) -> None:
        self._said_at = self._now()
        self._say(text)
