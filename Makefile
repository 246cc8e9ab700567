# Docket. `make` shows what there is. Go and git are all that must be installed.

GO       ?= go
BIN      := bin/docket
PKG      ?= ./...
BENCH    ?= .
# How often test-crash kills the event store, and cuts its power.
DOCKET_TEST_KILLS ?= 300
# The version of golangci-lint that the settings are written for.
GOLANGCI := v2.15.0
LINTER   := .tools/golangci-lint-$(GOLANGCI)
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Go's race detector needs a C compiler.
RACE     := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)
# One private PostgreSQL server for all test packages.
WITHPG   := $(GO) run ./internal/postgres/pgtest/serve --

# What others' clients and their tests say to the embedded event store.
CONFORMANCE := ./internal/clienttest/goclients ./internal/clienttest/esdbnode

.DEFAULT_GOAL := help
.PHONY: help build run demo test test-clients test-conformance test-crash bench lint tools clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  PKG=./domain/... narrows test and bench, TESTFLAGS='-run Name -v' reaches go test,"
	@echo "  BENCH=Name picks benchmarks."

build: ## Build the program into bin/
	$(GO) build -ldflags "-X docket/cmd/server.version=$(VERSION)" -o $(BIN) ./cmd/docket

run: build ## Build and serve (data in ./.docket, http://127.0.0.1:8080)
	@.ci/postgres
	exec $(BIN) serve

demo: build ## Build and show Docket at work with sample data
	@.ci/postgres
	exec $(BIN) demo

test: ## Run all tests against one private PostgreSQL server
	@.ci/postgres
	@.ci/peers
	@test -n "$(RACE)" || echo "NOTE: no C compiler, so the tests run WITHOUT the race detector"
	$(WITHPG) $(GO) test -timeout 30m $(RACE) $(TESTFLAGS) $(PKG)

test-clients: ## Run others' clients against a running Docket (needs node 20 and npm)
	DOCKET_TEST_CLIENTS=1 $(GO) test -count=1 -v $(TESTFLAGS) ./internal/clienttest/qlik

test-conformance: ## Run the tests of EventStoreDB's clients against the embedded event store
	DOCKET_TEST_CONFORMANCE=1 $(GO) test -count=1 -v -p 1 -timeout 60m $(TESTFLAGS) $(CONFORMANCE)

test-crash: ## Kill the embedded event store again and again while it is written (DOCKET_TEST_KILLS=300)
	DOCKET_TEST_KILLS=$(DOCKET_TEST_KILLS) $(GO) test -count=1 -v -timeout 60m -run '^(TestCrash|TestPowerFailure|TestOutOfSpace)$$' $(TESTFLAGS) \
		./eventstore/embedded ./eventstore/embedded/eventlog

bench: ## Run the benchmarks, one package after the other
	$(WITHPG) $(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -p 1 -timeout 60m $(TESTFLAGS) $(PKG)

lint: ## Check formatting, go vet, golangci-lint
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	@test -n "$(NOTOOLS)" || $(MAKE) --no-print-directory tools || true
	@if test -x $(LINTER); then echo "golangci-lint run"; $(LINTER) run; else \
		echo "********************************************************************"; \
		echo "NOTE: golangci-lint $(GOLANGCI) could not be installed."; \
		echo "      ONLY gofmt and go vet have looked at the code."; \
		echo "********************************************************************"; fi

tools: $(LINTER) ## Install the linter into .tools/

$(LINTER):
	@echo "installing golangci-lint $(GOLANGCI) into .tools/ (once)"
	@mkdir -p .tools
	@GOBIN="$(CURDIR)/.tools" GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
	@mv .tools/golangci-lint $(LINTER)

clean: ## Remove what was built (not the data)
	rm -rf bin .tools
