"""Tests of the commands' own parts, without an emulator: python -m unittest local.tests.test_driver"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import psutil

from local import children, interrupts, logs, ports, release, report, server, settings
from local.failure import Failure
from local.progress import SILENCE_SECONDS, Progress
from local.target import Target

# Serves 200 on the port of its argument.
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Ports(unittest.TestCase):
    def test_takes_the_preferred_ones_that_are_free(self) -> None:
        others = iter([8081, 9001, 9002])
        chosen = ports.choose([4566, 8080, 8081], free=lambda p: p not in (8080, 9001), other=lambda: next(others))
        # 8081 is taken in place of 8080, and is then no longer there for itself.
        self.assertEqual(chosen, [4566, 8081, 9002])

    def test_a_port_with_a_listener_is_not_free(self) -> None:
        with socket.create_server((ports.ADDRESS, 0)) as listener:
            port = listener.getsockname()[1]
            self.assertFalse(ports.is_free(port))
        self.assertTrue(ports.is_free(port))


class Machine(unittest.TestCase):
    def test_says_which_key_to_set_on_another_processor(self) -> None:
        with self.assertRaisesRegex(Failure, r"set architecture: ARM64 in config/local\.yaml"):
            settings.check_machine(settings.Settings("p", "us-east-1", "X86_64"), "Linux", "aarch64")
        settings.check_machine(settings.Settings("p", "us-east-1", "ARM64"), "Linux", "aarch64")

    def test_runs_on_linux_only(self) -> None:
        with self.assertRaisesRegex(Failure, "Linux only.*this is Darwin"):
            settings.check_machine(settings.Settings("p", "us-east-1", "ARM64"), "Darwin", "arm64")

    def test_a_broken_file_is_named_with_its_fault(self) -> None:
        for text, fault in (("a: [", "cannot be read"), ("", "holds no keys"), ("project: 1\nregion: x", "project is 1, want a text")):
            with self.subTest(text), tempfile.TemporaryDirectory() as root:
                (Path(root) / "config").mkdir()
                (Path(root) / "config/local.yaml").write_text(text)
                with self.assertRaisesRegex(Failure, f"config/local.yaml.*{fault}"):
                    settings.load(Path(root))


class State(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        root = Path(folder.name)
        self.state = root / ".local/run"
        self.state.mkdir(parents=True)
        places = {"ROOT": root, "STATE": self.state, "RECORD": self.state / "target.json", "EMULATOR_LOG": self.state / "emulator.log", "LAST_LOG": root / ".local/last.log"}
        for module in ("local.server", "local.target"):
            for name, value in places.items():
                patch = mock.patch(f"{module}.{name}", value, create=True)
                patch.start()
                self.addCleanup(patch.stop)

    def child(self, *arguments: str) -> subprocess.Popen[bytes]:
        started = subprocess.Popen([sys.executable, *arguments], env=dict(os.environ) | {"LOCAL_STATE": str(self.state)}, start_new_session=True)
        self.addCleanup(started.wait)
        self.addCleanup(started.kill)
        return started

    def test_the_state_of_a_dead_emulator_is_removed_with_a_word_and_its_log_kept(self) -> None:
        dead = subprocess.Popen(["true"])
        dead.wait()
        Target(dead.pid, "us-east-1", 1, [2, 3]).write()
        (self.state / "emulator.log").write_text("the end")
        self.assertIsNone(server.find())
        said = server.remove_stale()
        self.assertRegex(said or "", rf"started .* \(process {dead.pid}\) is gone, its state with it: starting from zero")
        self.assertFalse(self.state.exists())
        self.assertEqual(server.LAST_LOG.read_text(), "the end")

    def test_nothing_is_said_where_nothing_ran(self) -> None:
        self.assertIsNone(server.remove_stale())
        self.assertFalse(self.state.exists())

    def test_another_process_with_the_number_is_not_the_emulator(self) -> None:
        Target(os.getpid(), "us-east-1", 1, [2, 3]).write()  # without LOCAL_STATE in its environment
        self.assertIsNone(server.find())

    def test_an_emulator_is_ready_only_on_a_port_of_its_own(self) -> None:
        mine, theirs = ports.any_free(), ports.any_free()
        emulator, other = self.child("-c", SERVER, str(mine)), self.child("-c", SERVER, str(theirs))
        limit = time.monotonic() + 10
        while not (ready := server.is_ready(Target(emulator.pid, "us-east-1", mine, []))) or not server.is_ready(Target(other.pid, "us-east-1", theirs, [])):
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.05)
        self.assertTrue(ready)
        # Both answer, and this port is the other one's.
        self.assertFalse(server.is_ready(Target(emulator.pid, "us-east-1", theirs, [])))

    def test_a_port_that_was_lost_is_chosen_again(self) -> None:
        taken = socket.create_server((ports.ADDRESS, 0))
        self.addCleanup(taken.close)
        first, second = [taken.getsockname()[1], 2, 3], [4, 5, 6]
        launched: list[list[int]] = []

        def launch(region: str, chosen: list[int]) -> tuple[None, str]:
            launched.append(chosen)
            return None, f"target of {chosen}"

        with mock.patch("local.ports.choose", side_effect=[first, second]), mock.patch("local.server.launch", launch), \
                mock.patch("local.server.watch", side_effect=["it ended", None]), mock.patch("local.server.mariadb", return_value=Path("/")), \
                mock.patch.object(Path, "exists", return_value=True):
            self.assertEqual(server.start("us-east-1"), "target of [4, 5, 6]")
        self.assertEqual(launched, [first, second])


class Processes(unittest.TestCase):
    def test_one_that_does_not_end_when_asked_is_ended_with_what_it_started(self) -> None:
        stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
        parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {stubborn!r}], start_new_session=True); {stubborn}"
        child = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, start_new_session=True)
        assert child.stdout is not None
        for _ in range(2):
            child.stdout.readline()
        root = psutil.Process(child.pid)
        family = [root, *children.descendants(root)]
        self.assertEqual(len(family), 2)
        ended = children.end(root, patience=0.2)
        self.assertEqual(set(ended), set(family))
        self.assertFalse([p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])
        child.stdout.close()
        child.wait()

    def test_a_signal_waits_until_a_block_has_ended(self) -> None:
        before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        self.addCleanup(lambda: [signal.signal(n, handler) for n, handler in before.items()])
        interrupts.install()
        steps = []
        with self.assertRaises(interrupts.Interrupted):
            with interrupts.held():
                with interrupts.held():
                    os.kill(os.getpid(), signal.SIGTERM)
                    steps.append("inner")
                steps.append("outer")
            steps.append("never")
        self.assertEqual(steps, ["inner", "outer"])


class CLI(unittest.TestCase):
    def setUp(self) -> None:
        self.said: list[str] = []
        self.time = 0.0
        self.progress = Progress(self.said.append, "flask-app-local-", now=lambda: self.time)

    def read(self, text: str) -> None:
        for line in text.splitlines():
            self.progress.line(line)

    def test_tells_stacks_and_not_resources(self) -> None:
        self.read("""\
