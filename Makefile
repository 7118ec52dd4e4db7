# isodrop: every target installs what it needs into .venv and leaves the rest of the machine alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Bytecode goes into build/ and not beside the sources, so that no package contains bytecode of this Python.
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/bytecode
export SAM_CLI_TELEMETRY := 0
# Most targets do not call AWS; a Region keeps the clients from looking for a configuration.
export AWS_DEFAULT_REGION ?= eu-central-1

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: venv
venv: $(VENV)/.made ## create .venv with all dependencies and the isodrop command
$(VENV)/.made: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "isodrop needs Python 3.11 or newer; name one with make PYTHON=python3.13 …" >&2; exit 1; }
	@echo "installing into $(VENV), once; about half a minute when the downloads are cached" >&2
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: venv ## import one ISO on this machine, from upload to answer: make demo [ISO=path] [JSON=1]
	@exec $(BIN)/python -m isodrop_local.demo $${ISO:+--iso "$$ISO"} $${JSON:+--json}

.PHONY: local
local: venv ## run the stack on this machine, and print how to use it: make local [PORT=4566] [CONTAINERS=1]
	@exec $(strip $(BIN)/python -m isodrop_local.serve $(if $(CONTAINERS),--containers "$(CONTAINERS)") \
	  $(if $(filter command line,$(origin PORT)),--port "$(PORT)"))

.PHONY: package
package: venv ## build the plain CloudFormation template and its artifacts in build/package
	@$(BIN)/python -m tools.package build/package

.PHONY: release
release: venv ## build wheel, package, SBOM and SHA256SUMS of a tag in build/release: make release [TAG=v0.1.0]
	@$(BIN)/python -m tools.release $(TAG:%=--tag %) build/release

AUDIT := .venv-audit
$(AUDIT)/.made: requirements/audit.txt
	@echo "installing into $(AUDIT), once; about a minute when the downloads are cached" >&2
	@rm -rf $(AUDIT) && $(PYTHON) -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements/audit.txt
	@touch $@

.PHONY: audit
audit: venv $(AUDIT)/.made ## run checkov, bandit, license, SBOM and pip-audit checks: make audit [ONLY=checkov]
	@$(BIN)/python -m tools.audit $(ONLY:%=--only %)

