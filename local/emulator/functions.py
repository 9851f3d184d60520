"""Lambda: the functions run as they are, in this machine's Node.js or as the binaries that they are."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import cloudwatch_logs, lambda_svc

from . import processes


def install() -> None:
    # A late line of a function's log makes its log group anew after a destroy. Here no role may create log groups.
    emit = lambda_svc._emit_lambda_logs

    def into_existing(function: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        group = ((function.get("config") or function).get("LoggingConfig") or {}).get("LogGroup")
        if group is None or group in cloudwatch_logs._log_groups:
            emit(function, *args, **kwargs)

    lambda_svc._emit_lambda_logs = into_existing

    # The processes of functions outlive an emulator that is killed.
    lambda_runtime.subprocess = SimpleNamespace(**vars(subprocess) | {"Popen": processes.popen})