✨  Synthesis time: 1.72s
flask-app-local-data: start: Building flask-app-local-data Template
local/Data (flask-app-local-data): deploying... [2/4]
flask-app-local-data |  0/20 | 12:05:48 PM | CREATE_IN_PROGRESS      | AWS::S3::Bucket            | local/Data/Bucket (Bucket83908E77) 
flask-app-local-data |  1/20 | 12:05:49 PM | CREATE_COMPLETE         | AWS::S3::Bucket            | local/Data/Bucket (Bucket83908E77) 

 ✅  local/Data (flask-app-local-data)
 ✅  local/Service (flask-app-local-service) (no changes)
Outputs:
localData75294E55.RdsEndpoint = 127.1.0.11""")
        self.assertEqual(self.said, ["data: deploying", "data: deployed, 1 resource changed", "service: no changes"])

    def test_says_what_is_waited_for(self) -> None:
        self.read("""\
local/Data (flask-app-local-data): deploying... [2/4]
flask-app-local-data |  1/20 | 12:05:49 PM | CREATE_COMPLETE         | AWS::S3::Bucket            | local/Data/Bucket (Bucket83908E77) 
flask-app-local-data |  1/20 | 12:05:48 PM | CREATE_IN_PROGRESS      | AWS::S3::Bucket            | local/Data/Bucket (Bucket83908E77) 
flask-app-local-data |  1/20 | 12:05:48 PM | CREATE_IN_PROGRESS      | AWS::RDS::DBInstance       | local/Data/Database (Database12345678) """)
        self.progress.tick()
        self.assertEqual(self.said[1:], [])
        self.time = SILENCE_SECONDS
        self.progress.tick()
        # The bucket's events came in the wrong order, as they do.
        self.assertEqual(self.said[1:], ["data: 1/20, waits for local/Data/Database"])

    def test_tells_all_of_a_failure(self) -> None:
        failed = "flask-app-local-data | 12:06:26 PM | CREATE_FAILED           | AWS::S3::Bucket | local/Data/Bucket (Bucket83908E77) is taken"
        self.read(f"""\
