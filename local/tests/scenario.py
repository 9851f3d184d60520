"""The proof of the local target: `make local-test` plays the life of an environment, step by step, and measures.

It works in a copy of the project below .local/test/, so that neither the project's files nor a running local target are touched.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from local import children, interrupts, ports, report
from local.aws import Cloud
from local.failure import tail
from local.interrupts import Interrupted
from local.target import CLI_LOG, EMULATOR_LOG, ROOT, client_environment, read_target

REGION = "us-east-1"
PREFIX = "flask-app-local"
STACKS = [f"{PREFIX}-{part}" for part in ("network", "data", "service", "pipeline")]

# The bounds that this project promises.
MAX_DEPLOY_SECONDS = 60
MAX_TEST_SECONDS = 720
MIN_REQUESTS = 500


def run_in_copy(module: str) -> int:
    """Copies the project with what is built and installed, and runs a module there."""
    copy = ROOT / ".local/test"
    shutil.rmtree(copy, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    for folder in ("bin", "dist"):
        shutil.copytree(ROOT / folder, copy / folder)
    for folder in ("node_modules", "local/node_modules", ".local/venv", ".local/mariadb"):
        if (ROOT / folder).exists():
            (copy / folder).parent.mkdir(parents=True, exist_ok=True)
            (copy / folder).symlink_to(ROOT / folder)
    # The copies of the sources are newer than what was built from them, which make would build again.
    for built in (*copy.glob("bin/*"), *copy.glob("dist/functions/*"), copy / "dist/schema"):
        os.utime(built)
    python = str(copy / ".local/venv/bin/python")
    child = children.start([python, "-m", module], cwd=copy)
    try:
        return children.wait(child)
    except Interrupted:
        with interrupts.held():  # it ends what it has started, which takes longer than any other child may
            child.send_signal(signal.SIGINT)
            children.wait(child)
        raise


class Wrong(Exception):
    """Something is not as this project promises."""


def expect(condition: object, what: str) -> None:
    if not condition:
        raise Wrong(what)


class Run:
    def __init__(self, code: int, output: str, seconds: float) -> None:
        self.code, self.output, self.seconds = code, output, seconds

    def succeeded(self) -> Run:
        expect(self.code == 0, f"exit code {self.code}, want 0:\n{tail(self.output, 40)}")
        return self

    def failed(self, *texts: str) -> Run:
        expect(self.code == 1, f"exit code {self.code}, want 1:\n{tail(self.output, 40)}")
        for text in texts:
            expect(text in self.output, f"{text!r} is not in\n{tail(self.output, 40)}")
        return self


def local(*arguments: str, env: dict[str, str] | None = None) -> Run:
    """A command of the local target, as make calls it."""
    began = time.monotonic()
    child = children.start([sys.executable, "-m", "local", *arguments], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = children.output(child).read().decode()
    return Run(children.wait(child), output, time.monotonic() - began)


class Environment:
    """What the emulator says of the environment."""

    def __init__(self) -> None:
        target = read_target()
        if target is None:
            raise Wrong("no emulator runs")
        self.target, self.cloud = target, Cloud(target)

    def output(self, part: str, key: str) -> str:
        return self.cloud.outputs(f"{PREFIX}-{part}")[key]

    @property
    def url(self) -> str:
        return self.output("service", "ApplicationUrl")

    def status(self, part: str) -> str:
        return str(self.cloud.stacks()[f"{PREFIX}-{part}"]["StackStatus"])

    def service(self) -> dict[str, Any]:
        cluster = self.output("service", "ClusterName")
        answer = self.cloud.client("ecs").describe_services(cluster=cluster, services=[self.output("service", "ServiceName")])
        service: dict[str, Any] = answer["services"][0]
        return service

    def tasks(self) -> list[str]:
        service = self.service()
        return list(self.cloud.client("ecs").list_tasks(cluster=service["clusterArn"], serviceName=service["serviceName"])["taskArns"])

    def running_schema_tasks(self) -> list[str]:
        cluster = self.service()["clusterArn"]
        return list(self.cloud.client("ecs").list_tasks(cluster=cluster, family=f"{PREFIX}-schema", desiredStatus="RUNNING")["taskArns"])

    def digest(self, tag: str) -> str:
        repository = self.output("data", "RepositoryUri").split("/", 1)[1]
        found = self.cloud.client("ecr").describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])["imageDetails"]
        return str(found[0]["imageDigest"])

    def await_live(self, digest: str) -> float:
        """How long until the tag live names an image."""
        began = time.monotonic()
        while self.digest("live") != digest:
            expect(time.monotonic() - began < 60, f"live names {self.digest('live')} after a minute, want {digest}")
            time.sleep(0.2)
        return time.monotonic() - began

    def failure(self, part: str, kind: str) -> str:
        events = self.cloud.all("cloudformation", "describe_stack_events", "StackEvents", StackName=f"{PREFIX}-{part}")
        failed = [e for e in events if e["ResourceType"] == kind and e["ResourceStatus"].endswith("_FAILED")]
        expect(failed, f"no {kind} failed in {PREFIX}-{part}")
        return str(max(failed, key=lambda e: e["Timestamp"])["ResourceStatusReason"])


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def page(env: Environment) -> str:
    status, text = get(env.url)
    expect(status == 200, f"{env.url} answers {status}: {text[:200]}")
    return text


@contextlib.contextmanager
def traffic(url: str) -> Iterator[Counter[str]]:
    """Requests one after the other while the block runs, and until there were enough. Counts the answers."""
    counts: Counter[str] = Counter()
    over = threading.Event()

    def request() -> None:
        while not over.is_set() or counts.total() < MIN_REQUESTS:
            try:
                status, text = get(url)
                version = re.search(r"^version: +(\S+)", text, re.MULTILINE)
                counts[f"{status} {version[1] if version else 'placeholder'}"] += 1
            except (OSError, http.client.HTTPException, ValueError) as error:
                counts[f"no answer: {error!r}"] += 1

    thread = threading.Thread(target=request)
    thread.start()
    try:
        yield counts
    finally:
        over.set()
        thread.join()
    wrong = {answer: n for answer, n in counts.items() if not answer.startswith("200 ")}
    expect(not wrong, f"{sum(wrong.values())} of {counts.total()} requests failed: {wrong}")


commands: set[str] = set()  # of every process that watched() saw


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Collects the command lines of all processes of this machine while the block runs, twenty times a second."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for process in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError):  # it has ended
                    commands.add(Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def until(what: str, condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < deadline, f"after {seconds:.0f} s: {what}")
        time.sleep(0.2)


@contextlib.contextmanager
def changed(name: str, edit: tuple[str, str] | str) -> Iterator[None]:
    """A file of the project with other text while the block runs."""
    path = ROOT / name
    before = path.read_text() if path.exists() else None
    if isinstance(edit, str):
        path.write_text(edit)
    else:
        expect(before is not None and edit[0] in before, f"{edit[0]!r} is not in {name}")
        path.write_text((before or "").replace(*edit))
    try:
        yield
    finally:
        path.unlink() if before is None else path.write_text(before)


def ledger() -> dict[str, str]:
    rows = local("mysql", "--batch", "--skip-column-names", "--execute", "SELECT file_name, sha256 FROM schema_ledger").succeeded().output
    return dict(line.split("\t") for line in rows.splitlines())


def sample(version: str, *options: str) -> Path:
    image = ROOT / f".local/{version}.tar"
    subprocess.run([ROOT / "bin/local-image", "sample", "--out", image, "--version", version, *options], cwd=ROOT, check=True, capture_output=True)
    return image


# The steps, in their order. Each returns what it measured.


def deploys_everything() -> str:
    with watched():
        up = local("up").succeeded()
    env = Environment()
    for stack in STACKS:
        expect(env.cloud.stacks()[stack]["StackStatus"] == "CREATE_COMPLETE", f"{stack} is not CREATE_COMPLETE")
    expect(env.url in up.output, "the table does not show the URL")
    expect(report.MEANINGS["not listed"] not in up.output, "a resource type is in neither local/emulator/resources.py nor docs/local.md")
    started = re.search(r"(\d+) s  bootstrapped", up.output)
    seconds = up.seconds - float(started[1] if started else 0)
    expect(seconds <= MAX_DEPLOY_SECONDS, f"the deploy took {seconds:.0f} s, the bound is {MAX_DEPLOY_SECONDS} s")
    memory = re.search(r"memory +(.*)", up.output)
    return f"deploy {seconds:.0f} s after the bootstrap, {up.seconds:.0f} s in all; memory {memory[1] if memory else '?'}"


def applied_the_schema() -> str:
    files = ledger()
    expect(list(files) == ["init.sql"], f"the ledger has {list(files)}, want init.sql alone")
    local("mysql", "--user=root", "--skip-password", "--execute", "SELECT 1").failed("Access denied")
    return f"ledger: {files}"


def answers_with_the_placeholder() -> str:
    text = page(Environment())
    expect("version:" not in text and "<html" in text, f"this is not the placeholder's page: {text[:200]}")
    return "200"


def deploys_again_without_a_change() -> str:
    before = Environment().tasks()
    up = local("up").succeeded()
    expect(up.output.count("no changes") == len(STACKS), f"want no changes in {len(STACKS)} stacks:\n{up.output}")
    diff = local("cdk", "diff", "--all", "--fail").succeeded()
    expect(Environment().tasks() == before, "the service's task is another one")
    return f"no-op deploy {up.seconds:.0f} s, diff {diff.seconds:.0f} s"


def stops_a_wrong_configuration_before_anything_is_sent() -> str:
    with socket.create_server(("127.0.0.1", 0)) as aws, changed("config/local.yaml", ("retain: false", "retain: perhaps")):
        aws.settimeout(0.1)
        env = client_environment(REGION, f"http://127.0.0.1:{aws.getsockname()[1]}")
        began = time.monotonic()
        done = subprocess.run(["cdk", "deploy", "--all", "--require-approval", "never", "-c", "env=local"], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)
        seconds = time.monotonic() - began
        Run(done.returncode, done.stdout + done.stderr, seconds).failed("config/local.yaml", "retain")
        with contextlib.suppress(TimeoutError):
            aws.accept()
            raise Wrong("the CLI connected to AWS")
    return f"exit code 1 after {seconds:.1f} s, no connection"


def applies_a_new_schema_file_once() -> str:
    env = Environment()
    before = env.tasks()
    with watched(), changed("sql/002-added.sql", "CREATE TABLE added (id INT PRIMARY KEY);\nINSERT INTO added VALUES (1);\n"):
        up = local("up").succeeded()
        expect(list(ledger()) == ["002-added.sql", "init.sql"], f"the ledger has {list(ledger())}")
        expect(env.tasks() == before, "the service was touched: its task is another one")

        # The broken file comes on top: it must not apply the good one again.
        broken = "CREATE TABLE half (id INT);\n\nINSERT INTO nowhere VALUES (1);\n"
        with traffic(env.url) as requests, changed("sql/003-broken.sql", broken):
            failed = local("up").failed()
            reason = env.failure("service", "Custom::SchemaInit")
            for text in ("exit code 1", "003-broken.sql", "line 3", "nowhere"):
                expect(text in reason, f"CloudFormation's reason lacks {text!r}: {reason}")
            expect(env.status("service") == "UPDATE_ROLLBACK_COMPLETE", f"the stack is {env.status('service')}")
            expect(not env.running_schema_tasks(), "a schema task still runs")
            expect(env.tasks() == before, "the service was touched: its task is another one")
        expect(list(ledger()) == ["002-added.sql", "init.sql"], f"the ledger has {list(ledger())}")
        local("up").succeeded()
    return f"applied in {up.seconds:.0f} s; broken file rolled back in {failed.seconds:.0f} s, {requests.total()} requests answered meanwhile; the reason: {' '.join(reason.split())[:200]} …"


def keeps_the_old_image_when_a_new_one_is_broken() -> str:
    env = Environment()
    live, before = env.digest("live"), env.tasks()
    with traffic(env.url) as requests:
        release = local("release", str(sample("broken", "--exit", "7"))).failed("exited with 7")
    expect(env.digest("live") == live, "live has moved")
    expect(env.tasks() == before, "the old task was replaced")
    expect(set(requests) == {"200 placeholder"}, f"the answers were {dict(requests)}")
    return f"rolled back after {release.seconds:.0f} s, {requests.total()} requests answered meanwhile"


def releases_a_good_image_without_a_failed_request() -> str:
    env = Environment()
    with watched(), traffic(env.url) as requests:
        release = local("release", str(sample("good"))).succeeded()
    expect("200 good" in requests, f"the answers were {dict(requests)}")
    tag = re.search(r"sha-[0-9a-f]{40}", release.output)
    expect(tag, f"no tag in\n{release.output}")
    digest = env.digest(tag[0]) if tag else ""
    after = env.await_live(digest)
    text = page(env)
    expect("TLS" in text and "schema_ledger has" in text and "FLASK_SECRET is set" in text and "put and got" in text, f"the application misses something:\n{text}")
    groups = [g["logGroupName"] for g in env.cloud.all("logs", "describe_log_groups", "logGroups") if "ReleaseHandler" in g["logGroupName"]]
    messages = [e["message"] for g in groups for e in env.cloud.all("logs", "filter_log_events", "events", logGroupName=g)]
    expect(any('"live moved"' in m for m in messages), f"the release function's log does not say that it moved live: {messages[-5:]}")
    return f"released in {release.seconds:.0f} s, live followed {after:.1f} s later, {requests.total()} requests, none failed: {dict(requests)}"


def gives_its_variables_to_a_program_beside_it() -> str:
    local("env").succeeded()
    file = ROOT / ".local/run/application.env"
    expect(file.stat().st_mode & 0o077 == 0, "others may read the file with the secrets")
    variables = dict(line.split("=", 1) for line in file.read_text().splitlines())
    program = ROOT / ".local/sample"
    subprocess.run(["go", "build", "-o", program, "./local/sample"], cwd=ROOT, check=True, capture_output=True)
    port = ports.any_free()
    process = children.start([str(program)], env=variables | {"BIND_ADDR": ports.ADDRESS, "PORT": str(port)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(50):
            with contextlib.suppress(OSError):
                text = get(f"http://{ports.ADDRESS}:{port}/")[1]
                break
            time.sleep(0.1)
        else:
            raise Wrong("the sample application does not answer")
    finally:
        process.terminate()
        children.wait(process)
    expect("schema_ledger has" in text and "FLASK_SECRET is set" in text and "put and got" in text, f"the application misses something:\n{text}")
    return f"{len(variables)} variables, with which a program in the shell reaches the database, the bucket and the secret"


def gives_the_application_a_secret_and_by_one_command_its_new_value() -> str:
    env = Environment()
    manager, values = env.cloud.client("secretsmanager"), [secrets.token_hex(16), secrets.token_hex(16)]
    arn = manager.create_secret(Name="api-key", SecretString=values[0])["ARN"]
    with watched(), changed("config/local.yaml", ("logRetentionDays: 1", f"logRetentionDays: 1\nservice:\n  secrets:\n    API_KEY: {arn}")):
        up = local("up").succeeded()
        expect(held("API_KEY") == {values[0]}, "the application's task does not have the secret's value")
        manager.put_secret_value(SecretId=arn, SecretString=values[1])
        before = env.tasks()
        with traffic(env.url) as requests:
            began = time.monotonic()
            # aws ecs update-service --force-new-deployment, as docs/releases.md has it
            env.cloud.client("ecs").update_service(cluster=env.output("service", "ClusterName"), service=env.output("service", "ServiceName"), forceNewDeployment=True)
            until("the former value is still in use", lambda: held("API_KEY") == {values[1]})
            seconds = time.monotonic() - began
    expect(not set(before) & set(env.tasks()), "the task is the same")
    expect(set(requests) == {"200 good"}, f"the answers were {dict(requests)}: the image changed")
    return f"deployed in {up.seconds:.0f} s; the new value was in use {seconds:.0f} s after the command, {requests.total()} requests, none failed"


def held(variable: str) -> set[str]:
    """What the processes of the emulator's containers have in a variable."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            # The CLI and the emulator itself have no such address.
            environment = process.environ()
            if variable in environment and "BIND_ADDR" in environment:
                found.add(environment[variable])
    return found


