"""Faults of what the environment stands on: `make local-faults` kills, stops and refuses, and looks at how the deployment ends.

Each must end in a clear error within its bound; what is half done must not be taken for done; the next run must recover.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable

from local.target import ROOT
from local.tests.scenario import PREFIX, Environment, Run, Wrong, changed, expect, ledger, local, page, play, processes, until

# Bounds in seconds, from the fault to the end of the command.
MAX_AFTER_KILL = 30
MAX_AFTER_STOP = 120
MAX_REFUSED = 240
MAX_CRASH = 120
MAX_SECONDS = 600  # all of them


class Deployment:
    """`make local` in the background, up to a line of its output."""

    def __init__(self, moment: str) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "local", "up"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._text = ""
        assert self._process.stdout
        for line in self._process.stdout:
            self._text += line
            if moment in line:
                self._at = time.monotonic()
                return
        raise Wrong(f"no line with {moment!r}:\n{self._text}")

    def end(self, bound: float) -> Run:
        try:
            rest, _ = self._process.communicate(timeout=bound)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGINT)
            rest, _ = self._process.communicate()
            raise Wrong(f"it did not end within {bound} s:\n{self._text}{rest}") from None
        return Run(self._process.returncode, self._text + rest, time.monotonic() - self._at)


def the_emulator_is_killed_in_the_middle_of_a_deploy() -> str:
    deployment = Deployment("data: deploying")
    os.kill(Environment().target.pid, signal.SIGKILL)
    failed = deployment.end(MAX_AFTER_KILL).failed("the deployment failed: the emulator (process ", "has ended meanwhile")
    until(f"processes outlive the emulator: {processes()}", lambda: not processes(), 10)
    return f"ended {failed.seconds:.0f} s later: {last_line(failed)}"


def the_next_run_starts_from_zero_and_the_registry_refuses_uploads() -> str:
    deployment = Deployment("bootstrapped")
    fault("registry", True)
    refused = deployment.end(MAX_REFUSED).failed("starting from zero", "CREATE_FAILED Custom::SeedImage")
    reason = Environment().failure("data", "Custom::SeedImage")
    expect("push seed" in reason and "refuse uploads" in reason, f"the reason does not name the push and the answer: {reason}")
    databases = Environment().cloud.all("rds", "describe_db_instances", "DBInstances")
    expect(not databases, "the database was created although the repository could not be seeded")
    fault("registry", False)
    up = local("up").succeeded()
    page(Environment())
    return f"failed after {refused.seconds:.0f} s, before the database: {' '.join(reason.split())[:160]} …; recovered in {up.seconds:.0f} s"


def the_database_stops_during_the_schema_task() -> str:
    env = Environment()
    before, rds = env.tasks(), env.cloud.client("rds")
    database = env.cloud.resource(f"{PREFIX}-data", "AWS::RDS::DBInstance", "Database")
    with changed("sql/002-long.sql", "CREATE TABLE before_it (id INT);\nSELECT SLEEP(60);\nCREATE TABLE after_it (id INT);\n"):
        deployment = Deployment("service: deploying")
        until("the schema task does not run the file", lambda: "SLEEP" in local("mysql", "--execute", "SHOW PROCESSLIST").output)
        rds.stop_db_instance(DBInstanceIdentifier=database)
        until("the schema task still runs", lambda: not env.running_schema_tasks())
        # The rollback asks for the former files, and waits up to five minutes for the database.
        rds.start_db_instance(DBInstanceIdentifier=database)
        failed = deployment.end(MAX_AFTER_STOP).failed("UPDATE_FAILED Custom::SchemaInit")
        reason = env.failure("service", "Custom::SchemaInit")
        expect("exit code 1" in reason and "002-long.sql" in reason, f"CloudFormation's reason does not name the file: {reason}")
        expect(env.status("service") == "UPDATE_ROLLBACK_COMPLETE", f"the stack is {env.status('service')}")
        expect(not env.running_schema_tasks(), "a schema task still runs")
        expect(env.tasks() == before, "the service was touched")
        expect(list(ledger()) == ["init.sql"], f"the ledger takes the file for applied: {list(ledger())}")
    with changed("sql/002-long.sql", "CREATE TABLE IF NOT EXISTS before_it (id INT);\nCREATE TABLE IF NOT EXISTS after_it (id INT);\n"):
        up = local("up").succeeded()
        expect(list(ledger()) == ["002-long.sql", "init.sql"], f"the ledger has {list(ledger())}")
    local("up").succeeded()
    return f"failed {failed.seconds:.0f} s after the stop, the file is not in the ledger; recovered in {up.seconds:.0f} s"


def a_function_of_the_schema_gate_crashes() -> str:
    env = Environment()
    functions = [r["PhysicalResourceId"] for r in env.cloud.resources(f"{PREFIX}-service") if r["ResourceType"] == "AWS::Lambda::Function" and r["LogicalResourceId"].startswith("SchemaInitIsComplete")]
    expect(len(functions) == 1, f"the functions are {functions}")
    client = env.cloud.client("lambda")
    location = client.get_function(FunctionName=functions[0])["Code"]["Location"]
    with urllib.request.urlopen(location, timeout=30) as answer:
        code = answer.read()
    client.update_function_code(FunctionName=functions[0], ZipFile=crashing())
    before = env.tasks()
    with changed("sql/003-late.sql", "CREATE TABLE late (id INT);\n"):
        failed = local("up").failed("UPDATE_FAILED Custom::SchemaInit")
        expect(failed.seconds < MAX_CRASH, f"it took {failed.seconds:.0f} s")
        reason = env.failure("service", "Custom::SchemaInit")
        expect("code 3: the function crashes" in reason, f"CloudFormation's reason does not name the function's end: {reason}")
        # The rollback needs the function too. docs/runbook.md says how to go on, once it works again.
        expect(env.status("service") == "UPDATE_ROLLBACK_FAILED", f"the stack is {env.status('service')}")
        expect(env.tasks() == before, "the service was touched")
        # The task that nobody watches any more goes on to its end. CREATE TABLE would fail if the next run applied the file again.
        until("a schema task still runs", lambda: not env.running_schema_tasks())
        applied = ledger()
        expect("003-late.sql" in applied, f"the task did not end its work: the ledger has {list(applied)}")
        client.update_function_code(FunctionName=functions[0], ZipFile=code)
        env.cloud.client("cloudformation").continue_update_rollback(StackName=f"{PREFIX}-service")
        until("the rollback does not go on", lambda: env.status("service") == "UPDATE_ROLLBACK_COMPLETE")
        up = local("up").succeeded()
        expect(ledger() == applied, f"the ledger had {list(applied)} and has {list(ledger())}")
    return f"failed after {failed.seconds:.0f} s: {' '.join(reason.split())[:160]} …; recovered in {up.seconds:.0f} s"


def nothing_is_left_at_the_end() -> str:
    down = local("down").succeeded()
    expect(not processes(), f"processes are left: {processes()}")
    return f"destroyed in {down.seconds:.0f} s"


def crashing() -> bytes:
    """A function's code that ends at once."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        program = zipfile.ZipInfo("bootstrap")
        program.external_attr = 0o755 << 16
        archive.writestr(program, "#!/bin/sh\necho 'the function crashes' >&2\nexit 3\n")
    return content.getvalue()


def fault(name: str, on: bool) -> None:
    request = urllib.request.Request(f"{Environment().target.url}/_local/faults/{name}", method="PUT", data=json.dumps(on).encode())
    urllib.request.urlopen(request, timeout=10).close()


def last_line(run: Run) -> str:
    return next((line.strip() for line in run.output.splitlines() if line.startswith("local up:")), run.output.strip().splitlines()[-1])


STEPS = [
    the_emulator_is_killed_in_the_middle_of_a_deploy, the_next_run_starts_from_zero_and_the_registry_refuses_uploads,
    the_database_stops_during_the_schema_task, a_function_of_the_schema_gate_crashes, nothing_is_left_at_the_end,
]

if __name__ == "__main__":
    sys.exit(play("local-faults", STEPS, MAX_SECONDS))
