# What can be done here; `make help` lists it. Nothing is needed but Go, make and a C
# compiler for the race detector; tests and `make run` bring their own PostgreSQL.

# Caches follow HOME. Where there is none that can be written, they stay in the tree.
ifneq ($(shell test -n "$$HOME" && test -w "$$HOME" && echo yes),yes)
export HOME := $(CURDIR)/.cache/home
endif

# The version is set below; the tree may belong to another user, whom git refuses.
export GOFLAGS += -buildvcs=false
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

GOLANGCI_VERSION := v2.12.0
CYCLONEDX_VERSION := v1.10.0
GOVULNCHECK_VERSION := v1.9.0
GOLANGCI := .cache/bin/golangci-lint-$(GOLANGCI_VERSION)
OASDIFF_VERSION := v1.35.0
OASDIFF := .cache/bin/oasdiff-$(OASDIFF_VERSION)

# The only part that needs Node and npm.
CLIENT := clients/typescript

# With a PostgreSQL that all packages share and that ends with them.
WITH_SERVER := go run ./internal/hubtest/testserver
# A whole run takes a few minutes on two cores; a test that hangs ends it here.
TEST_TIMEOUT := 20m

.DEFAULT_GOAL := help
.PHONY: build sbom image run test cover lint vuln client bench docs help

build: ## build bin/hub
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/hub ./cmd/hub

sbom: build ## list what is in bin/hub, with licences, as bin/hub.cdx.json (CycloneDX)
	go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_VERSION) bin -licenses -json \
		-version $(VERSION) -output bin/hub.cdx.json bin/hub

image: ## build the container image hub-backend
	docker build --build-arg VERSION=$(VERSION) --tag hub-backend:$(VERSION) --tag hub-backend:latest .

run: build ## build and run the whole system in one process, with nothing else to start
	@exec ./bin/hub dev

test: ## run every test, those on real PostgreSQL and NATS included
	$(WITH_SERVER) go test -race -timeout $(TEST_TIMEOUT) ./...

cover: ## run the tests and hold the statements they run to the thresholds
	@rm -rf .cache/cover && mkdir -p .cache/cover
	COVERAGE_OF_PROCESSES=$(CURDIR)/.cache/cover $(WITH_SERVER) go test -timeout $(TEST_TIMEOUT) -covermode=atomic -coverpkg=./... -coverprofile=cover.out ./...
	go tool covdata textfmt -i=.cache/cover -o=.cache/cover/processes.out
	@tail -n +2 .cache/cover/processes.out >> cover.out
	go run ./internal/tidy/cover cover.out

.PHONY: mutate
mutate: ## change the ledger's rules, one thing at a time: its own tests must notice each change
	go run ./internal/tidy/mutate ./domain/ledger

lint: $(GOLANGCI) breaking ## check formatting, vet, static analysis, go.mod and generated files
	@unformatted=$$(find . -name '*.go' -not -path './.*' -exec gofmt -l {} +); \
	if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	@# A cache of its own: findings carry the paths of the checkout they were made in.
	GOLANGCI_LINT_CACHE=$(CURDIR)/.cache/golangci $(GOLANGCI) run --allow-parallel-runners
	go mod tidy -diff
	@mkdir -p .cache && go run ./cmd/hub openapi > .cache/openapi.json
	@diff -u docs/openapi.json .cache/openapi.json || { echo "docs/openapi.json is not current: run make docs"; exit 1; }

# What clients of the last release rely on. The check is first shown what breaks it, rule by
# rule, and what only adds to it, so that one which has stopped looking is found out.
RELEASED := docs/released/openapi.json
SEVERITY := docs/released/severity.txt

.PHONY: breaking
breaking: $(OASDIFF) ## refuse what breaks clients of the last released OpenAPI document
	go run ./internal/tidy/breaking $(OASDIFF) $(RELEASED) $(SEVERITY)
	$(OASDIFF) breaking --color never --fail-on ERR --severity-levels $(SEVERITY) $(RELEASED) docs/openapi.json

$(OASDIFF):
	@mkdir -p .cache/bin
	GOBIN=$(CURDIR)/.cache/bin go install github.com/oasdiff/oasdiff@$(OASDIFF_VERSION)
	mv .cache/bin/oasdiff $@

$(GOLANGCI):
	@mkdir -p .cache/bin
	GOBIN=$(CURDIR)/.cache/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv .cache/bin/golangci-lint $@

# The promtool of PATH, or else that of Debian's package, of which nothing is installed:
# to build it takes longer than all tests.
PROMTOOL := $(or $(shell command -v promtool),.cache/bin/promtool)
ALERTS := docs/monitoring/alerts.yml

# The rules are shown broken, too: none may ever fire so late.
.PHONY: alerts
alerts: $(PROMTOOL) ## check the alert rules, and when each fires and when not
	$(PROMTOOL) check rules $(ALERTS)
	$(PROMTOOL) test rules $(ALERTS:.yml=_test.yml)
	@mkdir -p .cache/alerts && cp $(ALERTS:.yml=_test.yml) .cache/alerts
	@sed 's/for: [0-9]*m/for: 9h/' $(ALERTS) > .cache/alerts/alerts.yml
	@if $(PROMTOOL) test rules .cache/alerts/alerts_test.yml > /dev/null 2>&1; then echo "rules that never fire were not found out"; exit 1; fi

.cache/bin/promtool:
	@mkdir -p .cache/bin .cache/prometheus
	cd .cache/prometheus && rm -rf * && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } && dpkg-deb -x prometheus_*.deb . \
	  || { echo "promtool is missing: install Prometheus 2.42 or later, which has it"; exit 1; }
	mv .cache/prometheus/usr/bin/promtool $@ && rm -rf .cache/prometheus

vuln: ## look for known vulnerabilities in what is used; needs the internet, for vuln.go.dev
	go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) ./...

bench: ## measure the program beside its yardsticks
	go run ./internal/bench

# A seed of the moment unless one is given.
SEED ?= $(shell date +%s)
SECONDS ?= 60
ROUNDS ?= 5

.PHONY: torture
torture: ## break things under load and check every promise: SEED=7 SECONDS=60 ROUNDS=5
	go test -count=1 -timeout 0 ./internal/torture -run '^TestTorture$$' -seed $(SEED) -seconds $(SECONDS) -rounds $(ROUNDS)

docs: $(CLIENT)/node_modules ## regenerate docs/openapi.json, docs/asyncapi.json, the client's types and docs/events
	@mkdir -p .cache
	go run ./cmd/hub openapi > .cache/openapi.json
	mv .cache/openapi.json docs/openapi.json
	go run ./cmd/hub asyncapi > .cache/asyncapi.json
	mv .cache/asyncapi.json docs/asyncapi.json
	go run ./internal/tidy/events
	npm --prefix $(CLIENT) run --silent generate

client: build $(CLIENT)/node_modules ## test the TypeScript client on a running hub, and its types for being current
	npm --prefix $(CLIENT) test
	@mkdir -p .cache && cp $(CLIENT)/src/schema.ts .cache/schema.ts && npm --prefix $(CLIENT) run --silent generate
	@diff -u .cache/schema.ts $(CLIENT)/src/schema.ts || { echo "the client's types were not current: run make docs"; exit 1; }

$(CLIENT)/node_modules: $(CLIENT)/package-lock.json
	npm --prefix $(CLIENT) ci --ignore-scripts
	@touch $@

help: ## list these
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
