# The tasks of this repository, one target each. `make help` lists them.
#
# Virtual environments are created if they are missing, and updated if their lock file has changed: .venv (TensorFlow;
# with the development tools after `make check` or `make lint`) and .venv-jax (JAX without TensorFlow, for `make test`).

SHELL := bash
# Without byte code every process that a test starts would compile this code again.
unexport PYTHONDONTWRITEBYTECODE
IMAGE := cifake-tune:dev
LOCK := tensorflow
BASE_IMAGE := docker.io/library/python:3.11-slim
BUILDER := docker
BENCHMARKS := $(filter-out bench/summary.py bench/record_curves.py,$(wildcard bench/*.py))
.DEFAULT_GOAL := help
.PHONY: help run check test test-full lint chaos bench lock licenses image version release docs site support e2e e2e-full
.PHONY: clean
.PHONY: fast-tests style types imports venvs

# BASE_PYTHON=python3.13 chooses the Python of environments that do not exist yet. Otherwise Python 3.11 comes first,
# although newer versions are supported: the locks are tested on it most.
CANDIDATES := $(or $(BASE_PYTHON),python3.11 python3.12 python3.13 python3)
SUITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PIP := -m pip --disable-pip-version-check install --quiet --no-compile
# pip compiles on one core.
COMPILE := -m compileall -q -j 0 -x '/tests?/|/testing/|/_vendor/'
# All tests of a file run in one process and share its fixtures, which may be a whole job. Files run in the order of
# their names, because xdist would start those with few tests last, and they take longest.
PYTEST := .venv/bin/python -m pytest --dist loadfile --no-loadscope-reorder
# Two processes with one BLAS thread per core each would take twice the time on two cores. A third one works while others
# wait: for a server, a deadline, a disk.
FAST := OMP_NUM_THREADS=1 $(PYTEST) -n 3 -q -m "not slow and not e2e and not exhaustive"
SLOW := CIFAKE_TUNE_JAX_PYTHON=$(CURDIR)/.venv-jax/bin/python $(PYTEST) -n 3 --durations 20
# Whole searches of each backend, and what every kind of bucket must do.
SUPPORT := tests/integration/test_job.py tests/integration/test_curve.py tests/integration/test_predict.py \
	tests/bucket/test_contract.py
SUBMAKE := $(MAKE) --no-print-directory

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*##  *\(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: .venv/installed  ## search, train and evaluate on the built-in sample; more arguments in ARGS
	.venv/bin/cifake-tune run --workers 2 --set name=sample --set search.max_trials=6 --set training.epochs=4 $(ARGS)

check: .venv/installed-tools  ## style, types, imports and the fast tests; run this while you work
	@$(SUBMAKE) style imports
	@$(call stage,the types or the fast tests,$(SUBMAKE) -j2 types fast-tests)

test:  ## check, then the slow tests; run this before a change is merged
	@$(SUBMAKE) venvs
	@$(SUBMAKE) check
	@echo "make test: slow tests"
	@$(call stage,slow tests,$(SLOW) -m "slow and not exhaustive")

test-full: test  ## test, then the exhaustive tests: crowds, long waits, the comparison with bare Keras Tuner
	@echo "make test-full: exhaustive tests"
	@$(call stage,exhaustive tests,$(SLOW) -m "exhaustive and not e2e")

lint: .venv/installed-tools  ## style, types and imports, without tests
	@$(SUBMAKE) style imports types

fast-tests: .venv/installed-tools
	@echo "make $@: fast tests"
	@$(call stage,fast tests,$(FAST))

style: .venv/installed-tools
	@$(call stage,ruff check,.venv/bin/ruff check .)
	@$(call stage,ruff format --check,.venv/bin/ruff format --check .)
	@if [ -n "$$(command -v helm)" ] && [ -n "$$(command -v helm-unittest)" ] && [ -n "$$(command -v helm-docs)" ]; \
		then $(call stage,the chart's checks,charts/check.sh); fi

types: .venv/installed-tools
	@$(call stage,mypy,.venv/bin/mypy)

imports: .venv/installed-tools
	@$(call stage,lint-imports,.venv/bin/lint-imports)

chaos: .venv/installed-tools  ## run a search under 200 faults and check that nothing was lost; more arguments in ARGS
	.venv/bin/python -m tests.chaos --faults 200 $(ARGS)

bench: .venv/installed-tools .venv-bench/installed  ## run all benchmarks; each prints a table and writes JSON
	@for file in $(BENCHMARKS) bench/summary.py; do .venv/bin/python "$$file" || exit 1; done

lock: .venv/installed-tools  ## write requirements/*.txt again; versions stay unless you removed the file
	@$(call compile,dev.txt,--extra tensorflow --extra dev)
	@$(call compile,tensorflow.txt,--extra tensorflow --extra mlflow -c requirements/dev.txt)
	@$(call compile,cuda.txt,--extra cuda --extra mlflow -c requirements/dev.txt)
	@$(call compile,jax.txt,--extra jax --extra mlflow -c requirements/dev.txt)
	@$(call compile,jax-cuda.txt,--extra jax-cuda --extra mlflow -c requirements/dev.txt -c requirements/jax.txt)
	@$(lock) -c requirements/dev.txt requirements/emulator.in -o requirements/emulator.txt
	@$(lock) -c requirements/dev.txt requirements/sbom.in -o requirements/sbom.txt
	@$(lock) -c requirements/dev.txt requirements/bench.in -o requirements/bench.txt
	@$(SUBMAKE) licenses

licenses: .venv/installed-tools  ## write requirements/licenses.csv again, for the SBOMs; a minute
	@.venv/bin/python -m tools.licenses

image:  ## build the container image: IMAGE, LOCK=tensorflow|cuda|jax|jax-cuda, BASE_IMAGE; BUILDER is docker, podman or buildah
	$(BUILDER) build -f docker/Dockerfile -t $(IMAGE) --build-arg LOCK=$(LOCK) --build-arg BASE_IMAGE=$(BASE_IMAGE) \
		--build-arg VERSION=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' tuner/__init__.py) \
		--build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) .

version:  ## set the version everywhere: VERSION=1.2.3
	@[[ "$(VERSION)" =~ ^[0-9]+\.[0-9]+\.[0-9]+$$ ]] || { echo "VERSION must be like 1.2.3, got '$(VERSION)'" >&2; exit 2; }
	@sed -i 's/^__version__ = .*/__version__ = "$(VERSION)"/' tuner/__init__.py
	@sed -i -E 's/^(version|appVersion): .*/\1: $(VERSION)/' charts/Chart.yaml

release: .venv/installed-tools  ## build the files of a release into dist/VERSION: VERSION=1.2.3, SIGN_KEY=FILE to sign them
	@.venv/bin/python -m tools.release "$(VERSION)" $(if $(SIGN_KEY),--sign-key "$(SIGN_KEY)")

docs: .venv/installed-tools  ## write the generated pages, the dashboards and the chart's schema again
	@.venv/bin/python tools/reference_pages.py
	@.venv/bin/python tools/results_page.py
	@.venv/bin/python tools/benchmarks_page.py
	@.venv/bin/python tools/support_page.py
	@.venv/bin/python charts/schema/generate.py
	@.venv/bin/python charts/dashboards/generate.py
	@if command -v helm-docs >/dev/null; then charts/check.sh --write; fi

site: .venv/installed-tools  ## build the documentation site of this version into build/site
	@.venv/bin/python tools/build_site.py

support:  ## run the tests that docs/support.md is about, and record their versions there; on a cluster: see that page
	@$(SUBMAKE) venvs
	$(FAST) -p tests.support.recorder
	$(SLOW) -p tests.support.recorder $(SUPPORT)

e2e: .venv/installed-tools  ## test a release on a real cluster: that of KUBECONFIG, or ../shared/cluster
	@LOCK=jax tests/e2e/run.sh -m "e2e and not full"

e2e-full: .venv/installed-tools  ## the same with all tests, which takes longer
	@LOCK=tensorflow tests/e2e/run.sh

clean:  ## remove the virtual environments and the caches, not the results
	rm -rf .venv .venv-jax .venv-bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# $(call stage,name,command): run a stage; if it fails, name it in the last line
stage = $(2) || { echo "make $@: $(1) failed" >&2; exit 1; }
# $(call compile,lock file,arguments): pin versions and hashes for all platforms and Pythons, without an index's URL
compile = $(lock) $(2) -o requirements/$(1) pyproject.toml requirements/build.in
lock = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links
# $(call install,environment,lock file)
install = echo "Installing requirements/$(2) into $(1) (about a minute)" && $(1)/bin/python $(PIP) --require-hashes -r \
	requirements/$(2) && $(1)/bin/python $(PIP) --no-deps --no-build-isolation -e . && \
	{ $(1)/bin/python $(COMPILE) $(1)/lib >/dev/null || true; }

venvs:  # both at the same time
	@$(SUBMAKE) -j2 .venv/installed-tools .venv-jax/installed

.venv-bench/installed: requirements/bench.txt | .venv-bench/bin/python
	@echo "Installing the compared frameworks into .venv-bench (about a minute)" && \
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
