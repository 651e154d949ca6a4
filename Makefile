# Everything a developer runs. Plain "go build ./..." and "go test ./..." work as well and need nothing from here.

GO       ?= go
BIN      := bin
COMMANDS := fooproxy fooserver fooclient foobench
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null)

# go test flags for every test run, e.g. TESTFLAGS=-count=1 against cached results.
TESTFLAGS ?=
# How long each fuzz target runs.
FUZZTIME  ?= 10s
# How long the soak lasts, on each engine.
SOAK      ?= 10m
# How many simulations "make simulate" plays.
SEEDS     ?= 100000
# What "make profile" looks at.
ENGINE    ?= auto
WORKLOAD  ?= pingpong
# Packages without real sockets under load or kernel rings, where the race detector sees all there is to see.
RACE      := ./codec/... ./stats/... ./accesslog/... ./proxy/... ./cmd/...

.DEFAULT_GOAL := build
.PHONY: build test test-faults test-rings race lint fuzz mutants vuln simulate soak bench bench-full micro profile run clean help

build: ## build the commands into bin/
	$(GO) build -ldflags '-X main.version=$(VERSION)' -o $(BIN)/ $(COMMANDS:%=./cmd/%)

# giouring is the oracle of package ring; no Go since 1.23 links it unless the linker's check is off.
test: ## run vet and every test: all packages, races, codec without assembly, ring against its oracle
	$(GO) vet ./...
	$(GO) test $(TESTFLAGS) ./...
	$(GO) test $(TESTFLAGS) -race -short $(RACE)
	$(GO) test $(TESTFLAGS) -tags noasm ./codec/...
	$(GO) test $(TESTFLAGS) -tags giouring -ldflags=-checklinkname=0 ./ring/...

test-faults: ## every row of docs/faults.md at full size, and what depends on time: some minutes of a machine without other load, as root
	$(GO) test -count=1 $(TESTFLAGS) ./admin ./proxy ./ring
	FOO_FAULTS=1 $(GO) test -count=1 -timeout 30m -parallel 1 $(TESTFLAGS) ./e2e

# io_uring made small, with its faults forced by a hook, and as kernels before 6.10, 6.1, 6.0 and 5.19 have it.
RINGS := uring:sq=4 cq=8 buffers=4,uring:faults=1,uring:without=recv-bundle,uring:without=defer-taskrun,uring:without=recv-multishot,uring:without=accept-multishot
test-rings: ## run all end-to-end tests on each of the forms that io_uring can have, some minutes, as root
	FOO_ENGINES='$(RINGS)' $(GO) test -count=1 -timeout 30m $(TESTFLAGS) ./e2e

race: ## run all tests under the race detector (needs a C compiler)
	$(GO) test $(TESTFLAGS) -race ./...

lint: ## run go vet, staticcheck and gofumpt, at the versions pinned in go.mod
	$(GO) vet ./...
	$(GO) vet -tags giouring ./ring/...
	$(GO) vet -tags noasm ./codec/...
	$(GO) tool staticcheck ./...
	@unformatted="$$($(GO) tool gofumpt -l .)"; test -z "$$unformatted" || \
		{ echo "gofumpt would change these files (go tool gofumpt -w FILE):"; echo "$$unformatted"; exit 1; }

fuzz: ## run each fuzz target for FUZZTIME (default 10s)
	@grep -rn --include='*_test.go' '^func Fuzz' . | sed -E 's|^(.*)/[^/]*:[0-9]+:func (Fuzz[A-Za-z0-9_]*).*|\1 \2|' | \
	while read -r package target; do \
		echo "== $$package $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package </dev/null || exit 1; \
	done

mutants: ## break the code on purpose and see that the tests notice, some minutes
	$(GO) test -tags mutants -run TestMutants -timeout 60m -v ./proxy
	$(GO) test -tags mutants -run TestMutants -timeout 30m ./codec

vuln: ## look for known vulnerabilities in what the commands link; needs the database at vuln.go.dev, or GOVULNDB
	$(GO) tool govulncheck $(if $(GOVULNDB),-db $(GOVULNDB)) ./cmd/...

simulate: ## play SEEDS simulations (default 100000) of sessions on a fake kernel, from FOO_SEED on, half of them for each engine
	FOO_SEEDS=$(SEEDS) $(GO) test -count=1 -timeout 0 -v -run '^TestSimulationSeeds$$' ./proxy

soak: ## run mixed load with faults on each engine in turn, for SOAK each (default 10m), on a machine without other load
	FOO_SOAK=$(SOAK) FOO_FAULTS=1 $(GO) test -count=1 -timeout 0 -v -run '^TestSoak$$' ./e2e

bench: build ## compare fooproxy with HAProxy and nginx where they are installed
	$(BIN)/foobench compare

bench-full: build ## the same with more and longer runs
	$(BIN)/foobench compare --full

micro: ## run the benchmarks of codec, ring, stats and log six times, for benchstat
	$(GO) test -run '^$$' -bench . -count 6 -tags giouring -ldflags=-checklinkname=0 ./codec ./ring ./stats ./accesslog

profile: build ## profile one ENGINE under one WORKLOAD
	$(BIN)/foobench profile --engine $(ENGINE) --workload $(WORKLOAD)

run: build ## start server and proxy, and talk to them
	scripts/run.sh $(BIN)

clean: ## remove what was built
	rm -rf $(BIN)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
