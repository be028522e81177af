# Everything runs in .venv, made on first use; the stamp file makes sure that it is made once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2
# Python compiles what is imported, the first time; to compile all that is installed takes as long as to install it.
QUIETLY := -qq --disable-pip-version-check --no-compile
FRONT := workbench/widgets/front
FRONT_STAMP := $(FRONT)/node_modules/.installed

# Where it is set, each of the hundred processes that the tests start would compile anew all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check check-style check-types check-behaviour front check-front check-front-source browser lab pictures bench soak test-meerkat clean

help:
	@echo "make demo          install, and run the main job on decoy digits (report in demo-report.html)"
	@echo "make test          install, and run every check and test"
	@echo "make front         bundle the front end again (needs Node 20 or later)"
	@echo "make browser       a Chromium for the tests in tests/browser, which are skipped without one"
	@echo "make lab           JupyterLab on the notebook that explores, paints and relaunches"
	@echo "make pictures      the pictures of the front end, and the stills in its notebook (needs a Chromium)"
	@echo "make bench         the benchmarks, as ratios within one run"
	@echo "make soak          the long tests: kills during saves, random actions, whole recipes"
	@echo "make test-meerkat  the Meerkat bridge, in an environment of its own"

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (about two minutes, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install $(QUIETLY) -c constraints.txt pip
	@$(BIN)/python -m pip install $(QUIETLY) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/workbench demo --report demo-report.html

check: check-style check-types check-front

check-style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

check-types: $(STAMP)
	$(BIN)/mypy

$(FRONT_STAMP): $(FRONT)/package.json $(FRONT)/package-lock.json
	cd $(FRONT) && npm ci --loglevel=error
	@touch $@

front: $(FRONT_STAMP)
	cd $(FRONT) && npm run --silent build

# The bundle is committed, so everything else works where there is no Node.
check-front:
	@if command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; \
	then $(MAKE) --no-print-directory check-front-source; \
	else echo "Front end: not checked, there is no Node 20 or later with npm."; fi

check-front-source: $(FRONT_STAMP)
	cd $(FRONT) && npm run --silent check && npm run --silent test && npm run --silent verify

# The front end needs no Python: it is checked while pip works. Types take most of a minute: beside the tests.
test:
	@$(MAKE) --no-print-directory -j2 check-style check-front
	@$(MAKE) --no-print-directory -j2 check-types check-behaviour

check-behaviour: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

# Debian's where root may install it, else one of Playwright's own in the home directory.
browser: $(STAMP)
	@if command -v chromium || command -v google-chrome; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	then apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else $(BIN)/python -m playwright install chromium; fi

lab: $(STAMP)
	$(BIN)/jupyter lab notebooks/03_explore_and_paint.ipynb

pictures: $(STAMP)
	$(BIN)/python -m benchmarks.pictures
	$(BIN)/python -m benchmarks.stills

bench: $(STAMP)
	$(BIN)/python -m benchmarks

soak: $(STAMP)
	WORKBENCH_SOAK=1 $(BIN)/python -m pytest -m "soak or long" -n $(JOBS) --dist loadgroup

# Meerkat needs older pandas, NumPy and pydantic than the rest of the world: it gets its own environment.
.venv-meerkat/.installed: pyproject.toml .ci/constraints-meerkat.txt
	@echo "Setting up .venv-meerkat ..."
	@test -x .venv-meerkat/bin/python || $(PYTHON) -m venv .venv-meerkat
	@.venv-meerkat/bin/python -m pip install $(QUIETLY) -c .ci/constraints-meerkat.txt -e '.[meerkat]' pytest
	@touch $@

test-meerkat: .venv-meerkat/.installed
	.venv-meerkat/bin/python -m pytest tests/workbench/test_meerkat.py --noconftest -p no:cacheprovider

clean:
	rm -rf $(VENV) .venv-meerkat $(FRONT)/node_modules
