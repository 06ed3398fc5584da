# What one does with this repository, a word each. `make help` lists them.
#
# Two virtual environments are made when missing, and brought up to date when a lock file changed:
# .venv (TensorFlow; with the tools once `make test` or `make lint` ran) and .venv-jax (JAX, no TensorFlow).

SHELL := bash
IMAGE := cifake-tune:dev
LOCK := tensorflow
BASE_IMAGE := docker.io/library/python:3.11-slim
BUILDER := docker
BENCHMARKS := $(filter-out bench/summary.py,$(wildcard bench/*.py))
.DEFAULT_GOAL := help
.PHONY: help run test chaos lint bench lock image docs e2e e2e-full clean venvs

# The newest Python is not the first choice: 3.11 is what the locks are tested on most.
CANDIDATES := python3.11 python3.12 python3.13 python3
SUITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PIP := -m pip --disable-pip-version-check install --quiet --no-compile
# pip compiles on one core; compiled it must be, since PYTHONDONTWRITEBYTECODE would have every process do it again
COMPILE := -m compileall -q -j 0 -x '/tests?/|/testing/|/_vendor/'
# two test processes with as many BLAS threads as cores each take twice the time on two cores: OMP_NUM_THREADS=1
# a file's tests stay in one process: they share what its fixtures made, which may be a whole job
PYTEST := .venv/bin/python -m pytest -n 2 --dist loadfile
# in the order of their names: else the files with one long test would come last, one after the other
SLOWLY := --no-loadscope-reorder --durations 20

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*##  *\(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

run: .venv/installed  ## search, train and evaluate on the built-in sample (study: sample); more arguments in ARGS
	.venv/bin/cifake-tune run --workers 2 --set name=sample --set search.max_trials=6 --set training.epochs=4 $(ARGS)

test: lint .venv-jax/installed  ## lint, then all tests: the fast ones first
	@echo "make test: fast tests"
	@$(call stage,fast tests,OMP_NUM_THREADS=1 $(PYTEST) -m "not slow and not e2e")
	@echo "make test: slow tests"
	@$(call stage,slow tests,CIFAKE_TUNE_JAX_PYTHON=$(CURDIR)/.venv-jax/bin/python $(PYTEST) $(SLOWLY) -m slow)

lint: venvs  ## ruff, mypy (strict) and the rules on imports
	@$(call stage,ruff check,.venv/bin/ruff check .)
	@$(call stage,ruff format --check,.venv/bin/ruff format --check .)
	@$(call stage,mypy,.venv/bin/mypy)
	@$(call stage,lint-imports,.venv/bin/lint-imports)
	@if [ -n "$$(command -v helm)" ] && [ -n "$$(command -v helm-unittest)" ] && [ -n "$$(command -v helm-docs)" ]; \
		then $(call stage,the chart's checks,charts/check.sh); fi

chaos: .venv/installed-tools  ## a search under 200 faults, of which a checker finds what was lost; more arguments in ARGS
	.venv/bin/python -m tests.chaos --faults 200 $(ARGS)

bench: .venv/installed-tools .venv-bench/installed  ## run every benchmark; each prints a table and writes JSON
	@for file in $(BENCHMARKS) bench/summary.py; do .venv/bin/python "$$file" || exit 1; done

lock: .venv/installed-tools  ## write requirements/*.txt anew; versions stay, unless the file was removed before
	@$(call compile,dev.txt,--extra tensorflow --extra dev)
	@$(call compile,tensorflow.txt,--extra tensorflow -c requirements/dev.txt)
	@$(call compile,cuda.txt,--extra cuda -c requirements/dev.txt)
	@$(call compile,jax.txt,--extra jax -c requirements/dev.txt)
	@$(lock) -c requirements/dev.txt requirements/emulator.in -o requirements/emulator.txt
	@$(lock) -c requirements/dev.txt requirements/bench.in -o requirements/bench.txt

image:  ## build the container image: IMAGE, LOCK=tensorflow|cuda|jax, BASE_IMAGE; BUILDER is docker, podman or buildah
	$(BUILDER) build -f docker/Dockerfile -t $(IMAGE) --build-arg LOCK=$(LOCK) --build-arg BASE_IMAGE=$(BASE_IMAGE) \
		--build-arg VERSION=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' tuner/__init__.py) \
		--build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) .

docs: .venv/installed-tools  ## write the generated pages, dashboards and the chart's schema anew
	@.venv/bin/python tools/reference_pages.py
	@.venv/bin/python tools/results_page.py
	@.venv/bin/python tools/benchmarks_page.py
	@.venv/bin/python charts/schema/generate.py
	@.venv/bin/python charts/dashboards/generate.py
	@if command -v helm-docs >/dev/null; then charts/check.sh --write; fi

e2e: .venv/installed-tools  ## what a release does on a real cluster: ../shared/cluster, or KUBECONFIG's
	@LOCK=jax tests/e2e/run.sh -m "e2e and not full"

e2e-full: .venv/installed-tools  ## the same, and what takes longer
	@LOCK=tensorflow tests/e2e/run.sh

clean:  ## remove the virtual environments and caches; results stay
	rm -rf .venv .venv-jax .venv-bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# $(call stage,name,command): one clear last line where a stage fails
stage = $(2) || { echo "make $@: $(1) failed" >&2; exit 1; }
# $(call compile,lock file,arguments): versions and hashes for all platforms and Pythons, and no index's address
compile = $(lock) $(2) -o requirements/$(1) pyproject.toml requirements/build.in
lock = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links
# $(call install,environment,lock file)
install = echo "Installing requirements/$(2) into $(1) (about a minute)" && $(1)/bin/python $(PIP) --require-hashes -r \
	requirements/$(2) && $(1)/bin/python $(PIP) --no-deps --no-build-isolation -e . && \
	{ $(1)/bin/python $(COMPILE) $(1)/lib >/dev/null || true; }

venvs:  # both at once
	@$(MAKE) --no-print-directory -j2 .venv/installed-tools .venv-jax/installed

.venv-bench/installed: requirements/bench.txt | .venv-bench/bin/python
	@echo "Installing what is compared with into .venv-bench (a minute)" && \
		.venv-bench/bin/python $(PIP) --require-hashes -r requirements/bench.txt && touch $@

.venv/bin/python .venv-jax/bin/python .venv-bench/bin/python:
	@for python in $(CANDIDATES); do \
		if $$python -c '$(SUITS)' 2>/dev/null; then exec $$python -m venv $(@D:/bin=); fi; \
	done; \
	echo "Python 3.11, 3.12 or 3.13 with its venv module is needed; none of these is one: $(CANDIDATES)." >&2; exit 1

.venv/installed: requirements/tensorflow.txt pyproject.toml | .venv/bin/python
	@$(call install,.venv,tensorflow.txt) && touch $@

.venv/installed-tools: requirements/dev.txt pyproject.toml | .venv/bin/python
	@$(call install,.venv,dev.txt) && touch .venv/installed $@

.venv-jax/installed: requirements/jax.txt pyproject.toml | .venv-jax/bin/python
	@$(call install,.venv-jax,jax.txt) && touch $@