def writes_no_secret_anywhere() -> str:
    """Secret values are only where they are used: in Secrets Manager, in environments and in the option file of the schema task.

    Searched is what is written after the values are there. The templates are not: they are written before.
    """
    env = Environment()
    manager, values = env.cloud.client("secretsmanager"), []
    for secret in env.cloud.all("secretsmanager", "list_secrets", "SecretList"):
        for version in manager.list_secret_version_ids(SecretId=secret["ARN"], IncludeDeprecated=True)["Versions"]:
            text = manager.get_secret_value(SecretId=secret["ARN"], VersionId=version["VersionId"])["SecretString"]
            values.append(json.loads(text)["password"] if text.startswith("{") else text)
    expect(len(values) >= 4 and all(len(v) > 20 for v in values), f"{len(values)} values, want at least 4 long ones: the password, FLASK_SECRET, and both of API_KEY")
    for words in ("sh -c # Applies the SQL files", "mysql --defaults-file=", "deploy --all", "infra release"):
        expect(any(words in command for command in commands), f"no command with {words!r} was seen: {len(commands)} were")
    places = {f"command {number}, of {command.split(' ')[0]}": command for number, command in enumerate(commands)}
    for name in STACKS:
        client = env.cloud.client("cloudformation")
        places[f"outputs of {name}"] = json.dumps(client.describe_stacks(StackName=name)["Stacks"], default=str)
        places[f"events of {name}"] = json.dumps(env.cloud.all("cloudformation", "describe_stack_events", "StackEvents", StackName=name), default=str)
    for arn in env.cloud.all("ecs", "list_task_definitions", "taskDefinitionArns"):
        places[f"task definition {arn}"] = json.dumps(env.cloud.client("ecs").describe_task_definition(taskDefinition=arn)["taskDefinition"], default=str)
    for function in env.cloud.all("lambda", "list_functions", "Functions"):
        places[f"function {function['FunctionName']}"] = json.dumps(function, default=str)
    for group in env.cloud.all("logs", "describe_log_groups", "logGroups"):
        events = env.cloud.all("logs", "filter_log_events", "events", logGroupName=group["logGroupName"])
        places[f"log group {group['logGroupName']}"] = "\n".join(e["message"] for e in events)
    state = ROOT / ".local/run"
    for file in (*state.glob("*.log"), *state.glob("containers/*/log"), *state.glob("databases/*/log")):
        places[str(file.relative_to(state))] = file.read_text(errors="replace")
    found = [place for place, text in places.items() if any(value in text for value in values)]
    expect(not found, f"a secret's value is in {found}")
    return f"{len(values)} values, {len(commands)} commands seen, {len(places) - len(commands)} other places: outputs, events, task definitions, functions, logs"


