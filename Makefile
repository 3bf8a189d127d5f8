# All commands of developers and operators. Requires make and Python 3.11 or newer.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TOOLS  := .tools
STAMPS := $(TOOLS)/stamps
VENV   := .venv
UV     := $(TOOLS)/uv/bin/uv
SAM    := $(TOOLS)/sam/bin/sam
PYTEST := $(VENV)/bin/python -m pytest

# The interpreters are the machine's own; no target downloads one.
export UV_PYTHON_DOWNLOADS := never
ifdef CI
export UV_NO_PROGRESS := 1
endif
export SAM_CLI_TELEMETRY := 0
export PATH := $(CURDIR)/$(TOOLS)/uv/bin:$(CURDIR)/$(TOOLS)/sam/bin:$(PATH)

# The contract tests need AWS's Runtime Interface Emulator, a Linux program.
LINUX := $(filter Linux,$(shell uname -s))

say = @printf '\033[1m%s\033[0m\n' "$(1)"

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environments ---------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(STAMPS)/dev $(STAMPS)/sam $(STAMPS)/ministack $(STAMPS)/fuzz $(if $(LINUX),$(STAMPS)/rie) ## Install everything from hash-pinned locks (what has changed since the last time)
	@echo "Ready. The command is $(VENV)/bin/evergrant; 'make demo' shows it working."

$(STAMPS):
	@mkdir -p $@

$(STAMPS)/uv: requirements/uv.txt | $(STAMPS)
	$(call say,uv: the installer of everything else)
	@python=$$(scripts/find-python); "$$python" -m venv --clear $(TOOLS)/uv
	@$(TOOLS)/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r requirements/uv.txt
	@touch $@

# $(1): name of the lock, $(2): directory of the environment. A working environment is kept and updated. One of another
# Python than the deployed one is made anew as soon as the machine has that Python.
define environment
	@python=$$(scripts/find-python $(2)/bin/python); minor='import sys; print(*sys.version_info[:2])'; \
	[ "$$($(2)/bin/python -c "$$minor" 2>/dev/null)" = "$$("$$python" -c "$$minor")" ] \
		|| $(UV) venv --quiet --clear --python "$$python" $(2)
	@$(UV) pip install --compile-bytecode --python $(2)/bin/python --require-hashes -r requirements/$(1).txt
endef

$(STAMPS)/dev: requirements/dev.txt pyproject.toml scripts/find-python $(STAMPS)/uv
	$(call say,$(VENV): the evergrant command and the tests)
	$(call environment,dev,$(VENV))
	@$(UV) pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

$(STAMPS)/sam: requirements/sam.txt $(STAMPS)/uv
	$(call say,$(TOOLS)/sam: the AWS SAM CLI)
	$(call environment,sam,$(TOOLS)/sam)
	@touch $@

$(STAMPS)/ministack: requirements/ministack.txt $(STAMPS)/uv
	$(call say,$(TOOLS)/ministack: the emulated AWS)
	$(call environment,ministack,$(TOOLS)/ministack)
	@touch $@

