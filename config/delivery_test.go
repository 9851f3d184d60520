package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const deliveryKeys = "project: shop\naccount: \"111111111111\"\nregion: eu-west-1\nrepository: my-org/infra\n"

// deliveryDir returns a folder with a delivery.yaml and the environments dev, with an account, and prod, without one.
func deliveryDir(t *testing.T, delivery string) string {
	t.Helper()
	dir := t.TempDir()
	for file, body := range map[string]string{
		"delivery.yaml": delivery,
		"dev.yaml":      "account: \"222222222222\"\n" + requiredKeys,
		"prod.yaml":     requiredKeys,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoadDelivery(t *testing.T) {
	got, err := LoadDelivery(deliveryDir(t, deliveryKeys+"environments:\n  - name: dev\n    approval: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	env := minimal()
	env.Account = "222222222222"
	want := Delivery{
		Project: "shop", Account: "111111111111", Region: "eu-west-1", Repository: "my-org/infra", Branch: "main",
		Environments: []DeliveredEnvironment{{Name: "dev", Approval: true, Environment: env}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadDeliveryReportsAllFaultsOfAllFilesAtOnce(t *testing.T) {
	dir := deliveryDir(t, "project: shop\nregion: eu-west-1\nrepository: infra\nstages: 1\nenvironments: [{name: dev}, {name: staging}, {name: dev}, {name: prod}]\n")
	_, err := LoadDelivery(dir)
	if err == nil {
		t.Fatal("no error")
	}
	want := strings.Join([]string{
		"DIR/delivery.yaml:1:1: account: missing: the pipeline must know its account, to tell which environments are in another one",
		"    Add `account: \"<12 digits>\"`, the account that the pipeline runs in; `aws sts get-caller-identity` prints that of your credentials.",
		"DIR/delivery.yaml:3:13: repository: \"infra\" is not allowed",
		"    Allowed: <owner>/<name>, as in my-org/my-infrastructure.",
		"DIR/delivery.yaml:4:1: stages: unknown key",
		"    Known in the file: account, branch, connectionArn, environments, project, region, repository.",
		"DIR/delivery.yaml:5:36: environments[1].name: there is no environment \"staging\"",
		"    Allowed: dev, prod, the files in config/; or create config/staging.yaml.",
		"DIR/delivery.yaml:5:53: environments[2].name: \"dev\" is given twice, first as environments[0]",
		"    Remove one of the two.",
		"DIR/prod.yaml:1:1: account: missing, and delivery.yaml delivers the environment prod: a pipeline must know where to deploy to",
		"    Add `account: \"<12 digits>\"`, the account that prod is in or is to be in, or take it off the list `environments` in delivery.yaml.",
	}, "\n")
	if diff := cmp.Diff(want, strings.ReplaceAll(err.Error(), filepath.ToSlash(dir), "DIR")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadDeliveryRefuses(t *testing.T) {
	for name, test := range map[string]struct{ yaml, want string }{
		"empty file": {"", "DIR/delivery.yaml: the file is empty\n" +
			"    Give at least project, account, region, repository and environments; docs/configuration.md shows every key."},
		"second document": {deliveryKeys + "environments: [{name: dev}]\n---\nproject: x\n", "DIR/delivery.yaml:6:1: a second document begins here\n" +
			"    One file is one pipeline: remove the line `---` and what follows it, or move it to a file of its own."},
		"no environments": {deliveryKeys, "DIR/delivery.yaml:1:1: environments: missing\n" +
			"    Add it. Allowed: a list of at least one, as in `- name: dev`, each once."},
		"empty list": {deliveryKeys + "environments: []\n", "DIR/delivery.yaml:5:15: environments: [] is not allowed\n" +
			"    Allowed: a list of at least one, as in `- name: dev`, each once."},
		"name without a key": {deliveryKeys + "environments: [dev]\n", "DIR/delivery.yaml:5:16: environments[0]: the value is text, not a mapping of keys to values\n" +
			"    Give it keys (approval, name), or remove the line."},
		"unknown key of an environment": {deliveryKeys + "environments: [{name: dev, aproval: true}]\n", "DIR/delivery.yaml:5:28: environments[0].aproval: unknown key\n" +
			"    Did you mean approval?"},
		"approval that is no boolean": {deliveryKeys + "environments: [{name: dev, approval: 2}]\n", "DIR/delivery.yaml:5:38: environments[0].approval: 2 is a number, not a boolean (true or false)\n" +
			"    Allowed: true or false."},
		"connection of another account": {deliveryKeys + "connectionArn: arn:aws:codeconnections:eu-west-1:333333333333:connection/ab\nenvironments: [{name: dev}]\n",
			"DIR/delivery.yaml:5:16: connectionArn: \"arn:aws:codeconnections:eu-west-1:333333333333:connection/ab\" is in the account 333333333333, the pipeline in 111111111111\n" +
				"    Name one of the account 111111111111."},
		"itself": {deliveryKeys + "environments: [{name: delivery}]\n", "DIR/delivery.yaml:5:23: environments[0].name: there is no environment \"delivery\"\n" +
			"    Allowed: dev, prod, the files in config/."},
	} {
		t.Run(name, func(t *testing.T) {
			dir := deliveryDir(t, test.yaml)
			_, err := LoadDelivery(dir)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, strings.ReplaceAll(err.Error(), filepath.ToSlash(dir), "DIR")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadDeliveryWithoutAFileSaysWhatToDo(t *testing.T) {
	_, err := LoadDelivery(t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "delivery.yaml, which configures the delivery pipeline: create it") {
		t.Errorf("error %v", err)
	}
}

// The shipped files have no account: delivering them unchanged says where to put it, and nothing else.
func TestTheShippedDeliveryLacksAccountsOnly(t *testing.T) {
	_, err := LoadDelivery(".")
	faults, ok := errors.AsType[Faults](err)
	if !ok {
		t.Fatalf("error %v, want faults", err)
	}
	for i, file := range []string{"delivery.yaml", "dev.yaml", "prod.yaml"} {
		if len(faults) != 3 || faults[i].File != file || faults[i].Key != "account" {
			t.Fatalf("faults:\n%v\nwant one in each of delivery.yaml, dev.yaml and prod.yaml", faults)
		}
	}
}
