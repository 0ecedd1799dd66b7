# Everything a contributor types. Needs Python 3.11 or newer and make; the rest is installed into .venv.

PYTHON ?= python3
UV ?= uv
# Which PostgreSQL majors `make test-pg` runs on.
PG ?= 13,14,15,16,17,18
PYTEST_ARGS ?=
# Which Kubernetes `make test-envtest` runs on; the newest when empty.
KUBE ?=
OLDEST_TESTS := tests/kube/test_control_plane.py tests/kube/test_crds.py tests/operator/test_readme.py \
	tests/operator/test_some_namespaces.py
IMAGE ?= dbtether:latest
PLATFORMS ?= linux/amd64,linux/arm64
PUSH ?=

VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
READY := $(VENV)/.ready
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help demo test test-pure test-pg test-envtest test-oldest test-stores check format build crds \
	kube-programs docker-buildx bench lock clean

help: ## Say what can be typed
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s%s\n", $$1, $$2}'

demo: $(READY) ## Show dbtether at work on a PostgreSQL of its own
	$(BIN)/dbtether demo

test: $(READY) ## Run every test, on each PostgreSQL major that can be had
	$(BIN)/pytest -n auto $(PYTEST_ARGS)

test-pure: $(READY) ## Run the tests that need no PostgreSQL, no Kubernetes and no object store
	$(BIN)/pytest -n auto -m "not postgres and not kube and not stores" $(PYTEST_ARGS)

test-pg: $(READY) ## Run the tests on PostgreSQL alone, of some majors: make test-pg PG=16,18
	$(BIN)/pytest -n auto -m postgres --pg $(PG) $(PYTEST_ARGS)

test-envtest: $(READY) ## Run the tests on a Kubernetes API server alone, of one version: make test-envtest KUBE=1.31
	$(BIN)/pytest -n auto -m kube $(if $(KUBE),--kube $(KUBE)) $(PYTEST_ARGS)

test-stores: $(READY) ## Run the tests on object stores alone: a folder, S3, Google Cloud Storage, Azure Blob Storage
	$(BIN)/pytest -n auto -m stores $(PYTEST_ARGS)

test-oldest: $(READY) ## Run the tests of installation, CRDs and the README on the oldest Kubernetes that is promised
	$(BIN)/pytest -n auto -m kube --kube 1.31 --pg 18 $(OLDEST_TESTS) $(PYTEST_ARGS)

kube-programs: $(READY) ## Build the programs of the tests on Kubernetes that are not there yet, of both versions
	$(BIN)/python -m tests.kube.programs

check: $(READY) ## Check format, lint, types, layers and lock files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_layers.py
	$(BIN)/python .ci/check_locks.py

format: $(READY) ## Format the code and mend what lint can mend
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

build: $(READY) ## Build the wheel and the source archive into dist/
	$(BIN)/python -m hatchling build

crds: $(READY) ## Write the CRDs anew from the models, and config/{rbac,manager} from the chart (helm is built with Go)
	$(BIN)/python -m dbtether.crds config/crd/bases --chart charts/dbtether/files/crds
	$(BIN)/python -m tests.kube.plain_manifests

docker-buildx: ## Build the image for amd64 and arm64 (needs Docker with buildx): make docker-buildx IMAGE=NAME PUSH=1
	docker buildx build --platform $(PLATFORMS) --tag $(IMAGE) $(if $(PUSH),--push) .

bench: $(READY) ## Measure
	$(BIN)/python -m bench

lock: ## Write the lock files anew from pyproject.toml (needs uv); pinned versions stay where they still fit
	$(UV) $(COMPILE) --output-file requirements.lock
	$(UV) $(COMPILE) --all-extras --group dev --constraint requirements.lock --output-file requirements-dev.lock

clean: ## Remove what was built or cached, but not .venv
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(LOCKED): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "dbtether needs Python 3.11 or newer, and $(PYTHON) is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment: on Debian, install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@
