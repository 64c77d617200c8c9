# Everything that people and CI do here. `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --constraints constraints.txt

# For `make run` and `make compile`: make run CONFIG=movielens-100k SET='source.path=ml-100k.zip'
CONFIG ?= sample
SET ?=
OUTPUT ?= runs
RUN_SET = $(foreach pair,$(SET),--set $(pair))
BUILD_OPTIONS ?=
# One file's tests stay in one process, since they share what is expensive to make.
PARALLEL ?= --numprocesses=auto --dist=loadfile

# Huge pages: see docs/performance.md.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

define LIST_PACKAGES
from importlib.metadata import distributions
for line in sorted({f'{d.name}=={d.version}' for d in distributions()}):
    print(line)
endef
export LIST_PACKAGES

.PHONY: help run test test-all lint format compile images sbom audit golden schema docs bench pins release clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: $(VENV)/.run ## run the whole pipeline on this machine (CONFIG=sample, SET='key=value …')
	$(BIN)/deep-retrieval run --config $(CONFIG) $(RUN_SET) --output $(OUTPUT)

test: $(VENV)/.dev ## run the fast tests, in parallel
	$(BIN)/pytest $(PARALLEL) -m "not slow"

test-all: $(VENV)/.dev ## run all tests; MOVIELENS_100K=ml-100k.zip and AMAZON_BEAUTY=… add those on real data
	$(BIN)/pytest $(PARALLEL)

lint: $(VENV)/.dev ## check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev ## format the code and fix what can be fixed automatically
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

compile: $(VENV)/.run ## compile the pipeline for a cluster (CONFIG=sample)
	$(BIN)/deep-retrieval compile --config $(CONFIG) $(RUN_SET) --to pipeline.yaml

images: $(VENV)/.run ## build the steps' container images (BUILD_OPTIONS=--network=host)
	$(BIN)/deep-retrieval images build $(addprefix --build-option=,$(BUILD_OPTIONS))

sbom: images ## write a CycloneDX bill of materials for each image into build/sbom
	@mkdir -p build/sbom
	@$(BIN)/deep-retrieval images list | awk '{name = $$1; sub(/:[^:]*$$/, "", name)} !seen[name]++' | \
	while read -r image state; do \
	  name=$${image##*/}; name=$${name%%:*}; \
	  docker run --rm --network none "$$image" python3 -c "$$LIST_PACKAGES" >build/sbom/$$name.txt && \
	  $(BIN)/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements \
	    build/sbom/$$name.txt --output-file build/sbom/$$name.cdx.json && \
	  echo "$$name: $$(wc -l <build/sbom/$$name.txt) packages in build/sbom/$$name.cdx.json"; \
	done

audit: sbom ## check the images' packages for known vulnerabilities (PyPI's advisories)
	$(BIN)/uv tool run --quiet pip-audit==2.10.1 --no-deps --disable-pip --strict \
	  $(addprefix --requirement ,build/sbom/deep-retrieval-data.txt build/sbom/deep-retrieval-model.txt)

golden: $(VENV)/.dev ## accept the compiled pipeline as the new reference for the tests
	$(BIN)/python tests/pipeline/golden.py

schema: $(VENV)/.dev ## write the JSON schema of the config, for editors
	$(BIN)/python -m pipeline.config.schema

docs: $(VENV)/.dev ## write docs/reference/ from the config models and the commands' help
	$(BIN)/python -m pipeline.config.reference
	$(BIN)/python -m pipeline.cli.reference

bench: $(VENV)/.run ## time each step on MovieLens 100K (MOVIELENS_100K=ml-100k.zip)
	$(BIN)/python tests/benchmarks/steps.py

pins: $(VENV)/.dev ## upgrade all pins in constraints.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra gpu --universal --python-version 3.11 \
	  --upgrade --no-header --no-annotate --no-emit-index-url --quiet --output-file constraints.txt

release: $(VENV)/.dev ## set the version, date the changelog, build, commit and tag (VERSION=1.2.3)
	@[[ "$(VERSION)" =~ ^[0-9]+\.[0-9]+\.[0-9]+$$ ]] || { echo "make release VERSION=1.2.3" >&2; exit 2; }
	@git diff --quiet HEAD || { echo "commit or stash your changes first" >&2; exit 2; }
	sed -i 's/^version = ".*"/version = "$(VERSION)"/' pyproject.toml
	sed -i "s/^## Unreleased$$/## Unreleased\n\n## $(VERSION) - $$(date +%F)/" CHANGELOG.md
	$(BIN)/uv build --quiet --out-dir dist
	git commit --quiet --all --message "Release $(VERSION)"
	git tag --annotate "v$(VERSION)" --message "Release $(VERSION)"
	@echo "committed and tagged; to publish it: git push origin HEAD v$(VERSION)"

clean: ## remove the environment and build files; results in runs/ stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache pipeline.yaml

# Bytecode is compiled on installation: without it, importing TensorFlow takes much longer.
$(VENV)/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==0.13.9

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/uv
	$(UV) --editable '.[local]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/uv
	$(UV) --editable '.[dev]'
	@touch $@ $(VENV)/.run
