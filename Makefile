# demo, test, quick, smoke, coverage, lint, types and docs each make .venv and install what they need; a stamp file
# makes the second call fast.
# make demo PYTHON=python3.12      the interpreter, 3.10 or newer
# make demo TORCH="torch>=2.8,<2.14"   another torch; one that .venv already holds is left as it is
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN = $(VENV)/bin
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test quick smoke coverage lint types docs
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	$(BIN)/ganime-age demo -o demo/contact_sheet.png

test: $(VENV)/.test
	@command -v chromium > /dev/null || command -v chromium-browser > /dev/null || \
		echo "No chromium here, so the page is not tested in a browser; on Debian or Ubuntu, as root: apt-get install chromium"
	$(PYTEST) --durations=20

# What to run while one works: without the tests that are marked slow.
quick: $(VENV)/.test
	$(PYTEST) -m "not slow"

# Every recipe end to end with tiny networks, about four minutes on one core.
smoke: $(VENV)/.test
	GANIME_AGE_SMOKE=1 $(BIN)/python -m pytest tests/test_plan.py -k end_to_end --durations=5

# Tracing makes tests a quarter slower, so it looks at the tests of a photo's way, and at the package without learning/.
COVERED = alignment convert edits editor head mouth networks photo prototypes
coverage: $(VENV)/.test
	$(PYTEST) -m "not slow" --cov --cov-report=term:skip-covered $(COVERED:%=tests/test_%.py)

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.types
	$(BIN)/mypy

# A warning is an error: a type that pdoc cannot read, say, would stand on the page as it is written.
DOCS = build/docs
docs: $(VENV)/.docs
	$(BIN)/python -W error::UserWarning -m pdoc --docformat google --output-directory $(DOCS) ganime_age \
		$(addprefix ganime_age.,cli card onnx pipelines provenance images model edits)
	@echo "The library's pages are at $(DOCS)/index.html"

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null || \
		{ echo "$(PYTHON) is missing or older than 3.10; name a newer one: make demo PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.torch: | $(VENV)/.python
	@$(BIN)/python -c 'import torch' 2> /dev/null || $(INSTALL) "$(TORCH)"
	@touch $@

$(VENV)/.demo: pyproject.toml | $(VENV)/.torch
	$(INSTALL) --editable ".[demo]"
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/.torch
	$(INSTALL) --editable ".[test]"
	@touch $@

$(VENV)/.lint: Makefile | $(VENV)/.python
	$(INSTALL) ruff==0.17.6
	@touch $@

$(VENV)/.types: Makefile | $(VENV)/.test
	$(INSTALL) mypy==2.4.1
	@touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/.torch
	$(INSTALL) --editable ".[docs]"
	@touch $@
