package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Delivery is the content of config/delivery.yaml: the pipeline that deploys the infrastructure of the environments.
type Delivery struct {
	// Project names the stack (<project>-delivery) and the connection.
	//
	// Allowed: 2 to 20 lowercase letters, digits and single hyphens, the first a letter, the last no hyphen.
	Project string `yaml:"project" jsonschema:"required,minLength=2,maxLength=20,pattern=^[a-z][a-z0-9]*(-[a-z0-9]+)*$"`
	// Account is the AWS account that the pipeline runs in. The pipeline cannot be synthesized without it.
	//
	// Allowed: the 12 digits of an AWS account id, without hyphens.
	Account string `yaml:"account,omitempty" jsonschema:"pattern=^[0-9]{12}$"`
	// Region is the AWS region that the pipeline runs in.
	//
	// Allowed: a region of AWS's standard partition, as in us-east-1 or eu-central-1.
	Region string `yaml:"region" jsonschema:"required,pattern=^(af|ap|ca|eu|il|me|mx|sa|us)-(north|south|east|west|central|northeast|northwest|southeast|southwest)-[1-9]$"`
	// Repository is the repository on GitHub that holds this project.
	//
	// Allowed: <owner>/<name>, as in my-org/my-infrastructure.
	Repository string `yaml:"repository" jsonschema:"required,pattern=^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$"`
	// Branch is the branch whose pushes are deployed.
	//
	// Allowed: the name of a branch, at most 255 characters, without spaces and wildcards.
	Branch string `yaml:"branch" jsonschema:"minLength=1,maxLength=255,pattern=^[A-Za-z0-9._/-]+$"`
	// ConnectionArn is an existing CodeConnections connection to GitHub in the pipeline's account. Without it the project makes
	// one, whose handshake is to be completed in the console once.
	//
	// Allowed: the ARN of a connection, arn:aws:codeconnections:<region>:<account>:connection/<id>.
	ConnectionArn string `yaml:"connectionArn,omitempty" jsonschema:"pattern=^arn:aws:(codeconnections|codestar-connections):[a-z0-9-]+:[0-9]{12}:connection/[a-f0-9-]+$"`
	// Environments are the environments that the pipeline deploys, in this order. Each needs `account` in its own file.
	//
	// Allowed: a list of at least one, as in `- name: dev`, each once.
	Environments []DeliveredEnvironment `yaml:"environments" jsonschema:"required,minItems=1"`
}

// DeliveredEnvironment is one stage of the pipeline.
type DeliveredEnvironment struct {
	// Name is the environment's, that of its file without the extension.
	//
	// Allowed: the name of a file in config/ without .yaml, as in dev.
	Name string `yaml:"name" jsonschema:"required"`
	// Approval asks for a person's approval before the environment is deployed.
	//
	// Allowed: true or false.
	Approval bool `yaml:"approval"`

	// Environment is the content of the environment's own file.
	Environment Environment `yaml:"-" jsonschema:"-"`
}

// FullName is <project>-delivery, the name of the stack and of the connection.
func (d Delivery) FullName() string { return d.Project + "-" + reservedName }

// DefaultDelivery returns the defaults of every key of delivery.yaml that has one.
func DefaultDelivery() Delivery { return Delivery{Branch: "main"} }

// LoadDelivery reads <dir>/delivery.yaml and the files of the environments that it names. What is wrong in any of them is
// returned as [Faults], all of it at once.
func LoadDelivery(dir string) (Delivery, error) {
	file := path.Join(filepath.ToSlash(dir), reservedName+".yaml")
	data, err := os.ReadFile(filepath.FromSlash(file))
	if errors.Is(err, fs.ErrNotExist) {
		return Delivery{}, fmt.Errorf("there is no %s, which configures the delivery pipeline: create it as docs/delivery.md says, or deploy one environment without -c delivery=true", file)
	}
	if err != nil {
		return Delivery{}, fmt.Errorf("the delivery pipeline's configuration could not be read: %w", err)
	}
	names, err := Names(dir)
	if err != nil {
		return Delivery{}, err
	}
	r := newReport(file, form{
		schema: deliverySchema(),
		is:     "one pipeline",
		needs:  "project, account, region, repository and environments",
	})
	delivery := DefaultDelivery()
	if values, ok := r.read(data); ok {
		r.checkSchema(values)
		if err := decode(values, &delivery); err != nil {
			return Delivery{}, fmt.Errorf("%s: decode what the schema accepted: %w", file, err)
		}
		delivery.validate(r, names)
	}
	faults, _ := errors.AsType[Faults](r.err())
	for i, delivered := range delivery.Environments {
		if !slices.Contains(names, delivered.Name) {
			continue // reported already
		}
		env, err := load(dir, delivered.Name, needAccount)
		if more := (Faults)(nil); errors.As(err, &more) {
			faults = append(faults, more...)
		} else if err != nil {
			return Delivery{}, err
		}
		delivery.Environments[i].Environment = env
	}
	if len(faults) > 0 {
		return Delivery{}, faults
	}
	return delivery, nil
}

func (d Delivery) validate(r *report, names []string) {
	if d.Account == "" && r.judgeable("account") {
		r.fault("account", "missing: the pipeline must know its account, to tell which environments are in another one",
			"Add `account: \"<12 digits>\"`, the account that the pipeline runs in; `aws sts get-caller-identity` prints that of your credentials.")
	}
	if d.ConnectionArn != "" && d.Account != "" && r.judgeable("connectionArn", "account") {
		if account := strings.Split(d.ConnectionArn, ":")[4]; account != d.Account {
			r.fault("connectionArn", fmt.Sprintf("%q is in the account %s, the pipeline in %s", d.ConnectionArn, account, d.Account),
				fmt.Sprintf("Name one of the account %s.", d.Account))
		}
	}
	if !r.judgeable("environments") {
		return
	}
	first := map[string]int{}
	for i, delivered := range d.Environments {
		key := fmt.Sprintf("environments[%d].name", i)
		if earlier, twice := first[delivered.Name]; twice {
			r.fault(key, fmt.Sprintf("%q is given twice, first as environments[%d]", delivered.Name, earlier), "Remove one of the two.")
			continue
		}
		first[delivered.Name] = i
		if !slices.Contains(names, delivered.Name) {
			r.fault(key, fmt.Sprintf("there is no environment %q", delivered.Name), oneOf(names, delivered.Name))
		}
	}
}

func oneOf(names []string, name string) string {
	switch {
	case checkName(name) != nil && len(names) > 0:
		return fmt.Sprintf("Allowed: %s, the files in config/.", strings.Join(names, ", "))
	case len(names) == 0:
		return "There is none at all: create config/dev.yaml."
	}
	return fmt.Sprintf("Allowed: %s, the files in config/; or create config/%s.yaml.", strings.Join(names, ", "), name)
}

// needAccount is a rule for a delivered environment. The account of the credentials would be the pipeline's, wherever the
// environment was meant to be, and what was deployed directly before into another account would be made a second time.
func needAccount(r *report, env Environment) {
	if env.Account == "" && r.judgeable("account") {
		r.fault("account", fmt.Sprintf("missing, and %s.yaml delivers the environment %s: a pipeline must know where to deploy to", reservedName, env.Name),
			fmt.Sprintf("Add `account: \"<12 digits>\"`, the account that %s is in or is to be in, or take it off the list `environments` in %s.yaml.", env.Name, reservedName))
	}
}
