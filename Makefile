# Targets set up what they need (scripts/setup.sh); `make help` lists them.

export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
SHELL := /bin/bash

.PHONY: build help run example test test-node test-example test-metrics test-bullmq test-long crash check-freshness check-cluster check-derive prove check-prove check-fresh test-servers test-postgres lint fmt bench docs docker clean

build: ## the module, target/release/libbear.so
	@scripts/setup.sh
	scripts/build.sh

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

run: ## try it: Redis with the module, in front of a Postgres of its own; BEAR_PORT, KEEP, ARGS
	@scripts/run.sh $(ARGS)

example: ## a NestJS service over bear, with Bull Board: examples/nestjs; PORT, BEAR_PORT, KEEP
	@scripts/example.sh

test: ## all tests, on the installed redis-server; ARGS go to cargo test
	@scripts/setup.sh test
	cargo test --locked $(ARGS)

test-node: ## the tests of clients/node and of examples/nestjs, on the installed redis-server; ARGS are words of the paths of test files
	@scripts/setup.sh node
	@if [[ -z "$$BEAR_TEST_MODULE" ]]; then cargo build --locked; fi
	cd clients/node && npm test -- $(ARGS)
	@if [[ -z "$(ARGS)" ]]; then $(MAKE) test-example; fi

test-example: ## the tests of examples/nestjs, through HTTP; test-node runs them, too
	@if [[ -z "$$BEAR_TEST_MODULE" ]]; then cargo build --locked; fi
	@scripts/example.sh --build
	cd examples/nestjs && npm test

test-bullmq: ## BullMQ's own tests on bear, a table of them; BULLMQ is a checkout of BullMQ 6, ARGS its test files or --json
	@scripts/setup.sh node
	@if [[ -z "$$BEAR_TEST_MODULE" ]]; then cargo build --locked; fi
	cd clients/node && npm run -s build && node test/bullmq/suite.mjs $(abspath $(BULLMQ)) $(ARGS)

test-metrics: ## what Prometheus' own tools say of /metrics, the alert rules and the dashboard
	@scripts/setup.sh metrics
	cargo test --locked --test live $(ARGS) -- --ignored server::metrics::

test-long: ## the tests whose full numbers take minutes: 100,000 entries come and go
	@scripts/setup.sh
	BEAR_TEST_SWEEP=100000 cargo test --locked --test live $(ARGS) -- sweep:: events::many::

crash: ## the crash sweeps in full: 500 kills, 300 with workers, 300 with the inbox, 100,000 jobs with bad ones, a minute's outage; BEAR_TEST_SEED repeats a run
	@scripts/setup.sh
	cargo test --locked --lib $(ARGS) -- --include-ignored claims::queue::model::
	BEAR_TEST_KILLS=$${BEAR_TEST_KILLS:-500} BEAR_TEST_SEED=$${BEAR_TEST_SEED:-$$RANDOM} BEAR_TEST_POISON=100000 \
	BEAR_TEST_OUTAGE_S=60 cargo test --locked --test live $(ARGS) -- --nocapture --test-threads=2 \
		crash:: restore:: lost_ledger:: drain_roles:: poison:: drain_outage::
	BEAR_TEST_KILLS=$${BEAR_TEST_KILLS:-300} BEAR_TEST_SEED=$${BEAR_TEST_SEED:-$$RANDOM} \
	cargo test --locked --test live $(ARGS) -- --nocapture --test-threads=1 workers:: faults::inbox::

check-freshness: ## the freshness checker in full: 10,000,000 answers checked under faults; BEAR_TEST_READS, BEAR_TEST_SEED
	@scripts/setup.sh
	cargo test --locked --lib $(ARGS) -- --include-ignored fills::model::
	BEAR_TEST_READS=$${BEAR_TEST_READS:-10000000} BEAR_TEST_SEED=$${BEAR_TEST_SEED:-$$RANDOM} \
	cargo test --locked --test live $(ARGS) -- --nocapture --test-threads=1 freshness::

check-cluster: ## the checker of a cluster in full: 100 faults of three masters with replicas, in network namespaces where root runs it; BEAR_TEST_FAULTS, BEAR_TEST_SEED
	@scripts/setup.sh test
	BEAR_TEST_FAULTS=$${BEAR_TEST_FAULTS:-100} BEAR_TEST_SEED=$${BEAR_TEST_SEED:-$$RANDOM} \
	cargo test --locked --test live $(ARGS) -- --nocapture --test-threads=1 faults::cluster::

check-derive: ## derived rules against Postgres' answers: 10,000 histories of known statements, as many of random ones, and through a server; BEAR_TEST_HISTORIES, BEAR_TEST_TRANSACTIONS, BEAR_TEST_SEED
	@scripts/setup.sh
	BEAR_TEST_HISTORIES=$${BEAR_TEST_HISTORIES:-10000} BEAR_TEST_SEED=$${BEAR_TEST_SEED:-$$RANDOM} \
	cargo test --locked --lib $(ARGS) -- --nocapture --test-threads=1 postgres::tests::histories::
	@scripts/setup.sh test
	BEAR_TEST_HISTORIES=$${BEAR_TEST_TRANSACTIONS:-300} BEAR_TEST_SEED=$${BEAR_TEST_SEED:-$$RANDOM} \
	cargo test --locked --test live $(ARGS) -- --nocapture --test-threads=1 feed::derived::

