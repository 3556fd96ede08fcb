# make index   environment, configuration, index, and a first question answered
# make test    what CI runs: lint, types, tests
# make ui      Dagster on http://127.0.0.1:3000
# make soak    the long campaigns at full size; ONLY=name runs one of them
# make bench   the benchmarks; each prints its ratio to a named baseline

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONFIG ?= codesearch.yaml
# Repositories of a first configuration, when there is none yet; this one by default.
REPOS ?= .
QUESTION ?= where are the rows of one repository replaced by difference?
ONLY ?=
CORPUS ?= corpus

.PHONY: index test soak ui lint bench clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("codesearch needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(CONFIG):
	$(BIN)/codesearch init --config $@ $(REPOS)

index: $(VENV)/.installed
	@test -e $(CONFIG) || $(MAKE) --no-print-directory $(CONFIG)
	$(BIN)/codesearch index --config $(CONFIG)
	@echo
	@echo '$$ codesearch search "$(QUESTION)"'
	@$(BIN)/codesearch search --config $(CONFIG) --limit 3 "$(QUESTION)"
	@echo
	@echo 'Ask more: $(BIN)/codesearch search QUESTION     See it in Dagster: make ui'

ui: $(VENV)/.installed
	$(BIN)/codesearch ui --config $(CONFIG)

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

soak: $(VENV)/.installed-dev
	CODESEARCH_SOAK=1 $(BIN)/python -m pytest -m soak $(if $(ONLY),-k $(ONLY))

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/indexing.py --corpus $(CORPUS)
	$(BIN)/python benchmarks/queries.py --corpus $(CORPUS)
	$(BIN)/python benchmarks/cold_search.py $(CORPUS)/codesearch.yaml

clean:
	rm -rf $(VENV) build dist
