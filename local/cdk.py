"""The CDK CLI, as installed by package.json."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from local import children, server
from local.failure import Failure, tail
from local.progress import Progress
from local.settings import ACCOUNT, ENV, Settings
from local.target import ASSEMBLY, CLI_LOG, EMULATOR_LOG, ROOT, Target, client_environment

# As many stacks at once as there are.
CONCURRENCY = 4

CLI = ROOT / "node_modules/.bin/cdk"

# Nothing listens there. Synth asks nobody, but the CLI would look for an account.
NOWHERE = "http://127.0.0.1:9"


def synth(settings: Settings) -> str | None:
    """Synthesizes the stacks, for which no emulator is needed. Returns what the application says of a wrong configuration."""
    code, text = _run(["synth", "--quiet", "--context", f"env={ENV}", "--output", str(ASSEMBLY)], client_environment(settings.region, NOWHERE))
    return text if code else None


def deploy(target: Target, say: Callable[[str], None]) -> None:
    _follow(["deploy", "--all", "--require-approval", "never", "--concurrency", str(CONCURRENCY), "--progress", "events"], target, say, "the deployment")


def destroy(target: Target, say: Callable[[str], None]) -> None:
    _follow(["destroy", "--all", "--force"], target, say, "cdk destroy")


def bootstrap(target: Target) -> None:
    code, text = _run(["bootstrap", f"aws://{ACCOUNT}/{target.region}"], client_environment(target.region, target.url))
    if code:
        raise Failure(f"cdk bootstrap failed with exit code {code}; its output ends with\n{tail(text)}")


def stack_names(assembly: Path = ASSEMBLY) -> list[str]:
    """The names of the stacks of an assembly, the first to be deployed first."""
    artifacts = json.loads((assembly / "manifest.json").read_text())["artifacts"]
    return [a["properties"].get("stackName", a.get("displayName", key)) for key, a in artifacts.items() if a["type"] == "aws:cloudformation:stack"]


def become(arguments: Sequence[str], target: Target) -> NoReturn:
    """Replaces this process by the CLI, on the environment of the target."""
    os.chdir(ROOT)
    os.execve(CLI, [str(CLI), "--context", f"env={ENV}", *arguments], client_environment(target.region, target.url))


def _follow(arguments: list[str], target: Target, say: Callable[[str], None], what: str) -> None:
    progress = Progress(say, os.path.commonprefix(stack_names()))

    def tick() -> None:
        # The CLI would go on asking, and be answered by whatever listens there next.
        if server.process(target) is None:
            raise Failure(f"{what} failed: the emulator (process {target.pid}) has ended meanwhile; its log ({EMULATOR_LOG.relative_to(ROOT)}) ends with\n{server.log_tail()}")
        progress.tick()

    code, text = _run(["--app", str(ASSEMBLY), *arguments], client_environment(target.region, target.url), progress.line, tick)
    if code:
        raise Failure(f"{what} failed, the CDK CLI ended with exit code {code}; all that it said is in {CLI_LOG.relative_to(ROOT)}"
                      + ("" if progress.said_why else f", which ends with\n{tail(text)}"))


def _run(arguments: list[str], environment: dict[str, str],
         say: Callable[[str], None] = lambda line: None, tick: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """Runs the CLI, keeps its output in the log, and hands out each line as it comes. Returns the exit code and the output."""
    output = b""
    CLI_LOG.parent.mkdir(parents=True, exist_ok=True)
    with CLI_LOG.open("ab") as log:
        log.write(f"\n$ cdk {' '.join(arguments)}    # {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
        child = children.start([str(CLI), *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        pipe = children.output(child)
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                ready = selector.select(timeout=0.5)
                tick()
                if not ready:
                    continue
                chunk = os.read(pipe.fileno(), 1 << 16)
                if not chunk:
                    break
                log.write(chunk)
                log.flush()
                output += chunk
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    say(line.decode(errors="replace"))
        if rest:
            say(rest.decode(errors="replace"))
        pipe.close()
    return children.wait(child), output.decode(errors="replace")
