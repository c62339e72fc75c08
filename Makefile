# askdocs: `make run` asks this project's own docs; `make run DOCS=path` asks yours.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# 3.13 if it can make environments, because it is the fastest.
PYTHON ?= $(shell python3.13 -c 'import ensurepip' 2>/dev/null && echo python3.13 || \
	for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
DOCS ?= docs
ARGS ?=
ROUNDS ?= 3
# Python keeps what it compiles, else each run compiles every test again.
unexport PYTHONDONTWRITEBYTECODE
SIDE_BY_SIDE := --numprocesses 3 --dist loadscope --no-loadscope-reorder
# After tests that failed beside others: what fails by itself as well fails.
AGAIN = { [ $$? = 1 ] && echo "=== these again, by themselves" && .venv/bin/python -m pytest --last-failed --last-failed-no-failures none

.PHONY: help setup setup-dev run test test-fast chaos lint format lock

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: python ## Install the command .venv/bin/askdocs (continues where it stopped)
	@$(PYTHON) scripts/setup.py

setup-dev: python
	@$(PYTHON) scripts/setup.py --dev

run: setup ## Set up and start: DOCS=folder of your wiki, ARGS="--engine vllm ..."
	@exec .venv/bin/askdocs up --docs "$(DOCS)" $(ARGS)

test: setup-dev lint ## Run every check and test (skips tests with missing parts, and prints the fix)
	@.venv/bin/python -m pytest -m "not alone and not chaos" $(SIDE_BY_SIDE) --durations=25 || \
		$(AGAIN) -m "not alone and not chaos"; }
	@.venv/bin/python -m pytest -m alone $$(grep -rl --include='test_*.py' 'mark\.alone' tests) || \
		$(AGAIN) -m alone; }

test-fast: setup-dev ## Run the tests that are not marked slow or alone
	@.venv/bin/python -m pytest -m "not slow and not alone" $(SIDE_BY_SIDE) || \
		$(AGAIN) -m "not slow and not alone"; }

chaos: setup-dev ## Inject faults under load, ROUNDS=3 of each, with a table in .cache/chaos (half an hour)
	@CHAOS_ROUNDS="$(ROUNDS)" CHAOS_OUT=.cache/chaos .venv/bin/python -m pytest -m chaos tests/chaos

lint: setup-dev ## Run ruff, mypy and the import contracts
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

format: setup-dev ## Format the code with ruff
	@.venv/bin/ruff check --fix . && .venv/bin/ruff format .

lock: setup-dev ## Renew requirements/*.lock from pyproject.toml and requirements/*.in
	@sh scripts/lock.sh

.PHONY: audit sbom secrets fuzz security
SECURITY ?= .cache/security/environments/security/bin
LOCKS ?= $(wildcard requirements/*.lock)
# Known vulnerabilities that do not matter here: their ids, with the reason above each.
ACCEPTED :=

security: setup-dev
	@.venv/bin/python -m askdocs.environments security --home .cache/security >/dev/null

audit: security ## Check every pinned package for known vulnerabilities, with pip-audit
	@failed=0; for lock in $(LOCKS); do echo "$$lock"; $(SECURITY)/pip-audit --disable-pip \
		--require-hashes -s osv $(addprefix --ignore-vuln ,$(ACCEPTED)) -r "$$lock" || failed=1; \
		done; exit $$failed

sbom: security ## Write bills of materials (CycloneDX) to dist/sbom, with cyclonedx-py
	@mkdir -p dist/sbom && for lock in $(LOCKS); do $(SECURITY)/cyclonedx-py requirements "$$lock" \
		--output-reproducible --sv 1.6 --of JSON --pyproject pyproject.toml \
		-o "dist/sbom/$$(basename "$$lock" .lock).cdx.json" || exit 1; done

# Keys of services have forms of their own, which are looked for everywhere. Passwords and hashes
# are made up in tests and named in deploy/: there and in examples they are none.
TEXT = git ls-files | grep -Ev '\.(lock|onnx|png|jpe?g|svg|ico|woff2?)$$|package-lock\.json$$'
SCAN = xargs -r -d '\n' $(SECURITY)/detect-secrets-hook --no-verify
secrets: security ## Look for committed keys and passwords, with detect-secrets
	@$(TEXT) | $(SCAN) --exclude-lines 'XXXX' $(addprefix --disable-plugin ,KeywordDetector \
		BasicAuthDetector HexHighEntropyString Base64HighEntropyString)
	@$(TEXT) | grep -Ev '^(tests|deploy)/|^scripts/compose_env\.sh$$|_startup_files\.json$$' | \
		$(SCAN) --exclude-lines 'XXXX|PASSWORD|C0123456789|USER:|SHA256 = |SmolLM2-135M|user_role'

N ?= 200

fuzz: setup-dev ## Send N random requests to each endpoint of both APIs: N=2000
	@.venv/bin/python -m askdocs.environments security --home .cache/security >/dev/null
	@FUZZ=$(N) .venv/bin/python -m pytest -m slow tests/security/test_fuzz_gateway.py tests/security/test_fuzz_widget.py

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "askdocs needs Python 3.11 or newer, and found none on PATH: install python3.11 (Debian/Ubuntu: sudo apt-get install python3 python3-venv) or run make PYTHON=/path/to/python3" >&2; exit 1; }