def keeps_the_image_when_the_infrastructure_changes() -> str:
    env = Environment()
    before, live = env.tasks(), env.digest("live")
    with changed("config/local.yaml", ("logRetentionDays: 1", "logRetentionDays: 1\nservice:\n  environment:\n    GREETING: hello")), traffic(env.url) as requests:
        up = local("up").succeeded()
        service = env.service()
        definition = env.cloud.client("ecs").describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
        [container] = definition["containerDefinitions"]
        expect({"name": "GREETING", "value": "hello"} in container["environment"], "the new variable is not in the task definition in use")
        expect(container["image"].endswith(":live"), f"CloudFormation's task definition names {container['image']}")
        expect(env.tasks() != before, "the service was not updated")
    expect(set(requests) == {"200 good"}, f"the answers were {dict(requests)}: the image changed")
    expect(env.digest("live") == live, "live has moved")
    local("up").succeeded()
    return f"deployed in {up.seconds:.0f} s, {requests.total()} requests, all answered by the released image"


def leaves_nothing_when_it_is_destroyed() -> str:
    env = Environment()
    bucket = env.output("data", "S3BucketName")
    for content in (b"one", b"two"):
        env.cloud.client("s3").put_object(Bucket=bucket, Key="photo", Body=content)
    env.cloud.client("secretsmanager").delete_secret(SecretId="api-key", ForceDeleteWithoutRecovery=True)  # not the stacks' own
    down = local("down").succeeded()
    expect(read_target() is None, "the emulator's record is still there")
    expect(not processes(), f"processes are left: {processes()}")
    return f"destroyed in {down.seconds:.0f} s: stacks, bucket with versions, images, functions, log groups, processes"


