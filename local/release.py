"""A release as the pipeline makes it, from the image on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import children, server
from local.aws import Cloud
from local.failure import Failure
from local.settings import ACCOUNT, ENV, Settings
from local.target import ROOT, Target, client_environment

PUSHER = ROOT / "bin/local-image"
INFRA = ROOT / "bin/infra"

IMAGES = ("IMAGE is an OCI archive, an OCI layout folder or what `docker save` wrote; "
          "the project's sample application is made by `bin/local-image sample --out .local/sample.tar`")

# How long the Release action is called again after the deploy action failed: a deployment that ECS rolls back it sees itself.
GRACE_SECONDS = 60
# CodePipeline calls an action again after some 30 s.
PAUSE_SECONDS = 2

# What `infra release` says when it has nothing to do.
NOTHING_TO_DO = "This image runs already"


def content_tag(image: Path) -> str:
    """The tag sha-<40 hex digits> of an image, from the bytes of its archive or folder, as the pipeline's is from the commit."""
    digest = hashlib.sha256()
    files = sorted(p for p in image.rglob("*") if p.is_file()) if image.is_dir() else [image]
    for file in files:
        if image.is_dir():
            digest.update(f"{file.relative_to(image)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    return f"sha-{digest.hexdigest()[:40]}"


@dataclass(frozen=True)
class Pipeline:
    """The parts of the stacks that a release needs."""

    repository_uri: str
    artifacts: str  # bucket
    function: str
    container: str

    @property
    def repository(self) -> str:
        return self.repository_uri.split("/", 1)[1]


def read_pipeline(cloud: Cloud, settings: Settings) -> Pipeline:
    stack = settings.stack("pipeline")
    function = cloud.resource(stack, "AWS::Lambda::Function", "ReleaseHandler")
    variables = cloud.client("lambda").get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    return Pipeline(
        repository_uri=cloud.outputs(settings.stack("data"))["RepositoryUri"],
        artifacts=cloud.resource(stack, "AWS::S3::Bucket", "Artifacts"),
        function=function,
        container=variables["CONTAINER_NAME"],
    )


def push(target: Target, pipeline: Pipeline, image: Path, tag: str) -> str:
    """Pushes the image and returns its digest."""
    arguments = [str(PUSHER), "push", "--registry", target.url, "--repository", pipeline.repository, "--tag", tag]
    if os.geteuid() != 0:
        arguments.append("--static-only")  # nobody else may change the root of a process
    child = children.start([*arguments, str(image)], cwd=ROOT, env=client_environment(target.region, target.url), stdout=subprocess.PIPE)
    digest = children.output(child).read().decode().strip()
    if children.wait(child):
        raise Failure(f"{image} was not pushed: see above. Nothing was deployed.")
    return digest


def write_artifact(cloud: Cloud, pipeline: Pipeline, uri: str) -> str:
    """Writes what the build hands on, and returns its key in the bucket."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("imagedefinitions.json", json.dumps([{"name": pipeline.container, "imageUri": uri}]))
    key = f"local-release/Image/{uuid.uuid4().hex[:7]}.zip"
    cloud.client("s3").put_object(Bucket=pipeline.artifacts, Key=key, Body=content.getvalue())
    return key


def job(pipeline: Pipeline, key: str, token: str | None) -> dict[str, Any]:
    """A job as CodePipeline hands it to a function:
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-Lambda.html"""
    data: dict[str, Any] = {
        "actionConfiguration": {"configuration": {"FunctionName": pipeline.function}},
        "inputArtifacts": [{"name": "Image", "revision": None, "location": {"type": "S3", "s3Location": {"bucketName": pipeline.artifacts, "objectKey": key}}}],
        "outputArtifacts": [],
        "artifactCredentials": {"accessKeyId": "test", "secretAccessKey": "test", "sessionToken": "test"},
    }
    if token is not None:
        data["continuationToken"] = token
    return {"id": str(uuid.uuid4()), "accountId": ACCOUNT, "data": data}


class Actions:
    """The two actions of the pipeline's stage Deploy, side by side."""

    def __init__(self, target: Target, cloud: Cloud, pipeline: Pipeline, say: Callable[[str], None]) -> None:
        self._target, self._cloud, self._pipeline, self._say = target, cloud, pipeline, say
        self._lines: list[str] = []

    def run(self, tag: str, key: str) -> bool:
        """Returns whether both have succeeded."""
        deploy = children.start([str(INFRA), "release", "--env", ENV, "--yes", tag], cwd=ROOT, env=client_environment(self._target.region, self._target.url),
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        reader = threading.Thread(target=self._read, args=(deploy,), daemon=True)
        reader.start()
        released = self._release(key, deploy)
        code = children.wait(deploy)
        reader.join(timeout=5)
        if self.nothing_to_do and code == 0:
            return True
        self._tell("Deploy ", "succeeded" if code == 0 else f"failed with exit code {code}")
        self._tell("Release", "succeeded" if released else "failed")
        return code == 0 and released

    @property
    def nothing_to_do(self) -> bool:
        return any(NOTHING_TO_DO in line for line in self._lines)

    def _read(self, deploy: subprocess.Popen[bytes]) -> None:
        for line in children.output(deploy):
            text = line.decode(errors="replace").rstrip()
            self._lines.append(text)
            self._tell("Deploy ", text)

    def _release(self, key: str, deploy: subprocess.Popen[bytes]) -> bool:
        """Calls the function until the action has ended, as CodePipeline does: each time with a new job."""
        token: str | None = None
        said = None
        deploy_failed: float | None = None
        while True:
            answer = self._call(job(self._pipeline, key, token))
            status, text = answer.get("status"), answer.get("message") or answer.get("summary")
            if text and text != said:
                self._tell("Release", text)
                said = text
            if status in ("Succeeded", "Failed"):
                return bool(status == "Succeeded")
            token = answer.get("continuationToken")
            if status != "InProgress" or token is None:
                self._tell("Release", f"the function did not answer its job, whose status is {status}; {self._see_log()}")
                return False
            for _ in range(PAUSE_SECONDS * 10):
                code = deploy.poll()
                if code == 0 and self.nothing_to_do:
                    return True  # no deployment begins, and the action would wait for one
                if code and deploy_failed is None:
                    deploy_failed = time.monotonic()
                time.sleep(0.1)
            if deploy_failed is not None and time.monotonic() - deploy_failed > GRACE_SECONDS:
                self._tell("Release", f"no longer followed, {GRACE_SECONDS} s after the Deploy action failed")
                return False

    def _call(self, of: dict[str, Any]) -> dict[str, Any]:
        url = f"{self._target.url}/_local/jobs/{of['id']}"
        request = urllib.request.Request(url, method="PUT", data=json.dumps(of["data"]).encode(), headers={"Content-Type": "application/json"})
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()
        except urllib.error.URLError as error:
            raise Failure(f"PUT {url}: {error}: the emulator does not take the job; see .local/run/emulator.log") from None
        answer = self._cloud.client("lambda").invoke(FunctionName=self._pipeline.function, Payload=json.dumps({"CodePipeline.job": of}).encode())
        payload = answer["Payload"].read().decode(errors="replace")
        if answer.get("FunctionError"):
            return {"status": "Failed", "message": f"the function ended with an error: {payload}; {self._see_log()}"}
        result: dict[str, Any] = server.get(url)
        return result

    def _tell(self, action: str, text: str) -> None:
        # The name of the repository is long, and the same in every line.
        self._say(f"{action}  {text.replace(self._pipeline.repository_uri + ':', '')}".rstrip())

    def _see_log(self) -> str:
        return "its log: make local-logs ARGS=Release"


def release(target: Target, settings: Settings, image: Path, say: Callable[[str], None]) -> bool:
    if not image.exists():
        raise Failure(f"there is no {image}; {IMAGES}")
    cloud = Cloud(target)
    pipeline = read_pipeline(cloud, settings)
    tag = content_tag(image)
    digest = push(target, pipeline, image, tag)
    uri = f"{pipeline.repository_uri}:{tag}"
    say(f"Build    pushed {digest} as {tag}")
    key = write_artifact(cloud, pipeline, uri)
    return Actions(target, cloud, pipeline, say).run(tag, key)
