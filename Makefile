# SPDX-License-Identifier: Apache-2.0
# Every task of the project. Each does its own set-up; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo serve test test-fast test-system test-reliability check format-check lint types imports \
	tidy docs fix bench bench-postgres bench-large lock new-decision clean

VENV := .venv
RUN := $(VENV)/bin
# One worker a core. A file of system tests stays with one worker, as its tests share the servers they start.
PYTEST := $(RUN)/python -m pytest -q -n auto

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: ## .venv with the locked dependencies and the command .venv/bin/madang
	@tools/setup.sh

setup-dev:
	@tools/setup.sh dev

demo: setup ## Daejeon comes alive: http://127.0.0.1:8080
	@exec $(RUN)/madang demo $(ARGS)

serve: setup ## an empty hub without log-in, on loopback
	@exec $(RUN)/madang serve --access open $(ARGS)

test: test-fast test-system ## all tests: unit, contract and api first, then the whole system

test-fast: setup-dev ## unit, contract and api tests
	@tools/setup.sh programs
	$(PYTEST) --dist worksteal tests/unit tests/contract tests/api $(ARGS)

test-system: setup-dev ## tests that start servers
	@tools/setup.sh programs
	$(PYTEST) --dist loadfile tests/system $(ARGS)

test-reliability: setup-dev ## 100 SIGKILLs and 20 stops of PostgreSQL under load: nothing acknowledged is lost
	@tools/setup.sh programs
	MADANG_RELIABILITY_KILLS=100 MADANG_RELIABILITY_STOPS=20 \
		$(RUN)/python -m pytest -q -s -n0 tests/system/test_nothing_lost_postgres.py $(ARGS)

check: setup-dev format-check lint types imports tidy docs test ## everything a change must pass

format-check: setup-dev
	$(RUN)/ruff format --check .

lint: setup-dev
	$(RUN)/ruff check .

types: setup-dev
	$(RUN)/mypy

imports: setup-dev
	$(RUN)/lint-imports

tidy: setup-dev
	$(RUN)/python tools/tidy.py

docs: setup-dev ## links, decision records, change notes and the generated reference
	$(RUN)/python tools/check_docs.py
	$(RUN)/python tools/make_reference.py --check

fix: setup-dev ## format, mend what can be mended, write the reference anew
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .
	$(RUN)/python tools/make_reference.py

bench: setup-dev ## load shapes against a hub, beside the ceilings of the machine
	@tools/setup.sh bench
	$(RUN)/python -m bench.run $(ARGS)

bench-postgres: setup-dev ## the same on PostgreSQL, beside what the database does at best
	@tools/setup.sh programs
	@tools/setup.sh bench
	$(RUN)/python -m bench.postgres $(ARGS)

bench-large: setup-dev ## a million entities with 20 million changes beside a hundredth of that, on both stores
	@tools/setup.sh programs
	@tools/setup.sh bench
	$(RUN)/python -m bench.large $(ARGS)

lock: ## resolve the dependencies anew
	@tools/lock.sh

new-decision: setup ## make new-decision TITLE="what was decided"
	@$(RUN)/python tools/new_decision.py "$(TITLE)"

clean: ## remove the environment and the caches
	rm -rf $(VENV) .venv-clients build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
