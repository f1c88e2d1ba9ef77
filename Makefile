# Needs Python 3.11 or newer and make. Another Python: make PYTHON=python3.12 ..., which gets an environment of its own;
# another folder for that: make VENV=/tmp/venv ...

PYTHON ?= python3
# An environment that is there is used as it is: one for each Python, or it would not be the Python that was asked for.
VENV ?= .venv$(if $(filter-out file,$(origin PYTHON)),-$(notdir $(PYTHON)))
WORKERS ?= 2
ARGS ?=

PIP_INSTALL = "$(VENV)/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --constraint constraints.txt
RUNTIME = $(VENV)/.installed
SERVING = $(VENV)/.installed-serve
DEVELOPMENT = $(VENV)/.installed-dev

# A person's pip configuration may say "user = true", which pip refuses in a virtual environment.
export PIP_USER = 0

.DEFAULT_GOAL := help
.PHONY: help demo run test test-all soak bench lint format release-check clean

help: ## Print these lines
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r target what; do printf '%-18s %s\n' "$$target" "$$what"; done

demo: $(RUNTIME) ## See the whole of it: a sandbox cluster, three clients, two passes
	@"$(VENV)/bin/syncctl" demo

run: $(SERVING) ## Answer over HTTP on 127.0.0.1:8080, with the clients of the default database
	@"$(VENV)/bin/syncctl" serve $(ARGS)

test: $(DEVELOPMENT) ## Run the tests but the slow ones; some of them: make test ARGS="-k plan"
	@"$(VENV)/bin/python" -m pytest --numprocesses $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

test-all: $(DEVELOPMENT) ## Run all tests, as CI does
	@"$(VENV)/bin/python" -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS)

soak: $(DEVELOPMENT) ## Drive random fleets through passes for minutes: make soak MINUTES=10
	@"$(VENV)/bin/python" -m pytest tests/simulation --soak $(or $(MINUTES),5) --timeout 0

bench: $(DEVELOPMENT) ## Measure how fast and light it is: make bench ARGS="--sizes 300,3000"
	@"$(VENV)/bin/python" tests/bench/bench.py $(ARGS)

lint: $(DEVELOPMENT) ## Check style, format, types and who imports whom
	@"$(VENV)/bin/python" -m ruff check
	@"$(VENV)/bin/python" -m ruff format --check
	@"$(VENV)/bin/python" -m mypy
	@"$(VENV)/bin/lint-imports" --no-logo

format: $(DEVELOPMENT) ## Put the code into the form that lint asks for
	@"$(VENV)/bin/python" -m ruff check --fix
	@"$(VENV)/bin/python" -m ruff format

release-check: $(DEVELOPMENT) ## Build wheel and sdist in dist/, install each by itself, and run the demo there
	@rm -rf dist
	@"$(VENV)/bin/python" -m build --outdir dist >/dev/null
	@for each in "$$PWD"/dist/*.whl "$$PWD"/dist/*.tar.gz; do \
		folder=$$(mktemp -d) && "$(PYTHON)" -m venv "$$folder/venv" && "$$folder/venv/bin/python" -m pip install --quiet \
			--disable-pip-version-check --no-input --constraint constraints.txt "$$each" || exit 1; \
		(cd "$$folder" && HOME="$$folder" venv/bin/syncctl demo >log 2>&1) || { cat "$$folder/log"; exit 1; }; \
		echo "$${each##*/}: $$(HOME="$$folder" "$$folder/venv/bin/syncctl" --version) installs and runs"; rm -rf "$$folder"; \
	done

clean: ## Remove the virtual environment and all that tools left behind
	rm -rf "$(VENV)" build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find syncctl tests alembic -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): pyproject.toml constraints.txt
	$(make_venv)
	@$(PIP_INSTALL) --editable .
	@touch "$@"

$(SERVING): pyproject.toml constraints.txt
	$(make_venv)
	@$(PIP_INSTALL) --editable '.[serve]'
	@touch "$(RUNTIME)" "$@"

$(DEVELOPMENT): pyproject.toml constraints.txt
	$(make_venv)
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch "$(RUNTIME)" "$(SERVING)" "$@"

# A virtual environment that is there and works is used as it is, else it is made anew.
define make_venv
@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "error: syncctl needs Python 3.11 or newer, $(PYTHON) is $$("$(PYTHON)" --version 2>/dev/null || echo 'not there')" >&2; \
	echo "hint: name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	echo "error: $(PYTHON) cannot make virtual environments: it has no ensurepip or no venv" >&2; \
	echo "hint: on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
@"$(VENV)/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "Making a virtual environment in $(VENV)"; "$(PYTHON)" -m venv --clear "$(VENV)"; }
@echo "Installing syncctl into $(VENV); this takes a minute the first time"
endef
