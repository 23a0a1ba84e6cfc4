# Everything a person types. Needs Python 3.11+ and make; the rest installs itself into .venv and tools/.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
LOCK := tools/requirements.lock
READY := $(VENV)/.ready
TOOLS := tools/node_modules/.ready
UI := services/console/ui
UI_TOOLS := $(UI)/node_modules/.ready
UI_BUILT := services/console/static/.ready
UI_SOURCES := $(shell find $(UI)/src $(UI)/public $(UI)/index.html $(UI)/vite.config.ts -type f 2>/dev/null)
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm
BUF := PATH="$(CURDIR)/$(BIN):$$PATH" tools/node_modules/.bin/buf
ARGS ?=
ONLY ?=
RECIPE ?=
WORKERS ?= 3
PEERS ?= pytriton kserve litserve

.DEFAULT_GOAL := help
.PHONY: help setup ui demo up test test-browser test-external check fmt proto docs bench bench-peers chaos lock clean

help:  ## What there is to type
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(READY) $(UI_BUILT)  ## Set the environment up

$(READY): $(LOCK) tools/bootstrap.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Loopline needs Python 3.11 or later" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tools/bootstrap.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $(LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $(READY)

$(TOOLS): tools/package.json tools/package-lock.json $(READY)
	cd tools && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund --loglevel=error
	@touch $(TOOLS)

$(UI_TOOLS): $(UI)/package.json $(UI)/package-lock.json $(READY)
	cd $(UI) && $(NPM) ci --no-audit --no-fund --loglevel=error
	@touch $(UI_TOOLS)

$(UI_BUILT): $(UI_TOOLS) $(UI_SOURCES)
	cd $(UI) && $(NPM) run --silent build -- --logLevel warn
	@touch $(UI_BUILT)

ui: $(UI_BUILT)  ## Build the console's pages

demo: $(READY) $(UI_BUILT)  ## The whole flywheel on real images (RECIPE=detection|segmentation, ARGS="--json out.json")
	$(BIN)/loopline demo $(if $(RECIPE),--recipe $(RECIPE)) $(ARGS)

up: $(READY) $(UI_BUILT)  ## Start the platform and stay
	$(BIN)/loopline up $(ARGS)

test: $(READY) $(TOOLS) $(UI_BUILT)  ## Every test that needs nothing but this environment
	$(RUN) -m pytest -m "not external" -n $(WORKERS) --dist worksteal $(ARGS)

test-browser: $(READY) $(UI_BUILT)  ## The console in a real browser (Debian: apt-get install chromium)
	$(RUN) -m pytest -m external tests/browser $(ARGS)

test-external: test-browser $(TOOLS)  ## The same, and against peers' programs in environments of their own
	@$(MAKE) --no-print-directory bench-peers PEERS="kserve tritonclient label-studio datumaro"
	$(RUN) -m pytest -m external --ignore tests/browser $(ARGS)  # the browser's driver keeps a loop running

check: $(READY) $(TOOLS) $(UI_BUILT)  ## Lint, types, layers, contracts, generated code
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BUF) lint proto
	$(BUF) breaking proto --against proto/released.binpb
	$(RUN) proto/generate.py --check
	$(RUN) -m loopline.client.generate --check
	$(RUN) -m tools.generate_docs --check
	$(RUN) -m tools.generate_openapi --check
	$(RUN) -m tools.generate_dashboards --check
	$(RUN) -m tools.generate_consumers --check
	cd $(UI) && $(NPM) run --silent check
	$(RUN) -m tools.ui_bundle

fmt: $(READY)  ## Format and mend what can be mended
	$(BIN)/ruff check --fix --quiet || true
	$(BIN)/ruff format --quiet
	test ! -d $(UI)/node_modules || (cd $(UI) && $(NPM) run --silent fmt)

proto: $(READY)  ## Generate the contracts' code
	$(RUN) proto/generate.py
	$(RUN) -m loopline.client.generate

docs: $(READY) $(TOOLS) $(UI_TOOLS)  ## Generate docs/events.md, docs/asyncapi.json, the console's document and its types, dashboards
	$(RUN) -m tools.generate_docs
	$(RUN) -m tools.generate_openapi
	$(RUN) -m tools.generate_dashboards
	$(RUN) -m tools.generate_consumers
	cd $(UI) && $(NPM) run --silent types

bench: $(READY)  ## Ratios to .bench/results.json (ONLY=name)
	$(RUN) -m tests.bench $(if $(ONLY),--only $(ONLY))

bench-peers: $(READY)  ## Peers' programs, each in an environment of its own
	$(foreach peer,$(PEERS),$(call install-peer,$(peer)))

define install-peer
	test -f .bench/peers/$(1)/.ready || { $(BIN)/uv venv --quiet --allow-existing .bench/peers/$(1) && \
	  $(BIN)/uv pip install --quiet --python .bench/peers/$(1)/bin/python \
	    -r tools/peers/$(1).txt && touch .bench/peers/$(1)/.ready; }

endef

chaos: $(READY)  ## The fault tests at length
	$(RUN) -m tests.chaos $(ARGS)

lock: $(READY)  ## Resolve the dependencies anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-header pyproject.toml -o $(LOCK)

clean:  ## Remove what was set up; data folders stay
	rm -rf $(VENV) tools/node_modules $(UI)/node_modules services/console/static .mypy_cache .ruff_cache .pytest_cache .bench