def protects_what_is_retained() -> str:
    with changed("config/local.yaml", ("retain: false", "retain: true")):
        local("up").succeeded()
        env = Environment()
        cloud = env.cloud
        bucket, repository = env.output("data", "S3BucketName"), env.output("data", "RepositoryUri").split("/", 1)[1]
        secrets = {r["PhysicalResourceId"] for r in cloud.resources(f"{PREFIX}-data") if r["ResourceType"] == "AWS::SecretsManager::Secret"}
        database = cloud.resource(f"{PREFIX}-data", "AWS::RDS::DBInstance", "Database")
        protected = [name for name, stack in cloud.stacks().items() if stack.get("EnableTerminationProtection")]
        expect(sorted(protected) == sorted(STACKS[:2]), f"termination protection is on for {protected}")
        refused = local("cdk", "destroy", "--all", "--force").failed("TerminationProtection")

        # What docs/architecture.md says of removing them all the same: the database's own protection comes next.
        for name in protected:
            cloud.client("cloudformation").update_termination_protection(StackName=name, EnableTerminationProtection=False)
        local("cdk", "destroy", "--all", "--force").failed()
        expect("protect" in env.failure("data", "AWS::RDS::DBInstance"), "the database's protection is not why")
        databases = [d["DBInstanceIdentifier"] for d in cloud.all("rds", "describe_db_instances", "DBInstances")]
        expect(database in databases, "the protected database is gone")
        expect(bucket in [b["Name"] for b in cloud.client("s3").list_buckets()["Buckets"]], "the bucket is gone")
        expect(repository in [r["repositoryName"] for r in cloud.all("ecr", "describe_repositories", "repositories")], "the repository is gone")
        kept = {s["ARN"] for s in cloud.all("secretsmanager", "list_secrets", "SecretList")}
        expect(secrets <= kept, f"secrets are gone: {secrets - kept}")
    return f"destroy refused in {refused.seconds:.0f} s; bucket, repository, {len(secrets)} secrets and the database outlive the stacks"


