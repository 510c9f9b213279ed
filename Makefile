# Every target is a plain command: read it here, or run it by hand.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup.stamp
ARGS ?=

.PHONY: help setup gateway promtool demo test test-unit test-tap test-api test-opamp test-ui lint types bench-peers release-checks lock docs clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## virtual environment .venv with flowgate in it

# The stamp lies in the environment it speaks of: without the one the other is gone too.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { echo "Python 3.11 is needed; name it with PYTHON=..." >&2; exit 5; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { echo "python3 -m venv does not work here: install python3-venv" >&2; exit 5; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

gateway: setup  ## Collector, Supervisor and node_exporter into gateway/build/
	@gateway/build.sh

promtool: setup  ## Prometheus' promtool, the judge of label demand, into gateway/build/
	@gateway/build.sh promtool

demo: setup gateway  ## the whole loop on real processes; ARGS=--once checks itself and exits
	@$(BIN)/flowgate demo $(ARGS)

test: setup gateway promtool lint types  ## everything CI runs
	$(BIN)/python -m pytest tests -m e2e
	$(BIN)/python -m pytest tests -m "not e2e" -n 2

test-unit: setup  ## what needs no binary and no other process
	$(BIN)/python -m pytest tests -m "not e2e and not binary" -n 2

test-tap: setup  ## the tap
	$(BIN)/python -m pytest tests/ingest tests/contracts

test-api: setup  ## the control plane
	$(BIN)/python -m pytest tests/controlplane tests/contracts

test-opamp: setup  ## the protocol
	$(BIN)/python -m pytest tests/opamp

test-ui: setup  ## the pages
	$(BIN)/python -m pytest tests/dashboards

lint: setup  ## ruff, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup  ## pyright, strict on every room
	$(BIN)/pyright

bench-peers: setup  ## the Collector that `flowgate bench tap` measures against
	@gateway/build.sh benchcol

release-checks: setup gateway promtool  ## full counts; a part that held is not run again
	$(BIN)/python -m tests.semantics --claims 500 --data-sets 5 --done gateway/build/semantics.held $(ARGS)
	$(call held,kills,FLOWGATE_KILLS=200 FLOWGATE_COLLECTOR_KILLS=10,tests/e2e/test_kill.py)
	$(call held,fuzz,FLOWGATE_FUZZ=1000000,tests/ingest/test_fuzz.py)
	$(call held,mutation,FLOWGATE_FULL=1,tests/analyzer/test_mutation.py)
	$(call held,accounting,FLOWGATE_ACCOUNT=10000000,tests/ingest/test_accounting.py)
	$(call held,planted,FLOWGATE_FULL=1,tests/planted/test_planted.py)
	$(call held,aggregation,FLOWGATE_FULL=1,tests/aggregation)
	$(call held,names,FLOWGATE_FULL=1,tests/controlplane/test_render_hostile.py)
	$(call held,actions,FLOWGATE_FULL=1,tests/controlplane/test_render_live.py)

# A suite with its full counts, once for each commit: name, counts, file.
held = @test -e gateway/build/$(1).$(COMMIT).held || { $(2) $(BIN)/python -m pytest -q $(3) && touch gateway/build/$(1).$(COMMIT).held; }
COMMIT = $(shell git rev-parse --short HEAD 2>/dev/null || echo none)

lock:  ## constraints.txt and requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --python-version 3.11 --python-platform linux --all-extras --group dev --no-emit-index-url --no-header --no-annotate \
	  pyproject.toml -o constraints.txt
	$(BIN)/uv pip compile --quiet --python-version 3.11 --python-platform linux --all-extras --group dev --no-emit-index-url --no-header --no-annotate \
	  --generate-hashes -c constraints.txt pyproject.toml -o requirements.lock

docs: setup  ## the reference pages that are made from code
	$(BIN)/flowgate openapi > docs/openapi.json

clean:  ## what was built and written
	rm -rf gateway/build flowgate-data $(VENV)
