# tunebench: `make figure8` is the paper's comparison, `make demo` a small one, `make test` the tests.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
unexport PYTHONDONTWRITEBYTECODE  # hundreds of processes import the same files
# a third of the time many tests wait, for what they have killed to be up again
TESTS := $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: help install data figure8 demo gallery methods-table instrument test every-test lint docs check bench gpu clean

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## +/\t/' | expand -t 16

install: $(INSTALLED)  ## the environment in .venv, every dependency pinned

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing tunebench and its dependencies into $(VENV) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version + "; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --upgrade pip  # twice as fast as Python's own
	@# a quarter of all that is installed is ever imported, and compiled then
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on --no-compile -c constraints.txt -e '.[dev,docs]'
	@touch $@

data: $(INSTALLED)  ## the spoken digits
	$(BIN)/tunebench data fetch spoken-digits

figure8: data  ## Figure 8: 2 methods, their published settings and random search x 20 runs x 25 trials on spoken digits; continues where it was interrupted
	$(BIN)/tunebench run studies/specs/quist2023/figure8-spoken-digits.yaml --out results/figure8-spoken-digits

demo: data  ## the same with 4 runs x 10 trials, two minutes
	$(BIN)/tunebench run studies/specs/quist2023/figure8-spoken-digits.yaml --runs 4 --trials 10 --out results/demo

gallery: data  ## the papers' figures and tables in small, run and judged in docs/gallery.md, two hours and a half; continues where it was interrupted
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/benchmarks/gallery.py

methods-table: data  ## methods against a linear classifier on every task whose data are here, hours; continues where it was interrupted
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/benchmarks/methods_table.py

instrument: data  ## what a study on a task can tell apart: make instrument [TASK=...]; some minutes for spoken digits, continues
	$(BIN)/python tests/benchmarks/instrument.py $(TASK)

test: data  ## the tests that take some minutes: real parts, every module, on SQLite
	$(TESTS) -m "not cluster and not browser and not slow and not postgres"

every-test: data
	$(TESTS)

lint: $(INSTALLED)  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)  ## these pages as a site in site/, warnings are errors
	$(BIN)/sphinx-build --quiet --fail-on-warning --nitpicky --fresh-env docs site

check: lint docs every-test  ## what CI runs: also the tests that kill clusters, that drive a browser, that are slow, on PostgreSQL

bench: data  ## the benchmarks, side by side with what they are measured against
	$(BIN)/python tests/benchmarks/optimizer_step.py
	$(BIN)/python tests/benchmarks/training_step.py
	$(BIN)/python tests/benchmarks/network_step.py
	$(BIN)/python tests/benchmarks/stacked_trainings.py --trainings 2 16
	$(BIN)/python tests/benchmarks/suggestion.py
	$(BIN)/python tests/benchmarks/study_floor.py
	$(BIN)/python tests/benchmarks/analysis.py
	$(BIN)/python tests/benchmarks/service_load.py
	$(BIN)/python tests/benchmarks/service_study.py

gpu: $(INSTALLED)  ## what only a GPU can show, in ten minutes; continues: see docs/gpu.md
	PYTHON="$(abspath $(BIN))/python" tests/gpu.sh results/gpu

clean:  ## remove the environment and caches; databases, data and results stay
	rm -rf $(VENV) build site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