def starts_from_zero_after_the_emulator_was_killed() -> str:
    os.kill(Environment().target.pid, signal.SIGKILL)
    time.sleep(2)
    expect(not processes(), f"processes outlive the emulator: {processes()}")
    up = local("up").succeeded()
    expect("starting from zero" in up.output, f"the run does not say that it starts from zero:\n{up.output}")
    page(Environment())
    local("down", "--force").succeeded()
    return f"its containers, functions and database ended with it; the next run said so and was up after {up.seconds:.0f} s"


def first_deploys_with_a_command_and_a_redirecting_health_check() -> str:
    service = "logRetentionDays: 1\nservice:\n  healthCheckPath: /accounts/login\n  healthCheckCodes: '302'\n  command: [gunicorn, --bind, '0.0.0.0:5000', 'app:app']\n  environment:\n    PORT: 5000"
    with changed("config/local.yaml", ("logRetentionDays: 1", service)):
        up = local("up").succeeded()
        env = Environment()
        for path in ("", "/accounts/login"):
            status, text = get(env.url + path)
            expect(status == 302 and "The environment is up" in text, f"{path or '/'} answers {status}: {text[:200]}")
        definition = env.cloud.client("ecs").describe_task_definition(taskDefinition=env.service()["taskDefinition"])["taskDefinition"]
        [container] = definition["containerDefinitions"]
        expect(container.get("command", [""])[0] == "gunicorn", f"the container's command is {container.get('command')}")
    return f"up in {up.seconds:.0f} s: the placeholder answers 302 in the place of gunicorn"


