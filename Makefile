# A fresh machine needs Go, npm, make and git. Everything else is pinned in package.json and go.mod and installed here.
#
#   make synth [ENV=dev]   what would be created, as a table; the CloudFormation is in cdk.out/
#   make test              every test that needs no server

ENV ?= dev

# Without make's own rules for C and the like it is three times as fast, and every synth starts with it.
MAKEFLAGS += --no-builtin-rules --no-builtin-variables

# The second and the third are there where the system lacks MariaDB.
export PATH := $(CURDIR)/node_modules/.bin:$(CURDIR)/.local/mariadb/usr/bin:$(CURDIR)/.local/mariadb/usr/sbin:$(PATH)
# Exactly this Go, also where a newer one is installed: the functions' asset hashes depend on the compiler.
export GOTOOLCHAIN := $(shell sed -n 's/^toolchain //p' go.mod)
# The programs run here, whatever the shell builds for; functions/build.sh sets its own.
export GOOS :=
export GOARCH :=
# Programs, functions and tests then share the packages that they compile.
export CGO_ENABLED := 0

# What the programs are built from, by one look at the folders for all of them, since each synth makes it. The folders stand
# beside the files so that a deleted file is noticed too.
sources := $(shell find $(wildcard cmd config constructs functions internal local/image local/sample stacks) \( -name node_modules -o -name testdata \) -prune -o \
	\( -type d -o -name '*.go' -o -name '*.sh' -o -name '*.json' -o -name '*.html' \) -print)
go-sources = $(filter $(1) $(addsuffix /%,$(1)),$(sources))

.DEFAULT_GOAL := help
.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: synth
synth: app ## Synthesize the environment ENV [dev] into cdk.out/ and summarize it
	@cdk synth --quiet --context env=$(ENV)
	@bin/infra summary

# The folder is what the pipeline's later steps run: the tool, and the configuration that it reads.
.PHONY: delivery
delivery: app ## Synthesize the delivery pipeline and its environments (config/delivery.yaml) into cdk.out/
	@cdk synth --quiet --context delivery=true
	@rm -rf cdk.tool && mkdir -p cdk.tool/bin cdk.tool/config && cp bin/infra cdk.tool/bin/ && cp config/*.yaml cdk.tool/config/

.PHONY: guard
guard: app templatediff ## Say whether deploying ENV [dev] would lose data: against BASE, an assembly or a git revision, or against AWS
	@bin/infra guard --synth --env '$(ENV)' $(if $(BASE),--base '$(BASE)')

.PHONY: review
review: app templatediff ## Report what changed for every environment since BASE, a git revision (FORMAT=markdown for a pull request)
	@[ -n '$(BASE)' ] || { echo 'BASE is missing: name a git revision, as in make review BASE=origin/main' >&2; exit 2; }
	@bin/infra review --synth --base '$(BASE)' --format '$(or $(FORMAT),text)'

.PHONY: test
test: app both-architectures templatediff ## Run every test that needs no server
	CDK_VALIDATION=false go test ./stacks . ./... # the longest first
	@echo 'go -C sql/enginetest test ./...   (the first time this compiles an SQL engine: two to four minutes)'
	@go -C sql/enginetest test ./...

.PHONY: check
check: app ## Check formatting, vet with every build tag, and that go.mod and NOTICE are in step
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "run gofmt -w on: $$unformatted"; exit 1; }
	go vet -tags=validate,lint,schematest,bench,mutants ./...
	go -C sql/enginetest vet ./...
	go mod tidy -diff
	go -C sql/enginetest mod tidy -diff
	@go run ./checks/notice | cmp -s - NOTICE || { echo 'NOTICE is not in step with what the functions link: run make notice' >&2; exit 1; }

.PHONY: lint
lint: ## Run golangci-lint (.golangci.yml); the first time this compiles it: two to five minutes
	go tool -modfile=checks/golangci/go.mod golangci-lint run ./...

.PHONY: sweep
sweep: app both-architectures ## Synthesize 200 generated environments, and ask each for what must always hold (two minutes)
	CDK_VALIDATION=false go test ./stacks -run TestSweep -rapid.checks=200 -count=1 -v

.PHONY: fuzz
fuzz: ## Fuzz the configuration's loader and the decoding of every handler's events, for 20,000 inputs each
	@for target in ./config:FuzzParse ./functions/schemainit:FuzzOnEvent ./functions/schemainit:FuzzIsComplete ./functions/schemainit:FuzzWithTail ./functions/release:FuzzEvent ./functions/seedimage:FuzzDecode ./functions/seedimage:FuzzEvent; do \
		echo "go test $${target%%:*} -fuzz=^$${target#*:}$$"; \
		go test "$${target%%:*}" -run='^$$' -fuzz="^$${target#*:}$$" -fuzztime=20000x || exit 1; done

.PHONY: validate
validate: app both-architectures ## Validate every environment's templates with AWS's rules, in full
	env -u CDK_VALIDATION go test -tags=validate -run "TestValidation|TestAStaleAcknowledgement" -count=1 -v .

.PHONY: lint-templates
lint-templates: app both-architectures .local/lint/.installed ## Ask cfn-lint for a second opinion on every template
	CDK_VALIDATION=false go test -tags=lint -run Lint -count=1 -v ./stacks

.local/lint/.installed: checks/lint/requirements.txt
	@local/need-python.sh
	@echo 'Installing cfn-lint into .local/lint (about 10 s)' >&2
	@rm -rf .local/lint && python3 -m venv .local/lint
	@.local/lint/bin/pip install --quiet --disable-pip-version-check --require-hashes -r checks/lint/requirements.txt
	@touch $@

.PHONY: schema-test
schema-test: app mariadb ## Apply the schema to real MariaDB servers by the very command of the task
	@cdk synth --quiet --context env=dev
	SCHEMA_TEMPLATE="$$(ls "$(CURDIR)"/cdk.out/devService*.template.json)" go test -tags=schematest -count=1 -parallel=4 ./internal/schematest

.PHONY: mutants
mutants: app both-architectures mariadb templatediff ## Break the project in every way of checks/mutants/mutants.yaml and show that the tests notice (half an hour; ARGS='-only EXPRESSION': some)
	@go test -tags=mutants -run=Golden ./checks/mutants
	@CDK_VALIDATION=false go run ./checks/mutants $(ARGS)

.PHONY: mariadb
mariadb: # Debian 12's, whose client and server the tests know
	@local/mariadb.sh

.PHONY: local
local: local-tools ## Deploy config/local.yaml on this machine, without AWS and Docker, or deploy what changed
	@.local/venv/bin/python -m local up

.PHONY: local-down
local-down: local-tools ## Destroy what `make local` deployed and stop it (ARGS=--force: only stop it)
	@.local/venv/bin/python -m local down $(ARGS)

.PHONY: local-cdk
local-cdk: local-tools ## Run the CDK CLI on the local target: ARGS=diff
	@.local/venv/bin/python -m local cdk $(ARGS)

.PHONY: local-mysql
local-mysql: local-tools ## Open the local database in MariaDB's client
	@.local/venv/bin/python -m local mysql $(ARGS)

.PHONY: local-logs
local-logs: local-tools ## List the local log groups, or print one: ARGS=GROUP, its name or a part of it
	@.local/venv/bin/python -m local logs $(ARGS)

.PHONY: local-env
local-env: local-tools ## Write the variables of the local application's container to a file, to run a program or an image beside it
	@.local/venv/bin/python -m local env

.PHONY: local-release
local-release: local-tools bin/local-image $(if $(IMAGE),,.local/sample.tar) ## Release the sample application on the local target, or IMAGE=PATH, an OCI archive or folder
	@.local/venv/bin/python -m local release "$(or $(IMAGE),.local/sample.tar)"

.PHONY: local-test
local-test: local-tools bin/local-image .local/venv/.tests ## Prove all of it on the local target, from bootstrap to destroy (nine minutes)
	@.local/venv/bin/mypy --config-file local/mypy.ini local
	@LOG_LEVEL=ERROR .local/venv/bin/python -m unittest discover --start-directory local/tests --top-level-directory .
	@.local/venv/bin/python -m local test

.PHONY: local-faults
local-faults: local-tools bin/local-image ## Kill, stop and refuse what a deployment stands on, on the local target (five minutes)
	@.local/venv/bin/python -m local faults

.PHONY: local-tools
local-tools: app mariadb .local/venv/.installed local/node_modules/.package-lock.json

.local/venv/.installed: local/requirements.txt
	@[ "$$(uname -s)" = Linux ] || { echo 'The local target runs on Linux only, because containers are processes of this machine: use a Linux machine or a virtual one' >&2; exit 1; }
	@local/need-python.sh
	@echo 'Installing the emulator into .local/venv (about 10 s)' >&2
	@rm -rf .local/venv && python3 -m venv .local/venv
	@.local/venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r local/requirements.txt
	@touch $@

.local/venv/.tests: .local/venv/.installed local/tests/requirements.txt
	@.local/venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r local/tests/requirements.txt
	@touch $@

local/node_modules/.package-lock.json: local/package.json local/package-lock.json
	@echo 'Installing the AWS SDK of Lambda'"'"'s Node.js into local/node_modules (about 10 s)' >&2
	@npm ci --prefix local --no-fund --no-audit --no-update-notifier --loglevel=error >&2
	@touch $@

.local/sample.tar: bin/local-image
	@bin/local-image sample --out $@

bin/local-image: go.mod go.sum $(call go-sources,local/image local/sample internal)
	@cmd/compile.sh 'the image builder' $@ ./local/image

.PHONY: golden
golden: app both-architectures templatediff ## Rewrite the golden templates, and what is generated from them and from the configuration, to be reviewed like code
	go generate ./config
	CDK_VALIDATION=false go test ./stacks -run Golden -count=1 -update
	go test ./internal/review ./cmd/infra -run Review -count=1 -update

# For a new version of the reference, or a new service in condense.js. The tests read the committed file only.
.PHONY: authorization-data
authorization-data: node_modules/.package-lock.json ## Rewrite the part of AWS's authorization reference that the tests of policies read
	@npm ci --prefix internal/templatecheck/iamdata --no-fund --no-audit --no-update-notifier --loglevel=error >&2
	@node internal/templatecheck/iamdata/condense.js

.PHONY: notice
notice: app ## Rewrite NOTICE, the licences of what the functions link
	@go run ./checks/notice >bin/NOTICE && mv bin/NOTICE NOTICE

# The functions' architectures: of the environments, and all that the tests synthesize.
architectures := x86_64 $(if $(shell sed 's/\#.*//' config/*.yaml | grep ARM64),arm64)

