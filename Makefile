# Everything a developer runs; `make help` lists it. It needs python3 with pip, and make: the rest goes into .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# A Python that is asked for by name gets an environment of its own version; without one, whatever is there is kept.
version = $(shell $(1) -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null)
ifneq ($(origin PYTHON),file)
ifneq ($(call version,$(PYTHON)),$(call version,$(BIN)/python))
$(READY): anew
endif
endif

# Each benchmark with arguments so small that it shows only that it runs; for figures, call it by hand.
define BENCHMARKS
benchmarks/data/profile.py --rows 20000 --repeats 1
benchmarks/features/point_in_time.py --rows 20000 --entities 2000 --runs 1
benchmarks/loop/tick.py --few 5 --factor 10 --repeats 3
benchmarks/pipelines/durable_step.py --steps 10 --repeats 1
benchmarks/pipelines/spawned_step.py --steps 5 --repeats 1
benchmarks/rollout/judge.py --runs 20 --pair-runs 5 --outcomes 500
benchmarks/rollout/look.py --few 100 --many 1000 --looks 2
benchmarks/serving/one_row.py --rounds 1 --requests 200
endef
export BENCHMARKS

.DEFAULT_GOAL := help
.PHONY: help setup demo test cases lint bench docs api lock anew

help:  ## list the targets
	@sed -n 's/^\([a-z]*\): .*## \(.*\)/  make \1~\2/p' $(MAKEFILE_LIST) | tr '~' '\t' | expand -t 16
	@echo "With another Python: make test PYTHON=python3.13"

setup: $(READY)  ## make .venv with the locked libraries and everloop itself; again only when the lock changes

demo: setup  ## a year of real flights into out/demo, its figures into out/demo.json
	rm -rf out/demo out/demo.json
	mkdir -p out
	$(BIN)/everloop demo --folder out/demo --json out/demo.json

test: setup  ## all tests, the examples in docstrings and documents among them
	$(BIN)/python -m pytest $(ARGS)

cases: setup  ## inputs that went wrong on others, against the list of those known to fail; JOBS=2, ONLY=pipelines/33
	$(BIN)/python tests/cases/run.py --jobs $(or $(JOBS),2) $(if $(ONLY),--only $(ONLY))

lint: setup  ## format, lint, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: setup  ## every benchmark, small
	@for file in $$(find benchmarks -name '*.py'); do \
		case "$$BENCHMARKS" in *"$$file "*) ;; *) echo "$$file: give it small arguments in the Makefile" >&2; exit 1;; esac; \
	done
	@echo "$$BENCHMARKS" | while read -r line; do echo "== $$line"; $(BIN)/python $$line </dev/null || exit 1; done

docs: setup  ## every code block of the documents
	$(BIN)/python -m pytest tests/docs

api: setup  ## docs/api.md anew, from the docstrings
	$(BIN)/python tests/docs/api_page.py

lock: setup  ## choose the newest libraries that pyproject.toml allows, and write them down with their hashes
	$(BIN)/uv lock --upgrade
	$(BIN)/uv export --quiet --no-header --no-emit-project --all-extras --group dev -o requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "everloop needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
		echo "Next: name another one, for example: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@if [ -n "$(filter anew,$^)" ] || ! [ -x $(BIN)/python ]; then \
		echo "making $(VENV) with $$($(PYTHON) --version)"; \
		if [ -f $(VENV)/pyvenv.cfg ]; then $(PYTHON) -m venv --clear $(VENV); else $(PYTHON) -m venv $(VENV); fi; \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@
