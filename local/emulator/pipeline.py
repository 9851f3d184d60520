"""CodePipeline's job results, which ministack has no API for.

The pipeline itself is only declared. `make local-release` does what its stage Deploy does: it registers a job here, invokes the
release function with it, as CodePipeline does, and reads the result.
"""

from __future__ import annotations

import json
from typing import Any

TARGET = "CodePipeline_20150709."

Job = dict[str, Any]
_jobs: dict[str, Job] = {}


def create(job_id: str, data: Job) -> None:
    _jobs[job_id] = {"status": "InProgress", "data": data}


def read(job_id: str) -> Job | None:
    return _jobs.get(job_id)


def handle(operation: str, body: bytes) -> tuple[int, Job]:
    """An API call: the status and the JSON of its answer."""
    data = json.loads(body or b"{}")
    job = _jobs.get(data.get("jobId", ""))
    if operation not in ("PutJobSuccessResult", "PutJobFailureResult"):
        return 400, {"__type": "InvalidActionException", "message": f"the local target has no CodePipeline API {operation}: the pipeline is only declared"}
    if job is None:
        return 400, {"__type": "JobNotFoundException", "message": f"The job was specified in an invalid format or cannot be found: {data.get('jobId')}"}
    if job["status"] != "InProgress" or job.get("continuationToken"):
        return 400, {"__type": "InvalidJobStateException", "message": f"The job has ended: {job['status']}"}
    if operation == "PutJobFailureResult":
        job |= {"status": "Failed", "message": data["failureDetails"]["message"]}
    else:
        details = data.get("executionDetails") or {}
        token = data.get("continuationToken")  # with it, the action goes on with a new job
        job |= {
            "status": "InProgress" if token else "Succeeded", "continuationToken": token, "summary": details.get("summary"),
            "externalExecutionId": details.get("externalExecutionId"),
        }
    return 200, {}