.PHONY: app
app: node_modules/.package-lock.json bin/app bin/infra $(architectures:%=dist/functions/%) dist/schema # what the command in cdk.json needs

.PHONY: both-architectures
both-architectures: dist/functions/x86_64 dist/functions/arm64 # what the tests need

node_modules/.package-lock.json: package.json package-lock.json
	@cmd/need-go.sh
	@echo 'Installing the CDK CLI and Node.js into node_modules/ (about 10 s)' >&2
	@npm ci --no-fund --no-audit --no-update-notifier --loglevel=error >&2
	@touch $@

.PHONY: templatediff
templatediff: node_modules/.package-lock.json internal/change/templatediff/node_modules/.package-lock.json # what guard and review need

internal/change/templatediff/node_modules/.package-lock.json: internal/change/templatediff/package.json internal/change/templatediff/package-lock.json
	@npm ci --prefix internal/change/templatediff --no-fund --no-audit --no-update-notifier --loglevel=error >&2
	@touch $@

bin/app: app.go go.mod go.sum package.json $(call go-sources,config stacks constructs internal)
	@[ -e $@ ] || echo 'Compiling the CDK application: the first time this takes one to two minutes, for the CDK library' >&2
	@cmd/compile.sh 'the CDK application' $@ .

bin/infra: go.mod go.sum $(call go-sources,cmd config internal)
	@cmd/compile.sh 'the tool' $@ ./cmd/infra

dist/functions/%: go.mod go.sum $(call go-sources,functions internal)
	@functions/build.sh $*

# A file whose name make could not read is refused by the script.
dist/schema: $(shell LC_ALL=C find sql -maxdepth 1 -type f | LC_ALL=C grep '^sql/[A-Za-z0-9._-]*\.sql$$') sql constructs/schemainit/asset.sh node_modules/.package-lock.json
	@constructs/schemainit/asset.sh

.PHONY: verify
verify: ## Run every check of .ci/run, then the mutants (three quarters of an hour)
	@.ci/run
	@$(MAKE) mutants

.PHONY: bench
bench: app ## Measure how long a warm synth takes, against BASE [HEAD~1], a git revision, and an empty application (two minutes)
	@go build -tags=bench -trimpath -o bin/bench-empty ./checks/bench/empty
	@go run ./checks/bench $(if $(BASE),-base '$(BASE)')

.PHONY: clean
clean: ## Remove everything that was built or installed
	@[ ! -e .local/run/target.json ] || { echo 'the local target runs, or its state is there: `make local-down` first' >&2; exit 1; }
	rm -rf bin dist cdk.out cdk.tool node_modules internal/change/templatediff/node_modules internal/templatecheck/iamdata/node_modules local/node_modules .local .cdk-validated