.PHONY: lock
LOCK := ../.venv-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --override overrides.in --custom-compile-command "make lock"
lock: ## upgrade all dependencies, and lock them with hashes
	@$(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv
	@cd requirements && $(LOCK) ../layers/isodrop/requirements.in --output-file ../layers/isodrop/requirements.txt
	@cd requirements && $(LOCK) dev.in --output-file dev.txt
	@# Without the overrides: checkov runs with the boto3 that it asks for.
	@cd requirements && $(filter-out --override overrides.in,$(LOCK)) audit.in --output-file audit.txt
	@cd requirements && $(LOCK) node.in --output-file node.txt
	@cd requirements && $(LOCK) runtime.in --output-file runtime.txt
	@cd requirements/npm && npm install --package-lock-only --no-audit --no-fund
	@rm -rf .venv-lock

.PHONY: lint
lint: venv requirements/npm/node_modules ## check format, types, imports, template, state machine, contract and diagrams
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy layers/isodrop/isodrop cli/isodrop_cli local/isodrop_local tools functions tests examples
	@mkdir -p build && PYTHONPATH=. $(BIN)/lint-imports --no-logo --no-cache >build/imports.txt || { cat build/imports.txt >&2; exit 1; }
	@$(BIN)/python -m tools.contract --check
	@$(BIN)/python -m tools.reference --check
	@PATH="$$PATH:$(abspath $(BIN))" $(BIN)/python -m tools.diagrams --check
	@rm -rf build/lint && $(BIN)/python -m isodrop_local.template build/lint
	@$(BIN)/cfn-lint template.yaml monitoring.yaml events/registry.json examples/*/template.yaml $$(ls build/lint/*.json | grep -v asl)
	@$(BIN)/sam validate --lint
	@cd requirements/npm && PATH="$$PATH:$(abspath $(BIN))" node_modules/.bin/asl-validator $$(printf -- "--json-path %s " ../../build/lint/*.asl.json)
	@PATH="$$PATH:$(abspath $(BIN))" node tools/check_asl.mjs build/lint/*.asl.json

requirements/npm/node_modules: requirements/npm/package-lock.json
	@command -v npm >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/node.txt
	@cd requirements/npm && PATH="$$PATH:$(abspath $(BIN))" npm ci --no-audit --no-fund --silent

.PHONY: contract
contract: venv ## run the local stack to regenerate the events' schemas, samples and pages
	@$(BIN)/python -m tools.contract

.PHONY: reference
reference: venv ## regenerate docs/configuration.md, and the help texts in docs/commands.md
	@$(BIN)/python -m tools.reference

.PHONY: format
format: venv ## format, and fix what can be fixed automatically
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

.PHONY: test
# With bytecode, the tests and the many processes that they start load their modules much faster.
test: export PYTHONDONTWRITEBYTECODE :=
test: venv ## run all tests; under four minutes on two cores
	@$(BIN)/pytest tests/unit tests/property --disable-socket --allow-unix-socket -n 2
	@# Four workers even on two cores: these tests mostly wait for the local stack.
	@$(BIN)/pytest tests/integration tests/stack -n 4 --dist loadfile --no-loadscope-reorder

.PHONY: soak
soak: soak-reader soak-faults soak-flood soak-hash soak-upload burst ## run the six targets below, which take too long for make test

.PHONY: soak-reader
soak-reader: venv ## read damaged ISOs for a minute or two: make soak-reader [COUNT=100000] [SEED=20240906]
	@$(BIN)/python -m tests.soak.reader $${COUNT:+--count "$$COUNT"} $${SEED:+--seed "$$SEED"}

.PHONY: soak-faults
soak-faults: venv ## run random schedules of faults: make soak-faults [MINUTES=10] [SCHEDULES=1000] [SEED=1] [STACK=1]
	@$(BIN)/python -m tests.resilience.soak $${SEED:+--seed "$$SEED"} $${SCHEDULES:+--schedules "$$SCHEDULES"} \
	  $${MINUTES:+--minutes "$$MINUTES"} $${STACK:+--stack}

.PHONY: soak-flood
soak-flood: venv ## check that an upload behind 60 others is imported, although only three builds may run at once
	@$(BIN)/pytest tests/integration -m soak

.PHONY: soak-hash
soak-hash: venv ## hash up to 8 GiB as ImportIso does, and compare with sha256sum
	@$(BIN)/python -m tests.soak.flat_hash

.PHONY: soak-upload
soak-upload: venv ## upload 1 GiB with a command that is killed twice and resumes: make soak-upload [SIZE=1024], in MiB
	@$(BIN)/python -m tests.soak.resumable_upload $${SIZE:+--size "$$SIZE"}

.PHONY: burst
burst: venv ## upload 300 ISOs and 300 repeats at once to the local stack: make burst [ISOS=300] [QUOTA=20]
	@$(BIN)/python -m tests.resilience.burst $${ISOS:+--isos "$$ISOS"} $${QUOTA:+--quota "$$QUOTA"}

.PHONY: mutants
# Files are changed more than once a second here, which the timestamps in bytecode cannot show.
mutants: export PYTHONDONTWRITEBYTECODE := 1
mutants: venv ## break the code on purpose, one way at a time, and check that a test fails
	@$(BIN)/python -m tests.resilience.mutants

.PHONY: paths
paths: venv ## run all paths of the state machine in three interpreters; writes docs/state-machine.md
	@$(BIN)/python -m tests.resilience.paths_page

.PHONY: bench
bench: venv ## benchmark the ISO reader, calls, cold starts and polling; writes docs/benchmarks.md and README.md; six minutes
	@$(BIN)/python -m tools.bench
	@$(BIN)/python -m tools.bench calls
	@$(BIN)/python -m tools.bench cold-start
	@$(BIN)/python -m tools.bench polling

.PHONY: growth
growth: venv ## measure what gets slower with the number of answered uploads, 100 to 100,000; writes docs/benchmarks.md; a few minutes
	@$(BIN)/python -m tools.bench growth

.PHONY: test-sam
test-sam: venv ## run the documented SAM commands with the SAM CLI on the local stack; a few minutes
	@$(BIN)/python -m tools.sam_walkthrough

.PHONY: test-sam-local
test-sam-local: venv ## run sam local invoke for every function, in AWS's container image or a substitute
	@$(BIN)/python -m tools.sam_local

.PHONY: diagrams
diagrams: venv requirements/npm/node_modules ## redraw state machine and dashboard; with RECORD=1 first record new data: a simulated day and an upload
	@PATH="$$PATH:$(abspath $(BIN))" $(BIN)/python -m tools.diagrams $${RECORD:+--record}

.PHONY: probe
probe: venv ## verify undocumented behavior in your account, before the first build: make probe [STACK=] [REGION=] [PROFILE=] [YES=1]
	@exec $(if $(filter file,$(origin AWS_DEFAULT_REGION)),env -u AWS_DEFAULT_REGION )$(BIN)/python -m tools.probe \
		$(if $(STACK),--stack "$(STACK)") $(if $(REGION),--region "$(REGION)") $(if $(PROFILE),--profile "$(PROFILE)") $(if $(YES),--yes)

.PHONY: smoke
smoke: venv ## run one real import on a deployed stack, which costs a build: make smoke ISO=path [STACK=] [REGION=] [PROFILE=] [YES=1]
	@# The Region above is for targets that do not call AWS; here your own configuration applies.
	@exec $(if $(filter file,$(origin AWS_DEFAULT_REGION)),env -u AWS_DEFAULT_REGION )$(BIN)/python -m tools.smoke "$(ISO)" \
		$(if $(STACK),--stack "$(STACK)") $(if $(REGION),--region "$(REGION)") $(if $(PROFILE),--profile "$(PROFILE)") $(if $(YES),--yes)

.PHONY: clean
clean: ## remove what the other targets created
	@rm -rf $(VENV) $(AUDIT) .venv-lock .aws-sam build requirements/npm/node_modules .mypy_cache .ruff_cache .hypothesis
