# openstack-ocf: `make` builds, `make demo` shows it on a cluster, `make test` tests it.
.DEFAULT_GOAL := build
.PHONY: build install packages deps demo-deps unit test test-trixie test-policy demo chaos bench lint fmt changelog clean

GO        ?= $(shell test/deps/go-path)
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0)
LDFLAGS    = -s -w -X main.version=$(VERSION)
TAGS       = urfave_cli_no_docs,nethttpomithttp2
BIN        = bin/openstack-ocf
export CGO_ENABLED = 0

build:
	$(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $(BIN) ./agents/openstack-ocf

# Not from bin/, where another make may be building.
install:
	@tree=$$(mktemp -d) && trap 'rm -rf "$$tree"' EXIT && \
	$(MAKE) --no-print-directory build BIN="$$tree/openstack-ocf" && \
	GO='$(GO)' packaging/layout "$$tree/openstack-ocf" "$$tree" && DESTDIR='$(DESTDIR)' packaging/install --tree "$$tree"

# An rpm, a deb and a tarball for each of ARCHES, into dist/. PACKAGE_VERSION is what git says, or given.
ARCHES = amd64 arm64
packages:
	@GO='$(GO)' VERSION='$(PACKAGE_VERSION)' packaging/build $(ARCHES)

# What the tests need, or the demo, from apt or dnf; does nothing when all is there.
deps:
	@test/deps/install

demo-deps:
	@test/deps/install demo

# What can be decided without root, a daemon or a network: half a minute. The rest is skipped, and says what it needs.
unit:
	@UNIT=1 SHORT=1 test/deps/run-tests $(or $(PKG),./ocf/... ./lib/... ./agents/... ./test/house)

# RUN=regexp chooses tests, PKG packages; SHORT=1 leaves out the long ones, LONG=1 runs also the parts whose turn it is not this time.
test: deps build
	@test/deps/run-tests $(or $(PKG),./...)

# The cluster's tests once more, on nodes that run Debian 13, which is made there first (minutes, 1 GB).
CACHE = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/openstack-ocf
test-trixie: deps build
	@SUITE=trixie ROOT='$(CACHE)/trixie' test/deps/run-tests ./test/clustermysql ./test/plan ./test/status ./test/swap

# The targeted SELinux policy, whose sources are in POLICY, asked whether it lets agents and services do on EL what they do.
test-policy:
	@POLICY='$(abspath $(POLICY))' test/deps/run-tests ./test/policy

# KEEP=1 leaves the cluster up; DEMO_MARKDOWN=file gets the table of figures, DEMO_REPORT=file a page with a timeline, and
# DEMO_PICTURE=file a drawing of the fail-over after the power cut.
demo: demo-deps build
	@$(GO) build -o bin/ ./test/demo ./test/cluster/cmd/cluster
	@bin/demo

# Random faults, judged: FAULTS, CLUSTERS, MOST, SEED, FROM and TO, KINDS, LASTING, GROUP and OUT are told in test/chaos/cmd/chaos.
chaos: deps build
	@$(GO) build -o bin/ ./test/chaos/cmd/chaos
	@bin/chaos

# One package after the other: they measure. RUN=regexp chooses benchmarks; without others at work it takes 20 minutes. RUN=Failover is where
# the time of a fail-over goes, by FAILOVER_N turns (3), and draws bin/failover.svg; test/scenario/failover_bench_test.go has the rest.
bench: deps build
	@$(GO) test -p 1 -run '^$$' -bench '$(or $(RUN),.)' -timeout 60m ./test/bench/... ./test/scenario ./test/unit

# What it checks, and what it lets pass, is in .golangci.yml. The first time it builds the linters, in about three minutes.
GOLANGCI = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

lint:
	$(GOLANGCI) run

fmt:
	$(GOLANGCI) fmt

# CHANGELOG.md, of the packages' changelog.
changelog:
	@$(GO) test ./test/house -run Changelog -count=1 -update

clean:
	rm -rf bin dist