local/Data (flask-app-local-data): deploying... [2/4]
flask-app-local-data |  1/20 | 12:06:26 PM | CREATE_FAILED           | AWS::S3::Bucket | local/Data/Bucket (Bucket83908E77) is taken
flask-app-local-data |  1/20 | 12:06:27 PM | ROLLBACK_IN_PROGRESS    | AWS::CloudFormation::Stack | flask-app-local-data

Failed resources:
{failed}
 ❌  flask-app-local-data failed to deploy
‣ DeploymentError: Resource updates failed:""")
        self.assertEqual(self.said[1:3], ["data: CREATE_FAILED AWS::S3::Bucket local/Data/Bucket (Bucket83908E77) is taken", "data: ROLLBACK_IN_PROGRESS"])
        self.assertEqual(self.said[3:], ["Failed resources:", failed, " ❌  flask-app-local-data failed to deploy", "‣ DeploymentError: Resource updates failed:"])
        self.assertTrue(self.progress.said_why)


class Report(unittest.TestCase):
    def test_counts_resources_and_types_of_each_kind(self) -> None:
        listed = {"A": "real", "B": "declared", "Custom::X": "real"}
        self.assertEqual(report.kind_lines(["B", "A", "A", "Custom::X", "C"], listed), [
            "  3 (types:  2) are real: they do here what they do in AWS",
            "  1 (types:  1) are only declared: nothing of them is there",
            "  1 (types:  1) are unknown to the emulator's list",
        ])

    def test_titles_stand_in_one_column(self) -> None:
        self.assertEqual(report.table([("a", "x"), ("", "y"), ("long", "z"), ("", "")]), "  a     x\n        y\n  long  z\n")


class Logs(unittest.TestCase):
    GROUPS = ["/ecs/app", "/ecs/app-schema", "/aws/Release"]

    def test_a_name_or_a_part_of_one_only(self) -> None:
        self.assertEqual(logs.choose("/ecs/app", self.GROUPS), "/ecs/app")
        self.assertEqual(logs.choose("release", self.GROUPS), "/aws/Release")
        with self.assertRaisesRegex(Failure, "ecs is part of several; there are\n  /ecs/app\n  /ecs/app-schema$"):
            logs.choose("ecs", self.GROUPS)
        with self.assertRaisesRegex(Failure, "x is no log group"):
            logs.choose("x", self.GROUPS)


class Tag(unittest.TestCase):
    def test_is_that_of_the_content(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "one").mkdir()
            (folder / "one/index.json").write_text("{}")
            first = release.content_tag(folder / "one")
            self.assertRegex(first, "^sha-[0-9a-f]{40}$")
            (folder / "one").rename(folder / "two")
            self.assertEqual(release.content_tag(folder / "two"), first)
            (folder / "two/index.json").write_text("{ }")
            self.assertNotEqual(release.content_tag(folder / "two"), first)


if __name__ == "__main__":
    unittest.main()
