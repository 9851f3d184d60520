package stacks_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"flask-on-fargate/config"
)

// What a first deploy relies on: the seeded repository, and the schema gate between the database and the service.

func seedImage(t *testing.T, env environment) resource {
	return env.One(t, "Custom::SeedImage")
}

func TestTheRepositoryIsSeededBeforeTheDatabaseIsCreated(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		seed := seedImage(t, env)
		want(t, seed, map[string]any{"Ref": env.One(t, "AWS::ECR::Repository").ID}, "RepositoryName")
		want(t, seed, strconv.Itoa(cfg.Service.ContainerPort), "ContainerPort")
		want(t, seed, string(cfg.Architecture), "Architecture")
		if database := env.One(t, "AWS::RDS::DBInstance"); !slices.Contains(database.DependsOn, seed.ID) {
			t.Errorf("%s does not wait for %s", database.ID, seed.ID)
		}
	})
}

func TestThePlaceholderAnswersAsTheHealthCheckWantsIt(t *testing.T) {
	// A variable of the task: a change of the codes starts tasks that answer by the new ones, and a rollback by the old ones.
	env := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) { env.Service.HealthCheckCodes = "302" })))
	want(t, applicationTask(t, env), map[string]any{"Name": "PLACEHOLDER_STATUS", "Value": "302"}, "ContainerDefinitions", 0, "Environment", 5)
}

func schemaInit(t *testing.T, env environment) resource {
	return env.One(t, "Custom::SchemaInit")
}

func TestOnlyTheServiceWaitsForTheSchema(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		schema := schemaInit(t, env)
		var waiting []string
		for _, r := range env.Resources {
			if slices.Contains(r.DependsOn, schema.ID) || slices.Contains(references(r.Properties), schema.ID) {
				waiting = append(waiting, r.Type)
			}
		}
		if !slices.Equal(waiting, []string{"AWS::ECS::Service"}) {
			t.Errorf("%v wait for the schema, want the service alone", waiting)
		}
	})
}

// CloudFormation does not know what a running task needs.
func TestTheSchemaTaskWaitsForWhatItNeeds(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		schema := schemaInit(t, env)
		for _, path := range []string{
			"Service/TasksToDatabase",
			"Service/SchemaInit/Task/TaskRole/DefaultPolicy/Resource",
			"Service/SchemaInit/Task/ExecutionRole/DefaultPolicy/Resource",
		} {
			if id := env.ByPath(t, path).ID; !slices.Contains(schema.DependsOn, id) {
				t.Errorf("%s does not wait for %s", schema.ID, id)
			}
		}
		for _, handler := range []string{"OnEvent", "IsComplete"} {
			role := env.ByPath(t, "Service/SchemaInit/"+handler+"/Role/Resource")
			if role.Properties["Policies"] == nil {
				t.Errorf("the permissions of %s are not part of its role: the function could start without them", handler)
			}
		}
	})
}

func TestSchemaInitRunsAgainWhenFilesEngineOrDatabaseChange(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		schema := schemaInit(t, env)
		if hash, _ := schema.Properties["SchemaHash"].(string); len(hash) != 64 {
			t.Errorf("SchemaHash is %q, want a SHA-256", hash)
		}
		want(t, schema, cfg.Database.EngineVersion, "EngineVersion")
		want(t, schema, map[string]any{"Fn::GetAtt": []any{env.One(t, "AWS::RDS::DBInstance").ID, "DbiResourceId"}}, "DatabaseResourceId")
		want(t, schema, map[string]any{"Ref": env.ByPath(t, "Service/SchemaInit/Task/Resource").ID}, "TaskDefinition")
		want(t, schema, map[string]any{"Ref": env.ByPath(t, "Service/SchemaInit/Logs/Resource").ID}, "LogGroup")
		tasks := env.ByPath(t, "Service/TasksSecurityGroup/Resource").ID
		want(t, schema, []any{map[string]any{"Fn::GetAtt": []any{tasks, "GroupId"}}}, "SecurityGroups")
		subnets := references(schema.Properties["Subnets"])
		if len(subnets) != 2 || !strings.Contains(subnets[0], "PrivateSubnet") || !strings.Contains(subnets[1], "PrivateSubnet") {
			t.Errorf("the schema task runs in %v, want the two private subnets", subnets)
		}
	})
}