$(STAMPS)/rie: requirements/rie.txt $(STAMPS)/uv
	$(call say,$(TOOLS)/rie: Lambda's Python runtime)
	$(call environment,rie,$(TOOLS)/rie)
	@touch $@

$(STAMPS)/fuzz: requirements/fuzz.txt $(STAMPS)/uv
	$(call say,$(TOOLS)/fuzz: the fuzzer)
	$(call environment,fuzz,$(TOOLS)/fuzz)
	@touch $@

# --- running it -----------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(STAMPS)/dev $(STAMPS)/sam $(STAMPS)/ministack ## Show it working: local AWS, five simulated providers, six connections kept alive
	@$(VENV)/bin/python -m local.demo

.PHONY: local
local: $(STAMPS)/dev $(STAMPS)/sam $(STAMPS)/ministack ## Run the whole stack on this machine, until Ctrl-C
	@$(VENV)/bin/python -m local

.PHONY: build
build: $(STAMPS)/sam $(STAMPS)/uv ## Build what 'sam deploy' uploads
	@MAKEFLAGS= $(SAM) build

.PHONY: deploy
deploy: $(STAMPS)/dev $(STAMPS)/sam $(STAMPS)/uv ## Build and deploy to your account; asks once what it needs (ARGS="--yes --region eu-west-1")
	@$(VENV)/bin/python -m scripts.deploy $(ARGS)

# --- checking it ----------------------------------------------------------------------------------------------------

PYTHON_DIRS := $(wildcard cli functions layers local scripts tests benchmarks examples)

.PHONY: lint
lint: $(STAMPS)/dev $(STAMPS)/sam ## Format, style, types, and the template
	$(call say,ruff)
	@$(VENV)/bin/ruff format --check $(PYTHON_DIRS)
	@$(VENV)/bin/ruff check $(PYTHON_DIRS)
	$(call say,mypy)
	@$(VENV)/bin/mypy $(PYTHON_DIRS)
	$(call say,sam validate)
	@AWS_REGION=$${AWS_REGION:-eu-west-1} $(SAM) validate --lint

.PHONY: format
format: $(STAMPS)/dev ## Fix format and import order
	@$(VENV)/bin/ruff check --select I --fix $(PYTHON_DIRS)
	@$(VENV)/bin/ruff format $(PYTHON_DIRS)

FAST = tests --ignore=tests/template --ignore=tests/contract --ignore=tests/stack --ignore=tests/browser \
	--ignore=tests/proof --ignore=tests/simulation --ignore=tests/mutants --numprocesses auto --dist loadfile
# Python 3.12 and newer count executed lines at almost no cost (PEP 669). A trace function doubles the tests' CPU time.
CORE = $$($(VENV)/bin/python -c 'import sys; print("sysmon" if hasattr(sys, "monitoring") else "ctrace")')

.PHONY: unit
unit: $(STAMPS)/dev ## The fast tests: pure logic, adapters, command, client
	$(call say,tests)
	@COVERAGE_CORE=$(CORE) $(PYTEST) $(FAST) --cov --cov-report=term:skip-covered --cov-fail-under=98
	$(call say,tests/proof and tests/simulation and tests/mutants)
	@$(PYTEST) tests/proof tests/simulation --numprocesses auto --dist loadfile
	@$(PYTEST) tests/mutants --numprocesses auto --dist load

.PHONY: coverage
coverage: $(STAMPS)/dev ## The same tests, and which branches they leave out
	@$(PYTEST) $(FAST) --cov --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=90

.PHONY: proof
proof: $(STAMPS)/dev ## The whole proof that rotation loses no token: every pair of faults, thousands of interleavings
	$(call say,tests/proof)
	@EVERGRANT_INTERLEAVINGS=5000 $(PYTEST) tests/proof -m "exhaustive or not exhaustive" -vv \
		--numprocesses auto --dist loadfile

SEED ?= 1
HOURS ?= 24

.PHONY: simulate
simulate: $(STAMPS)/dev ## Fleets and random troubles in virtual time, decided by a seed (SEED=1 HOURS=24)
	@PYTHONPATH=.:layers/evergrant:layers/evergrant_client:cli $(VENV)/bin/python -m tests.simulation --seed $(SEED) --hours $(HOURS)

.PHONY: scenarios
scenarios: $(STAMPS)/dev ## Every scenario of the simulation, at its full size
	$(call say,tests/simulation)
	@$(PYTEST) tests/simulation -m "exhaustive or not exhaustive" --numprocesses auto --dist load

.PHONY: template
template: $(STAMPS)/dev $(STAMPS)/sam ## The template's promises, and the artifacts built for Lambda
	$(call say,tests/template)
	@$(PYTEST) tests/template

.PHONY: contract
contract: $(STAMPS)/dev $(STAMPS)/sam $(STAMPS)/ministack $(STAMPS)/rie ## The built functions under Lambda's own runtime
	$(call say,tests/contract)
	@$(PYTEST) tests/contract

.PHONY: stack
stack: $(STAMPS)/dev $(STAMPS)/sam $(STAMPS)/ministack ## The deployed stack, on the emulated AWS with IAM enforced
	$(call say,tests/stack)
	@$(PYTEST) tests/stack --numprocesses 2 --dist loadfile

.PHONY: browser
browser: $(STAMPS)/dev $(STAMPS)/sam $(STAMPS)/ministack ## The connect pages in a real Chromium (CHROMIUM=path), with pictures of all of them
	$(call say,tests/browser)
	@chromium=$$(scripts/find-browser); CHROMIUM="$$chromium" $(PYTEST) tests/browser

FUZZ_SECONDS ?= 120

.PHONY: fuzz
fuzz: $(STAMPS)/fuzz ## Fuzz the parsers, guided by coverage (FUZZ_SECONDS=120 for each of four targets)
	$(call say,tests/fuzz)
	@PYTHONPATH=.:layers/evergrant $(TOOLS)/fuzz/bin/python -m tests.fuzz $(FUZZ_SECONDS)

.PHONY: mutants
mutants: $(STAMPS)/dev $(STAMPS)/sam ## Remove each security check in turn: a test fails without it (CHECKS="cookie seal" for some)
	@$(VENV)/bin/python -m tests.mutants $(CHECKS)

.PHONY: torture
torture: $(STAMPS)/dev $(STAMPS)/sam $(STAMPS)/ministack ## Inject faults into the deployed stack, and count the lost grants (ARGS="--seed 7 --json")
	@$(VENV)/bin/python -m local.torture $(ARGS)

.PHONY: test
test: lint ## Everything CI runs
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=2
	@$(MAKE) --no-print-directory template
	@$(if $(LINUX),$(MAKE) --no-print-directory contract,echo "contract tests need Linux: left out")
	@$(MAKE) --no-print-directory stack
	@if [ -n "$${CI:-}" ] || scripts/find-browser >/dev/null; then $(MAKE) --no-print-directory browser; \
		else echo "tests in a browser: left out"; fi

.PHONY: bench
bench: $(STAMPS)/dev $(STAMPS)/sam $(STAMPS)/ministack $(if $(LINUX),$(STAMPS)/rie) ## Measure it beside its alternatives (PARTS="rotation outbound start warm load"; takes minutes)
	@POWERTOOLS_METRICS_NAMESPACE=Evergrant POWERTOOLS_SERVICE_NAME=rotator $(VENV)/bin/python -m benchmarks $(PARTS)

# --- maintaining it -------------------------------------------------------------------------------------------------

# The locks have the hashes of all platforms' wheels and no index address: they install from the machine's own index.
COMPILE = $(UV) pip compile --quiet --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(LOCK_FLAGS)

.PHONY: lock
lock: $(STAMPS)/uv ## Rewrite the locks from the .in files (LOCK_FLAGS=--upgrade for newer versions)
	@$(COMPILE) layers/evergrant/requirements.in -o layers/evergrant/requirements.txt
	@for name in uv sam ministack rie fuzz dev; do echo "$$name"; $(COMPILE) -c layers/evergrant/requirements.txt requirements/$$name.in -o requirements/$$name.txt; done

.PHONY: profile-docs
profile-docs: $(STAMPS)/dev ## Rewrite docs/profiles.md and its JSON Schema from the profile format
	@$(VENV)/bin/python -m scripts.profile_docs

.PHONY: state-diagram
state-diagram: $(STAMPS)/dev ## Write the state diagram in docs/concepts.md anew from the state machine
	@$(VENV)/bin/python -m scripts.state_diagram

.PHONY: answer-table
answer-table: $(STAMPS)/dev ## Write the table of answer classes in docs/rotation.md anew from the code
	@$(VENV)/bin/python -m scripts.answer_table

.PHONY: page-images
page-images: browser ## Retake the pictures in docs/images
	@for page in landing connected link_expired; do cp .local/browser-tests/pictures/$$page-phone-light.png docs/images/$$page.png; done

.PHONY: clean
clean: ## Remove the output of builds and runs ('make distclean' removes the environments too)
	rm -rf .aws-sam .local .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -not -path './.venv/*' -not -path './.tools/*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Remove the environments as well
	rm -rf $(VENV) $(TOOLS)
