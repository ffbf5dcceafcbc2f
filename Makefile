# What is built and fetched lives outside the clone, unless you say otherwise.
cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/micro
export CARGO_TARGET_DIR ?= $(cache)/target
export MICRO_CACHE ?= $(cache)

.DEFAULT_GOAL := help
.PHONY: help demo test install fuzz chaos bench lint fmt

help: ## List what can be done here
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo: ## Start services in Rust, Python, C, Go and Node, call them, kill one under load, and the broker of an event; needs only Rust (3 minutes, once)
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust from https://rustup.rs" >&2; exit 1; }
	@echo "Building the micro command, the greeter in Rust, libmicro for the one in C and the packages for Python and Node,"
	@echo "once and without optimization, in $(CARGO_TARGET_DIR). Nothing is installed elsewhere."
	@cargo build --locked --package micro-cli --package micro-examples --package micro-ffi --package micro-python --package micro-node \
		--lib --bin micro --bin demo --bin greeter-service
	@if scripts/python --tree "$(CARGO_TARGET_DIR)/debug"; then export MICRO_DEMO_PYTHON=python3 \
		PYTHONPATH="$(CARGO_TARGET_DIR)/debug/python"; else echo "SKIPPED Python: the demo goes on without"; fi; \
		if scripts/node --tree "$(CARGO_TARGET_DIR)/debug"; then export MICRO_DEMO_NODE=node; \
		else echo "SKIPPED Node: the demo goes on without"; fi; \
		"$(CARGO_TARGET_DIR)/debug/demo"

test: ## Check everything: format, lints, docs, unit and interop tests, the demo
	@scripts/test

install: ## Install libmicro for C programs in PREFIX=/usr/local, in front of it DESTDIR=
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" PROFILE="$(PROFILE)" scripts/install

fuzz: ## Search for inputs that break a promise; SECONDS=600 in all, TARGETS for some
	@scripts/fuzz $(or $(SECONDS),600) $(TARGETS)

bench: ## Measure against bare tonic in a release build; writes docs/benchmarks.md
	scripts/python --build
	scripts/node --build
	cargo xtask bench

chaos: ## Kill, pause, slow, flood and restart a fleet under load; SECONDS=120 SEED= ARGUMENTS=
	cargo run --locked --release --package micro-chaos -- \
		--seconds $(or $(SECONDS),120) $(if $(SEED),--seed $(SEED)) $(ARGUMENTS)

lint: ## Check format, lints and docs
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps

fmt: ## Format the sources
	cargo fmt --all