func TestSchemaTask(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		task := env.ByPath(t, "Service/SchemaInit/Task/Resource")
		containers := at(task.Properties, "ContainerDefinitions").([]any)
		if len(containers) != 2 {
			t.Fatalf("%d containers, want fetch and mysql", len(containers))
		}
		want(t, task, "fetch", "ContainerDefinitions", 0, "Name")
		want(t, task, false, "ContainerDefinitions", 0, "Essential")
		want(t, task, []string{"fetch"}, "ContainerDefinitions", 0, "Command")
		if image := text(at(containers[0], "Image")); !strings.HasSuffix(image, `":seed"]]}`) {
			t.Errorf("fetch runs %s, want the seed image", image)
		}
		want(t, task, "mysql", "ContainerDefinitions", 1, "Name")
		want(t, task, true, "ContainerDefinitions", 1, "Essential")
		want(t, task, "public.ecr.aws/docker/library/mysql:"+cfg.Database.EngineVersion, "ContainerDefinitions", 1, "Image")
		want(t, task, []any{map[string]any{"Condition": "SUCCESS", "ContainerName": "fetch"}}, "ContainerDefinitions", 1, "DependsOn")
		for i, container := range containers {
			want(t, task, []any{map[string]any{"ContainerPath": "/schema", "ReadOnly": false, "SourceVolume": "schema"}}, "ContainerDefinitions", i, "MountPoints")
			if !strings.Contains(text(at(container, "Environment")), `{"Name":"SCHEMA_DIR","Value":"/schema"}`) {
				t.Errorf("container %d does not know the volume: %s", i, text(at(container, "Environment")))
			}
			want(t, task, "schema", "ContainerDefinitions", i, "LogConfiguration", "Options", "awslogs-stream-prefix")
		}
		want(t, env.ByPath(t, "Service/SchemaInit/Logs/Resource"), "/ecs/"+cfg.Project+"-"+cfg.Name+"-schema", "LogGroupName")
		if secrets := len(at(containers[1], "Secrets").([]any)); secrets != 2 {
			t.Errorf("mysql gets %d secrets, want user and password", secrets)
		}
		if strings.Contains(text(containers), "MasterUserPassword") || strings.Contains(text(containers), "resolve:secretsmanager") {
			t.Error("a secret's value is part of the task definition")
		}
	})
}

func TestTheSchemaTaskMayDecryptABootstrapBucketWithAKeyOfItsOwn(t *testing.T) {
	const key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"
	env := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) { env.BootstrapKmsKeyArn = key })))
	role := env.ByPath(t, "Service/SchemaInit/Task/TaskRole/Resource").ID
	if allowed := permissions(env, role); !slices.Contains(allowed, "kms:Decrypt on "+key) {
		t.Errorf("the task may not decrypt: %v", allowed)
	}
}

// The waiter of the framework counts attempts, each of which may take two seconds more than the interval; CloudFormation
// waits an hour at most. The handler's own deadline must come first, or the real reason is lost.
func TestSchemaInitTimeOutsNest(t *testing.T) {
	env := decode(t, "dev")
	schema := schemaInit(t, env)
	seconds := func(property string) int {
		value, err := strconv.Atoi(fmt.Sprint(schema.Properties[property]))
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	definition := text(env.One(t, "AWS::StepFunctions::StateMachine").Properties["DefinitionString"])
	retry := regexp.MustCompile(`IntervalSeconds\\":(\d+),\\"MaxAttempts\\":(\d+)`).FindStringSubmatch(strings.ReplaceAll(definition, `\\"`, `\"`))
	if retry == nil {
		t.Fatalf("no retry in %s", definition)
	}
	interval, _ := strconv.Atoi(retry[1])
	attempts, _ := strconv.Atoi(retry[2])
	const stopping = 120 // seconds that the handler gives a task to stop
	task, framework, service := seconds("TimeoutSeconds")+stopping, interval*attempts, seconds("ServiceTimeout")
	if task+3*interval > framework {
		t.Errorf("the handler ends after %d s at the latest, the framework already after %d s", task, framework)
	}
	if worst := attempts * (interval + 2); worst > service || service > 3600 {
		t.Errorf("the framework takes up to %d s, CloudFormation waits %d s, at most 3600", worst, service)
	}
}

func TestAChangedSchemaFileChangesOnlyTheHashAndTheAsset(t *testing.T) {
	env := load(t, "dev")
	before := stage(t, env)
	inProjectWith(t, "sql/002_office.sql", "ALTER TABLE employee ADD COLUMN office VARCHAR(50) NOT NULL DEFAULT '';\n")
	after := stage(t, env)

	hash := func(bodies map[string][]byte) string {
		return schemaInit(t, decodeTemplates(t, bodies)).Properties["SchemaHash"].(string)
	}
	if hash(before) == hash(after) {
		t.Fatal("the hash does not follow the files")
	}
	for _, stack := range stackNames {
		expected := strings.ReplaceAll(string(before[stack]), hash(before), hash(after))
		if expected != string(after[stack]) {
			t.Errorf("%s: more than the hash and the asset's key differ", stack)
		}
	}
}

// inProjectWith makes a copy of what a synth reads the working directory, with one more file in the schema's asset.
func inProjectWith(t *testing.T, file, content string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dist"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cdk.json", "dist/functions"} {
		if err := os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "dist", "schema"), os.DirFS("dist/schema")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dist", "schema", file), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
}