def changes_the_port_under_load() -> str:
    local("up").succeeded()  # without the command: the sample has none of that name
    env = Environment()
    local("release", str(sample("good"))).succeeded()
    env.await_live(env.digest("live"))
    with changed("config/local.yaml", ("logRetentionDays: 1", "logRetentionDays: 1\nservice:\n  containerPort: 8000")), traffic(env.url) as requests:
        up = local("up").succeeded()
        expect(env.service()["loadBalancers"][0]["containerPort"] == 8000, "the service has another port")
    expect(set(requests) == {"200 good"}, f"the answers were {dict(requests)}")
    back = local("up").succeeded()
    page(env)
    return f"5000 → 8000 in {up.seconds:.0f} s, {requests.total()} requests, none failed; back in {back.seconds:.0f} s"


def keeps_every_object_and_image_when_it_is_retained_later() -> str:
    env = Environment()
    client = env.cloud.client("s3")
    bucket, repository = env.output("data", "S3BucketName"), env.output("data", "RepositoryUri").split("/", 1)[1]
    for key in ("photos/a.png", "photos/b.png"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    before = stored(env, bucket, repository)
    with changed("config/local.yaml", ("retain: false", "retain: true")):
        up = local("up").succeeded()
        expect(stored(env, bucket, repository) == before, f"there was {before}, and is {stored(env, bucket, repository)}")
    local("down", "--force").succeeded()
    return f"false → true in {up.seconds:.0f} s: {len(before[0])} objects and {len(before[1])} images are still there"


def stored(env: Environment, bucket: str, repository: str) -> tuple[list[str], list[str]]:
    """The keys of the bucket and the digests of the repository."""
    objects = env.cloud.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    images = env.cloud.all("ecr", "list_images", "imageIds", repositoryName=repository)
    return sorted(o["Key"] for o in objects), sorted({i["imageDigest"] for i in images})


def leaves_no_process_when_it_is_interrupted() -> str:
    codes = []
    for moment in ("the emulator runs", "data: deploying"):
        command = children.start([sys.executable, "-m", "local", "up"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        expect(any(moment.encode() in line for line in children.output(command)), f"no line with {moment!r}")
        command.send_signal(signal.SIGINT)
        command.wait(timeout=60)
        codes.append(children.wait(command))
        expect(not processes(), f"processes are left after a Ctrl-C at {moment!r}: {processes()}")
    expect(codes == [130, 130], f"exit codes {codes}, want 130")
    return "at the start and in the middle of the deploy: exit code 130, no process left"


STEPS = [
    deploys_everything, applied_the_schema, answers_with_the_placeholder, deploys_again_without_a_change, stops_a_wrong_configuration_before_anything_is_sent,
    applies_a_new_schema_file_once, keeps_the_old_image_when_a_new_one_is_broken, releases_a_good_image_without_a_failed_request,
    gives_its_variables_to_a_program_beside_it, gives_the_application_a_secret_and_by_one_command_its_new_value, writes_no_secret_anywhere, keeps_the_image_when_the_infrastructure_changes, leaves_nothing_when_it_is_destroyed, protects_what_is_retained,
    starts_from_zero_after_the_emulator_was_killed, first_deploys_with_a_command_and_a_redirecting_health_check, changes_the_port_under_load,
    keeps_every_object_and_image_when_it_is_retained_later, leaves_no_process_when_it_is_interrupted,
]


def processes() -> list[str]:
    """The processes that were started for this copy's emulator."""
    found, state = [], str(ROOT / ".local/run")
    for process in psutil.process_iter(["pid", "cmdline"]):
        with contextlib.suppress(psutil.Error):
            # A container's process may have neither the emulator's variables nor a path of this folder in its command.
            if process.environ().get("LOCAL_STATE") == state or any(state in text for text in (process.cwd(), *(process.info["cmdline"] or []))):
                found.append(f"{process.info['pid']} {' '.join(process.info['cmdline'] or [])[:120]}")
    return found


def play(name: str, steps: Sequence[Callable[[], str]], bound: float) -> int:
    """Runs steps in their order, says what each measured, and ends with the first that fails. The bound is in seconds."""
    interrupts.install()
    began = time.monotonic()
    try:
        for number, step in enumerate(steps, 1):
            at = time.monotonic()
            print(f"{number:2} of {len(steps)}  {words(step)} …", flush=True)
            figures = step()
            print(f"          {time.monotonic() - at:.0f} s  {figures}", flush=True)
        total = time.monotonic() - began
        expect(total <= bound, f"the test took {total:.0f} s, the bound is {bound:.0f} s")
    except Wrong as wrong:
        print(f"\nmake {name}: {words(step)}: {wrong}\nThe copy of the project stays in {ROOT}, the logs in its folder .local.", file=sys.stderr)
        return 1
    except Interrupted:
        return interrupts.EXIT_CODE
    finally:
        # However the test ended. Otherwise an emulator would go on that no command finds: the next test removes its folder.
        with interrupts.held():
            children.end_all()
            for log in (EMULATOR_LOG, CLI_LOG):
                if log.exists():
                    shutil.copy(log, ROOT / ".local")
            local("down", "--force")
    print(f"\n{len(steps)} passed, 0 failed\nfigure: {len(steps)} steps of make {name} passed in {total:.0f} s")
    return 0


def words(step: Callable[[], str]) -> str:
    return getattr(step, "__name__", "step").replace("_", " ")


if __name__ == "__main__":
    sys.exit(play("local-test", STEPS, MAX_TEST_SECONDS))
