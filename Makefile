# Every target makes and reuses .venv by itself; nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROTOS := $(shell find protos -name '*.proto' | sort)
PYTEST_ARGS ?=

.PHONY: help demo test test-all rsync check format protos docs bench baseline clean

help:  ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[server,embedded,testing,dev,globus,sim]'
	touch $@

demo: $(STAMP)  ## a whole site on your own data: make demo [DATA=path]
	$(BIN)/python -m standalone.demo $(if $(DATA),--data '$(DATA)')

# A mover runs it, and so do the mover's tests.
rsync:
	@command -v rsync > /dev/null \
		|| { test "$$(id -u)" = 0 && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes rsync; } \
		|| { echo 'rsync is missing, which the tests need: apt-get install rsync' >&2; exit 1; }

test: $(STAMP) rsync  ## the test suite, under ten minutes on two cores
	$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder -m 'not slow' $(PYTEST_ARGS)

test-all: $(STAMP) rsync  ## the slow tests too
	$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

check: $(STAMP)  ## ruff, format, mypy --strict, import rules, protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking --against protos/baseline.binpb
	$(BIN)/python scripts/protos.py --check
	$(BIN)/python scripts/lifecycles.py --check
	$(BIN)/python scripts/blocking_stub.py --check

format: $(STAMP)  ## apply ruff's fixes and formats
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format -w

protos: $(STAMP)  ## regenerate the stubs in clients/librarian/api and the blocking client's types
	$(BIN)/python scripts/protos.py
	$(BIN)/python scripts/blocking_stub.py

docs: $(STAMP)  ## redraw docs/lifecycles.md from the code's tables
	$(BIN)/python scripts/lifecycles.py

baseline: $(STAMP)  ## accept today's protos as what must not be broken
	$(BIN)/buf build -o protos/baseline.binpb

bench: $(STAMP)  ## measurements beside their limits: make bench [ONLY=substring]
	$(BIN)/python -m tests.bench $(if $(ONLY),--only '$(ONLY)')

clean:  ## remove the environment and what was built
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache
