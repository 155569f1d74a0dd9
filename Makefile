# `make demo` and `make test` do all set-up themselves: Python >= 3.10 with venv is enough. The second run is instant.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
# Waiting threads that spin starve those that work when other programs share the cores.
export OMP_WAIT_POLICY = passive
export GRADIO_ANALYTICS_ENABLED = False
export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: demo test test-long check setup clean picture

demo: $(VENV)/ready-app ## 3 people x 6 pictures with their scores into demo/, then the app
	$(BIN)/idgen generate --sample 3 --images 6 --seed 7 --out demo --overwrite
	$(BIN)/idgen demo

test: $(VENV)/ready-dev ## all but the long tests; the browser test is skipped, and says so, where there is no Chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not long" $(ARGS)

test-long: $(VENV)/ready-dev ## the tests that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m long $(ARGS)

check: $(VENV)/ready-dev ## lint, format, floors, types, sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python benchmarks/house.py --check

setup: $(VENV)/ready-dev

picture: $(VENV)/ready-dev ## the README's picture of the app; needs Chromium
	CI=true $(BIN)/python -m pytest -q tests/space/test_browser.py -k readmes_picture
	cp screenshots/readme.png docs/app.png

clean: ## remove the virtual environment and what `make demo` made
	rm -rf $(VENV) demo

$(VENV)/ready-app: $(VENV)/ready-torch pyproject.toml
	@echo "Installing idgen and the app ..."
	@$(PIP) install -qq -c constraints.txt -e '.[app]'
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready-torch pyproject.toml
	@echo "Installing idgen and what its tests need ..."
	@$(PIP) install -qq -c constraints.txt -e '.[dev]'
	@touch $@

# The CPU build: from the index pip is set up with, or else from PyTorch's own; where neither has one (macOS), the plain build is it.
$(VENV)/ready-torch: $(VENV)/ready-venv constraints.txt
	@echo "Installing torch $(TORCH), CPU build ..."
	@$(PIP) install -qq "torch==$(TORCH)+cpu" 2>/dev/null \
	|| $(PIP) install -qq --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu "torch==$(TORCH)+cpu" 2>/dev/null \
	|| $(PIP) install -q "torch==$(TORCH)"
	@touch $@

$(VENV)/ready-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	|| { echo "idgen needs Python 3.10 or newer: install it, or name it with make PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	|| { echo "This Python cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@
