# make help lists what there is. Each target makes the environment that it needs, and a second run starts at once.
#
#   make tour ARGS="--quick"              arguments for the command line
#   make test PYTHON=python3.13           which Python a new environment is made with
#   make test VENV=.venv-3.13             another environment beside the usual one
#   make matrix MATRIX="3.12 lowest"      some of the environments

PYTHON ?=
VENV ?= .venv
EXTRAS ?= dev
VERSIONS ?= constraints.txt
WORKERS ?= 2
ARGS ?=
MATRIX ?=

READY := $(VENV)/.finished
BIN := $(VENV)/bin
# The folder that pytest imports from is the checkout, so `python -m` is used throughout.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: always help env tour test test-slow soak tutorials docs lint format types doctest wheel-check arviz-check matrix adapters-check ci constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

env: $(READY) ## make the environment .venv

# Where a Python is named, the script looks whether the environment is of that one.
$(READY): pyproject.toml constraints.txt scripts/environment.sh $(if $(PYTHON),always)
	@bash scripts/environment.sh "$(VENV)" "$(EXTRAS)" "$(PYTHON)" "$(VERSIONS)"

tour: $(READY) ## train a flow, a continuous flow, a VAE and two GANs, and write runs/tour/report.html
	@$(BIN)/pyro-dgm tour $(ARGS)

test: $(READY) ## the fast tests (at most 6 minutes, the environment included)
	$(PYTEST) -n $(WORKERS) $(ARGS)

test-slow: $(READY) ## statistics, subprocess faults, tutorials (at most 30 minutes)
	$(PYTEST) -n $(WORKERS) -m slow --timeout 1200 $(ARGS)

soak: $(READY) ## exhaustive batteries (hours)
	$(PYTEST) -n $(WORKERS) -m soak --timeout 0 $(ARGS)

tutorials: $(READY) ## run all tutorials in full and keep their output for the site (half an hour)
	$(BIN)/python scripts/render_tutorials.py $(ARGS)

docs: $(READY) ## build the site in docs/_build/html; a warning is an error
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

lint: $(READY) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY) ## mypy --strict on pyro_dgm, models and guides
	$(BIN)/mypy --strict -p pyro_dgm

doctest: $(READY) ## run the examples in the docstrings
	$(PYTEST) -n $(WORKERS) -p tests.conftest --doctest-modules pyro_dgm $(ARGS)

wheel-check: $(READY) ## build the wheel, install it into an empty environment, import it
	bash scripts/wheel_check.sh "$(BIN)"

arviz-check: $(READY) ## the fast tests on a second Python (3.12 or 3.13), where ArviZ is 1.x
	bash scripts/second_python.sh "$(MAKE)"

matrix: ## the fast tests on Python 3.11, 3.12, 3.13 and with the lowest versions of all libraries
	ARGS="$(ARGS)" bash scripts/matrix.sh "$(MAKE)" $(MATRIX)

adapters-check: ## run the examples of Lightning and Ray Train in an environment that has them
	@$(MAKE) --no-print-directory env VENV=.venv-adapters EXTRAS=dev,adapters
	OMP_NUM_THREADS=1 .venv-adapters/bin/python -m pytest -m slow --timeout 600 tests/adapters $(ARGS)

ci: ## everything that .ci/run checks (at most 60 minutes)
	bash .ci/run

constraints: $(READY) ## resolve constraints.txt again, for all Pythons and platforms at once
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --all-extras \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml -o constraints.txt

clean: ## remove environments, caches and builds; runs/ stays
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
