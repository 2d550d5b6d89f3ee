.DEFAULT_GOAL := help
SHELL := /bin/bash
export UV_PYTHON_DOWNLOADS := never
# Each start of Serval would compile all of its modules where an environment forbids to keep what was compiled.
export PYTHONDONTWRITEBYTECODE :=
PYTHON ?= python3
BIN := .venv/bin
NATIVE_SOURCES := $(shell find native -name '*.rs' -not -path '*/target/*') native/Cargo.toml native/Cargo.lock pyproject.toml

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.venv/.installed: requirements/build.txt requirements/dev.txt client/pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements/build.txt requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable client
	@touch $@

.venv/.native: .venv/.installed $(NATIVE_SOURCES)
	@echo "building the native core (a minute or two the first time)"
	@PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/.venv" $(BIN)/maturin develop --release --uv >.venv/native.log 2>&1 || (cat .venv/native.log; exit 1)
	@touch $@

.venv/bin/serval: .venv/.native

native: .venv/.native  ## build the Rust core and install `serval` into .venv

demo: .venv/.native  ## start a server, train, upload and ask real models
	@$(BIN)/serval demo

test: .venv/.native  ## the tests (slow ones apart), with coverage
	@$(BIN)/coverage erase
	@$(BIN)/python -m slipcover --source server/serval,client/serval_client --json --out .coverage.json -m pytest -n 3 --dist loadfile $(PYTEST)
	@PYTHONPATH=tests $(BIN)/python -m support.line_coverage .coverage.json
	@$(BIN)/coverage combine --quiet
	@set -o pipefail; $(BIN)/coverage report --fail-under=$(if $(PYTEST),0,90) | tail -n 40
	@cd native && cargo test --quiet

test-slow: .venv/.native  ## the tests that take minutes
	@$(BIN)/pytest -m slow -n 2 --dist loadfile --durations=10 $(PYTEST)

CLIENT_PYTHONS ?= $(HOME)/.pyenv/versions

test-client: .venv/.native  ## the client on Python 3.9 and 3.13, from PATH or pyenv, with packages from the network
	@PATH="$$(printf '%s:' $(CLIENT_PYTHONS)/3.9.*/bin $(CLIENT_PYTHONS)/3.13.*/bin)$$PATH" $(BIN)/pytest -m environments $(PYTEST)

fuzz: .venv/.native  ## millions of mutated requests for the Rust core
	@cd native && cargo test --quiet fuzz -- --ignored

check: .venv/.native  ## linters, types, import contracts, stubs; warnings are errors
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd server && ../$(BIN)/python -m mypy.stubtest serval._native --mypy-config-file ../pyproject.toml
	cd native && cargo fmt --check && cargo clippy --quiet --all-targets -- -D warnings
	cd loadtests/bench/limit && cargo fmt --check

LOADTESTS := PYTHONPATH=loadtests $(BIN)/python
environment = $(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/$(1) && $(BIN)/uv pip sync --quiet --python .venv/$(1)/bin/python --require-hashes $(2)

bench: .venv/.native .venv/.limit .venv/.go .venv/.peers  ## how fast it is, beside other servers (QUICK=1: a few minutes); needs `wrk`
	@$(LOADTESTS) -m bench $(if $(QUICK),--quick) $(BENCH)

loadtest: .venv/.native .venv/.locust  ## Locust's scenarios against a server of their own, with thresholds
	@$(LOADTESTS) loadtests/run.py $(LOADTEST)

soak: .venv/.native  ## does its memory stay as it is, over a million requests and 500 loads; needs `wrk`
	@$(LOADTESTS) loadtests/soak.py $(SOAK)

.venv/.limit: .venv/.installed $(wildcard loadtests/bench/limit/src/*.rs) loadtests/bench/limit/Cargo.toml loadtests/bench/limit/Cargo.lock
	@cd loadtests/bench/limit && cargo build --quiet --release --locked
	@touch $@

.venv/.go: .venv/.installed loadtests/bench/go/main.go
	@! PATH="$$PATH:/usr/local/go/bin" command -v go >/dev/null || (cd loadtests/bench/go && PATH="$$PATH:/usr/local/go/bin" go build -o $(CURDIR)/$(BIN)/bench-go .)
	@touch $@

.venv/.peers: .venv/.installed loadtests/bench/peers/requirements.txt loadtests/bench/peers/mlserver.txt
	@echo "installing the Python servers to compare with, 0.8 GB"
	@$(call environment,peers,loadtests/bench/peers/requirements.txt) || echo "some are not installed: the benchmark leaves them out"
	@$(call environment,peers-mlserver,loadtests/bench/peers/mlserver.txt) || echo "MLServer is not installed: the benchmark leaves it out"
	@touch $@

.venv/.locust: .venv/.installed requirements/loadtests.txt
	@$(call environment,loadtests,requirements/loadtests.txt)
	@touch $@

docs: .venv/.native  ## write the reference tables of docs/ anew
	@$(BIN)/python docs/generate.py

clean:  ## remove what was built
	rm -rf .venv native/target loadtests/bench/limit/target

lock:  ## lock the dependencies anew
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-package serval-client --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-package serval-client pyproject.toml -o requirements/serval.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes requirements/build.in -o requirements/build.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --group loadtests -o requirements/loadtests.txt
	cd loadtests/bench/peers && for each in requirements mlserver; do uv pip compile -q --universal --python-version 3.11 --generate-hashes $$each.in -o $$each.txt; done

.PHONY: help native demo test test-slow test-client fuzz check bench loadtest soak docs clean lock
