.DEFAULT_GOAL := help
SHELL := /bin/bash
export UV_PYTHON_DOWNLOADS := never
PYTHON ?= python3
BIN := .venv/bin
NATIVE_SOURCES := $(shell find native -name '*.rs' -not -path '*/target/*') native/Cargo.toml native/Cargo.lock pyproject.toml

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.venv/.installed: requirements/build.txt requirements/dev.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements/build.txt requirements/dev.txt
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
	@$(BIN)/coverage run -m pytest -n 2 --dist loadfile $(PYTEST)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --fail-under=90 | tail -n 40
	@cd native && cargo test --quiet

test-slow: .venv/.native  ## the tests that take minutes
	@$(BIN)/pytest -m slow -n 2 --dist loadfile --durations=10 $(PYTEST)

check: .venv/.native  ## linters, types, import contracts, stubs; warnings are errors
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd server && ../$(BIN)/python -m mypy.stubtest serval._native --mypy-config-file ../pyproject.toml
	cd native && cargo fmt --check && cargo clippy --quiet --all-targets -- -D warnings

docs: .venv/.native  ## write the reference tables of docs/ anew
	@$(BIN)/python docs/generate.py

clean:  ## remove what was built
	rm -rf .venv native/target

lock:  ## lock the dependencies anew
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes pyproject.toml -o requirements/serval.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes requirements/build.in -o requirements/build.txt

.PHONY: help native demo test test-slow check docs clean lock