prove: ## a catalog on trial, on a copy of a database's schema: CATALOG=shop.toml DATABASE_URL=postgres://…; MINUTES, SEED, FEEDS, ARGS=--json
	@scripts/setup.sh >&2
	@scripts/build.sh >&2
	@cargo build --release --locked --example prove >&2
	@BEAR_TEST_MODULE=$(or $(CARGO_TARGET_DIR),target)/release/libbear.so exec $(or $(CARGO_TARGET_DIR),target)/release/examples/prove $(ARGS) "$(CATALOG)" "$(DATABASE_URL)"

check-prove: ## the same of schemas of public projects, which it brings, with the catalogs that BEAR.PROPOSE proposes; SECONDS_EACH, BEAR_TEST_SEED
	@scripts/setup.sh
	BEAR_TEST_SCHEMAS=$$(scripts/public-schemas.sh) BEAR_TEST_SECONDS=$${SECONDS_EACH:-60} \
	cargo test --locked --test live $(ARGS) -- --nocapture --test-threads=1 --ignored proving::public::

check-fresh: ## `make run` and `make test` in clean Debian roots, as root and with sudo; ARGS names cases
	@scripts/check-fresh.sh $(ARGS)

test-servers: ## all tests, on Redis 8 and Valkey 9 as well
	@scripts/setup.sh test
	@scripts/test-servers.sh $(ARGS)

test-postgres: ## the tests that meet Postgres, on 13, 17 and 18 of Debian's other suites, or on POSTGRES, folders of programs; ARGS names tests
	@scripts/setup.sh test
	@scripts/test-postgres.sh $(ARGS)

lint: ## formatting, clippy, shellcheck, licences of crates
	@scripts/setup.sh lint
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	shellcheck scripts/*.sh .ci/run packaging/debian/postinst packaging/debian/prerm $(wildcard bench/*.sh)
	scripts/third-party.py x86_64-unknown-linux-gnu --check

fmt: ## format the Rust code
	cargo fmt

bench: ## the tables of docs/performance.md
	@scripts/setup.sh
	scripts/build.sh
	bench/run.sh $(ARGS)

# Pinned; built once, which takes some minutes. Links are checked by tests/book.rs, which needs no mdBook.
MDBOOK_VERSION := 0.5.4
MDBOOK := target/mdbook-$(MDBOOK_VERSION)/bin/mdbook

docs: $(MDBOOK) ## the book as web pages, target/book
	$(MDBOOK) build
	scripts/pictures.sh target/book/clients/bull-board.html clients/node/target/board

$(MDBOOK):
	cargo install mdbook --version $(MDBOOK_VERSION) --locked --no-default-features --features search \
		--root target/mdbook-$(MDBOOK_VERSION)

docker: ## the image bear: Redis with the module
	DOCKER_BUILDKIT=1 docker build -t bear .

.PHONY: deb tarball arm64 check-arm64 dist check-packages

deb: ## the Debian packages bear-redis and bear-redis-dbgsym, target/dist
	@scripts/setup.sh packages
	scripts/package.sh deb

tarball: ## the module with all that belongs to it, and its symbols, target/dist
	@scripts/setup.sh packages
	scripts/package.sh tarball

arm64: ## the module for arm64, built on another machine: target/aarch64-unknown-linux-gnu/release/libbear.so
	@scripts/setup.sh arm64
	TARGET=aarch64-unknown-linux-gnu scripts/build.sh

check-arm64: ## that module, loaded by Redis 8 and Valkey 8 of arm64, which qemu-user emulates
	@scripts/setup.sh emulation
	TARGET=aarch64-unknown-linux-gnu scripts/build.sh
	@scripts/check-arm64.sh

# Pinned; built once, which takes some minutes.
CYCLONEDX_VERSION := 0.5.9
CYCLONEDX := target/cargo-cyclonedx-$(CYCLONEDX_VERSION)/bin/cargo-cyclonedx

dist: $(CYCLONEDX) ## what a release holds, with checksums and a bill of materials, target/dist; TARGETS names other machines as well
	@scripts/setup.sh packages
	@scripts/setup.sh node
	scripts/dist.sh $(abspath $(CYCLONEDX))

$(CYCLONEDX):
	cargo install cargo-cyclonedx --version $(CYCLONEDX_VERSION) --locked --root target/cargo-cyclonedx-$(CYCLONEDX_VERSION)

check-packages: ## the packages in clean Debian 12 and 13 roots, loaded by their redis-server and valkey-server; as root
	@scripts/setup.sh packages
	@compgen -G 'target/dist/bear-redis_*.deb' >/dev/null || scripts/package.sh deb
	@scripts/check-packages.sh $(ARGS)

clean: ## remove what was built
	cargo clean
