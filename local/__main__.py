"""The commands of the local target: `python -m local COMMAND`, in the root of the project. The targets of make that begin with
`local` call them."""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

# While the libraries are loaded nothing has been started yet: Ctrl-C ends the process without a word.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from botocore.exceptions import BotoCoreError, ClientError

from local import cdk, children, interrupts, leftovers, logs, mysql, report, server, settings, target, variables
from local import release as releases
from local.aws import Cloud
from local.failure import Failure
from local.interrupts import Interrupted
from local.tests import scenario

USAGE = """python -m local COMMAND

  up               start the emulator, unless it runs, and deploy config/local.yaml
  down [--force]   destroy the stacks, see that nothing is left, stop the emulator; --force only stops it
  cdk ARGS…        the CDK CLI on the local target, as in: cdk diff
  mysql [ARGS…]    MariaDB's client on the local database
  logs [GROUP]     list the log groups, or print the events of one: its name, or a part of it
  env              write the variables of the application's container to a file, to run a program or an image beside it
  release IMAGE    push an image and deploy it as the pipeline does: an OCI archive, an OCI layout folder, or what `docker save` wrote
  test             the proof
  faults           what happens when something that the environment stands on fails
"""


class Clock:
    """Says lines with the time since the command began."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        print(f"{self.seconds():5.0f} s  {text}", flush=True)


def up(arguments: list[str]) -> int:
    no_arguments("up", arguments)
    clock = Clock()
    config = settings.load(target.ROOT)
    settings.check_machine(config, platform.system(), platform.machine())
    with server.exclusive():
        found = server.find()
        try:
            return start_and_deploy(clock, config, found)
        except Interrupted:
            with interrupts.held():
                children.end_all()
                if found is None:
                    print("\nInterrupted: stopping the emulator that this run started.", file=sys.stderr, flush=True)
                    server.stop()
                else:
                    print(f"\nInterrupted. The emulator at {found.url} ran before and goes on, with what was deployed so far.", file=sys.stderr)
            raise


def start_and_deploy(clock: Clock, config: settings.Settings, found: target.Target | None) -> int:
    if found is not None and found.region != config.region:
        raise Failure(f"the emulator that runs is for the region {found.region}, but config/{settings.ENV}.yaml says {config.region}: stop it with `make local-down` first")
    if found is None and (stale := server.remove_stale()):
        clock.say(stale)
    if problem := cdk.synth(config):
        if found is None:
            server.remove_stale()
        raise Failure(f"the stacks cannot be synthesized, so nothing was deployed:\n{problem.strip()}")
    if found is not None:
        clock.say(f"the emulator runs at {found.url} since {found.started}: deploying what changed")
    running = found or server.start(config.region)
    if found is None:
        clock.say(f"the emulator runs at {running.url} (process {running.pid})")
    try:
        cloud = Cloud(running)
        if leftovers.TOOLKIT not in cloud.stacks():
            cdk.bootstrap(running)
            clock.say("bootstrapped, as an account is")
        deploying = time.monotonic()
        cdk.deploy(running, clock.say)
        deployed = time.monotonic() - deploying
        rows = report.rows(running, config, cloud, server.inventory(running), server.memory(running))
    except Failure as failure:
        if server.process(running) is None:
            raise
        raise Failure(f"{failure}\nThe emulator goes on at {running.url}, for a look around: make local-logs, make local-cdk ARGS=diff; "
                      "after a correction run `make local` again; `make local-down` stops it.") from None
    print(f"\nThe local target is up, after {clock.seconds():.0f} s, {deployed:.0f} of them for the deployment.\n\n{report.table(rows)}")
    return 0


def down(arguments: list[str]) -> int:
    force = arguments == ["--force"]
    if not force:
        no_arguments("down", arguments)
    clock = Clock()
    with server.exclusive():
        if force:
            running = server.alive()
        else:
            running = server.find()
        if running is None:
            print(server.remove_stale(", which leaves nothing to stop") or "no emulator runs: there is nothing to stop")
            return 0
        try:
            if not force:
                destroy(clock, running)
        except Interrupted:
            with interrupts.held():
                children.end_all()
                print(f"\nInterrupted. The emulator at {running.url} goes on; `make local-down` begins again.", file=sys.stderr)
            raise
        with interrupts.held():
            survivors = server.stop()
        if survivors:
            raise Failure(f"the emulator is stopped, but it left processes behind, which were ended too: {', '.join(survivors)}")
        clock.say("the emulator is stopped and its state removed" + ("" if force else "; nothing was left"))
    return 0


def destroy(clock: Clock, running: target.Target) -> None:
    if not target.ASSEMBLY.exists() and (problem := cdk.synth(settings.load(target.ROOT))):
        raise Failure(f"the stacks cannot be synthesized, so nothing was destroyed; `make local-down ARGS=--force` only stops the emulator:\n{problem.strip()}")
    try:
        cdk.destroy(running, clock.say)
    except Failure as failure:
        if server.process(running) is None:
            raise
        raise Failure(f"{failure}\nThe emulator goes on at {running.url}; `make local-down ARGS=--force` only stops it, and all that is in it is gone.") from None
    if left := leftovers.leftovers(Cloud(running), server.inventory(running)):
        raise Failure("after cdk destroy there is left\n" + "\n".join(f"  {thing}" for thing in left)
                      + f"\nThe emulator goes on at {running.url}, for a look; `make local-down ARGS=--force` only stops it, and all that is in it is gone.")


def run_cdk(arguments: list[str]) -> int:
    if not arguments:
        raise Failure("what should the CDK CLI do? As in: make local-cdk ARGS=diff")
    cdk.become(arguments, server.require())


def run_mysql(arguments: list[str]) -> int:
    mysql.become(arguments, Cloud(server.require()), settings.load(target.ROOT))


def write_variables(arguments: list[str]) -> int:
    no_arguments("env", arguments)
    running = server.require()
    path = variables.write(running, Cloud(running), settings.load(target.ROOT))
    print(f"{path} has the variables of the application's container, secrets too; as in: podman run --rm --network host --env-file {path} IMAGE")
    return 0


def show_logs(arguments: list[str]) -> int:
    if len(arguments) > 1:
        raise Failure(f"{len(arguments)} log groups given, {arguments}: name one, or none for a list")
    cloud = Cloud(server.require())
    if arguments:
        logs.print_events(cloud, arguments[0])
    else:
        logs.print_groups(cloud)
    return 0


def release(arguments: list[str]) -> int:
    if len(arguments) != 1:
        raise Failure(f"{len(arguments)} images given, want one: make local-release IMAGE=PATH; {releases.IMAGES}")
    clock = Clock()
    try:
        return 0 if releases.release(server.require(), settings.load(target.ROOT), Path(arguments[0]).absolute(), clock.say) else 1
    except Interrupted:
        with interrupts.held():
            children.end_all()
            print("\nInterrupted. A deployment that has begun goes on in the emulator.", file=sys.stderr)
        raise


def test(arguments: list[str]) -> int:
    no_arguments("test", arguments)
    return scenario.run_in_copy("local.tests.scenario")


def faults(arguments: list[str]) -> int:
    no_arguments("faults", arguments)
    return scenario.run_in_copy("local.tests.faults")


def no_arguments(command: str, arguments: list[str]) -> None:
    if arguments:
        raise Failure(f"{command} takes no {' '.join(arguments)}; the commands are\n\n{USAGE}")


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "up": up, "down": down, "cdk": run_cdk, "mysql": run_mysql, "logs": show_logs, "env": write_variables, "release": release, "test": test, "faults": faults,
}


def main(arguments: list[str]) -> int:
    interrupts.install()
    if not arguments or arguments[0] not in COMMANDS:
        print(USAGE, end="", file=sys.stdout if arguments == ["--help"] else sys.stderr)
        return 0 if arguments == ["--help"] else 2
    command, rest = arguments[0], arguments[1:]
    target.isolate()
    try:
        return COMMANDS[command](rest)
    except Failure as failure:
        print(f"\nlocal {command}: {failure}", file=sys.stderr)
    except (BotoCoreError, ClientError) as error:
        print(f"\nlocal {command}: the emulator refused a request: {error}; its log is {target.EMULATOR_LOG.relative_to(target.ROOT)}", file=sys.stderr)
    except Interrupted:
        return interrupts.EXIT_CODE
    except BrokenPipeError:
        # The reader of the output had enough. What is still to be written goes nowhere, and nothing complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        with interrupts.held():
            children.end_all()
    return 1


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except Interrupted:  # once more, while the first one was seen to
        code = interrupts.EXIT_CODE
    sys.exit(code)
