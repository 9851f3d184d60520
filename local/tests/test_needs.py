"""Each fault of ministack that local/emulator mends is still there.

A test that fails after a new version of ministack names what can be removed. Nothing of local/emulator is imported.
"""

import asyncio
import inspect
import json
import unittest
from typing import Any

import ministack.app
from ministack.core import lambda_runtime
from ministack.core.responses import request_scope
from ministack.services import alb, cloudwatch_logs, ec2, ecr, ecs, lambda_svc, rds, s3, secretsmanager
from ministack.services.cloudformation import provisioners, stacks

HANDLERS = provisioners._RESOURCE_HANDLERS


def create(kind: str, props: dict[str, Any], logical_id: str = "It", stack: str = "stack") -> Any:
    return HANDLERS[kind]["create"](logical_id, props, stack)


class Needs(unittest.TestCase):
    def setUp(self) -> None:
        scope = request_scope("000000000000", "us-east-1")
        scope.__enter__()
        self.addCleanup(scope.__exit__, None, None, None)

    def gone(self, what: str, where: str) -> str:
        return f"ministack does it right now: {what}. Remove the mend from local/emulator/{where}"

    def test_types_are_missing(self) -> None:
        for kind in (
            "AWS::EC2::EIP", "AWS::EC2::NatGateway", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress", "AWS::IAM::RolePolicy",
            "AWS::CodeConnections::Connection", "AWS::CodePipeline::Pipeline",
        ):
            self.assertNotIn(kind, HANDLERS, self.gone(kind, "resources.py"))

    def test_codepipeline_has_no_api(self) -> None:
        self.assertNotIn("codepipeline", ministack.app.SERVICE_REGISTRY, self.gone("CodePipeline's API", "pipeline.py"))

    def test_a_containers_secrets_and_dependencies_keep_cloudformations_spelling(self) -> None:
        [container] = provisioners._normalize_container_defs([{"Name": "c", "Secrets": [{"Name": "N"}], "DependsOn": [{"Condition": "SUCCESS"}]}])
        self.assertEqual(([{"Name": "N"}], [{"Condition": "SUCCESS"}]), (container["secrets"], container["dependsOn"]), self.gone("container definitions", "ecs.py"))

    def test_a_task_definitions_platform_is_dropped(self) -> None:
        arn, _ = create("AWS::ECS::TaskDefinition", {"Family": "f", "RuntimePlatform": {"CpuArchitecture": "ARM64"}, "ContainerDefinitions": []})
        self.assertNotIn("runtimePlatform", ecs._task_defs[arn.rsplit("/", 1)[-1]], self.gone("runtimePlatform", "ecs.py"))

    def test_entry_point_working_directory_volumes_and_stop_timeout_are_ignored(self) -> None:
        container = {
            "name": "c", "image": "i", "entryPoint": ["e"], "workingDirectory": "/w", "stopTimeout": 9, "mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}],
        }
        arguments = ecs._build_run_kwargs(container, {"volumes": [{"name": "v"}]}, {}, {}, None, False, "id", "arn", None, "cluster")
        for key in ("entrypoint", "working_dir", "volumes", "stop_timeout"):
            self.assertNotIn(key, arguments, self.gone(key, "ecs.py"))

    def test_dependencies_between_containers_are_ignored(self) -> None:
        self.assertNotIn("dependsOn", inspect.getsource(ecs), self.gone("dependsOn", "ecs.py"))

    def test_a_task_that_is_stopped_has_ended_with_0(self) -> None:
        arn = "arn:aws:ecs:us-east-1:000000000000:task/c/t"
        ecs._tasks[arn] = {
            "taskArn": arn, "clusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/c", "lastStatus": "RUNNING", "desiredStatus": "RUNNING", "containers": [{"name": "c"}],
        }
        self.addCleanup(ecs._tasks.pop, arn)
        ecs._stop_task({"task": arn, "cluster": "c"})
        self.assertEqual(0, ecs._tasks[arn]["containers"][0]["exitCode"], self.gone("exit codes", "ecs.py"))

    def test_no_health_check_is_made(self) -> None:
        self.assertNotIn("HealthCheckPath", inspect.getsource(ecs), self.gone("health checks of a service's tasks", "ecs.py"))

    def test_a_first_deployment_is_completed_from_the_start(self) -> None:
        self.assertEqual("COMPLETED", ecs._make_deployment("f:1", 1)["rolloutState"], self.gone("a new service's deployment", "deployments.py"))

    def test_there_are_no_service_deployments(self) -> None:
        for answer in (ecs._list_service_deployments({}), ecs._describe_service_deployments({}), ecs._describe_service_revisions({})):
            self.assertIn([], json.loads(answer[2]).values(), self.gone("service deployments", "deployments.py"))

    def test_deployments_are_not_announced(self) -> None:
        self.assertNotIn("Deployment State Change", inspect.getsource(ecs), self.gone("ECS's events", "deployments.py"))

    def test_a_services_grace_period_is_ignored_at_its_creation(self) -> None:
        self.assertNotIn("healthCheckGracePeriodSeconds", inspect.getsource(provisioners._ecs_service_create), self.gone("the grace period", "ecs.py"))

    def test_ecs_exec_is_ignored_at_a_services_creation(self) -> None:
        self.assertNotIn("enableExecuteCommand", inspect.getsource(provisioners._ecs_service_create), self.gone("ECS Exec", "ecs.py"))

    def test_an_image_that_is_not_found_asks_for_the_docker_sdk(self) -> None:
        self.assertIn("from docker.errors import", inspect.getsource(ecs._run_docker_container), self.gone("images that are not found", "ecs.py"))

    def test_functions_outlive_an_emulator_that_is_killed(self) -> None:
        self.assertNotIn("preexec_fn", inspect.getsource(lambda_runtime), self.gone("processes of functions", "functions.py"))

    def test_a_stopped_database_is_only_a_state(self) -> None:
        for operation in (rds._stop_db_instance, rds._start_db_instance):
            self.assertNotIn("container", inspect.getsource(operation), self.gone("stopping and starting databases", "databases.py"))

    def test_cloudformation_waits_for_no_service_and_no_database(self) -> None:
        for kind in ("AWS::ECS::Service", "AWS::RDS::DBInstance"):
            self.assertFalse(stacks._runs_on_worker_thread(kind), self.gone(f"{kind} may wait", "ecs.py"))

    def test_a_database_is_only_a_record(self) -> None:
        identifier, attributes = create("AWS::RDS::DBInstance", {"Engine": "mysql", "DBName": "d", "MasterUsername": "u", "MasterUserPassword": "p"})
        self.addCleanup(rds._instances.pop, identifier)
        self.assertTrue(attributes["Endpoint.Address"].endswith("rds.amazonaws.com"), self.gone("databases", "databases.py"))

    def test_deletion_protection_does_not_protect(self) -> None:
        identifier, _ = create("AWS::RDS::DBInstance", {"Engine": "mysql", "DBName": "d", "MasterUsername": "u", "MasterUserPassword": "p", "DeletionProtection": True})
        HANDLERS["AWS::RDS::DBInstance"]["delete"](identifier, {})
        self.assertNotIn(identifier, rds._instances, self.gone("deletion protection", "databases.py"))

    def test_a_load_balancers_name_does_not_exist(self) -> None:
        arn, attributes = create("AWS::ElasticLoadBalancingV2::LoadBalancer", {"Name": "lb", "Subnets": []})
        self.addCleanup(alb._lbs.pop, arn)
        self.assertFalse(attributes["DNSName"].startswith("127."), self.gone("load balancers' addresses", "loadbalancers.py"))

    def test_a_vpc_lacks_its_address_range(self) -> None:
        vpc, attributes = create("AWS::EC2::VPC", {"CidrBlock": "10.0.0.0/16"})
        self.addCleanup(ec2._vpcs.pop, vpc)
        self.assertNotIn("CidrBlock", attributes, self.gone("VPC.CidrBlock", "resources.py"))

    def test_a_bucket_loses_its_tags_and_its_objects(self) -> None:
        bucket, _ = create("AWS::S3::Bucket", {"BucketName": "tagged", "Tags": [{"Key": "k", "Value": "v"}]})
        self.assertFalse(s3._bucket_tags.get(bucket), self.gone("tags of buckets", "resources.py"))
        s3._buckets[bucket]["objects"]["key"] = {}
        HANDLERS["AWS::S3::Bucket"]["delete"](bucket, {})
        self.assertNotIn(bucket, s3._buckets, self.gone("buckets with objects", "resources.py"))

    def test_ref_of_a_secret_is_its_name(self) -> None:
        identifier, attributes = create("AWS::SecretsManager::Secret", {"SecretString": "s"})
        self.addCleanup(secretsmanager._secrets.pop, identifier)
        self.assertNotEqual(attributes["Arn"], identifier, self.gone("Ref of a secret", "resources.py"))

    def test_the_registry_is_elsewhere(self) -> None:
        self.assertIn(b"https://000000000000.dkr.ecr", ecr._get_authorization_token({})[2], self.gone("the registry's address", "resources.py"))

    def test_a_functions_log_makes_its_group(self) -> None:
        lambda_svc._emit_lambda_logs({"FunctionName": "f", "LoggingConfig": {"LogGroup": "deleted"}}, "id", "text", False, 1)
        self.assertIn("deleted", cloudwatch_logs._log_groups, self.gone("log groups of functions", "functions.py"))

    def test_paths_of_an_application_are_answered_by_the_emulator(self) -> None:
        sent: list[dict[str, Any]] = []

        async def request() -> None:
            scope = {
                "type": "http", "method": "GET", "path": "/health", "raw_path": b"/health", "query_string": b"", "headers": [(b"host", b"lb.us-east-1.elb.amazonaws.com")],
                "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "http_version": "1.1", "scheme": "http",
            }

            async def receive() -> dict[str, Any]:
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message: dict[str, Any]) -> None:
                sent.append(message)

            await ministack.app.app(scope, receive, send)

        asyncio.run(request())
        self.assertEqual(200, sent[0]["status"], self.gone("/health on a load balancer's name", "loadbalancers.py"))


if __name__ == "__main__":
    unittest.main()
