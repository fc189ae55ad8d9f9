# Needs Python 3.11 or later and make; everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
SEED ?= 1
INPUTS ?= 20000
# What is compiled is kept: tests start dozens of commands, and each worker compiles all the tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all fuzz lock floors audit coverage lint types docs site notebooks dist goldens bench compiled pure clean

demo: .venv/installed  ## run the quickstart and print what caching saves
	$(BIN)/python -m sim run configs/quickstart.yaml

test: .venv/installed-test  ## the default test suite
	$(BIN)/python -m pytest -n auto

test-all: .venv/installed-test  ## the slow tests too
	$(BIN)/python -m pytest -n auto -m "slow or not slow"

fuzz: .venv/installed-test  ## 20,000 random inputs to every command (SEED, INPUTS); prints what breaks, and how to see it
	$(BIN)/python -m tests.fuzz --seed $(SEED) --inputs $(INPUTS)

lock:  ## take the versions that are installed now into requirements-test.lock
	$(BIN)/python -m tests.dependencies lock > requirements-test.lock.new
	mv requirements-test.lock.new requirements-test.lock

floors: .venv/installed-test  ## the default suite with the oldest dependencies that pyproject.toml allows
	$(PYTHON) -m venv .venv-floors
	$(BIN)/python -m tests.dependencies floors > .venv-floors/floors.txt
	.venv-floors/bin/python -m pip install --quiet --constraint .venv-floors/floors.txt --editable ".[test]"
	PREFIXSIM_WARNINGS=default .venv-floors/bin/python -m pytest -n auto -W ignore::DeprecationWarning

audit:  ## known vulnerabilities of what the tests install (asks the network)
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet pip-audit
	.venv-audit/bin/python -m pip_audit --no-deps --disable-pip -r requirements-test.lock

# Fuzzing, docs, notebooks and faults run whole commands, mostly in processes whose lines are not counted.
UNCOUNTED := fuzz docs notebooks faults

coverage: .venv/installed-test  ## the default suite, and which lines it runs (2.5 times the CPU time)
	$(BIN)/python -m pytest -n auto --cov --cov-report=term $(UNCOUNTED:%=--ignore=tests/%)

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff check --quiet --preview --select PLW1514 sim workloads calibration reports  # UTF-8 in any locale
	$(BIN)/ruff format --check .

types: .venv/installed-test
	$(BIN)/mypy sim workloads calibration reports tests benchmarks examples notebooks compiled

docs: .venv/installed-test  ## write docs/outputs.md, and into every page what its commands give now (minutes)
	$(BIN)/python -m reports.outputs_page > docs/outputs.md
	$(BIN)/python -m tests.docs.examples --slow
	$(BIN)/python -m tests.docs.tables
	$(BIN)/python -m tests.docs.pictures

site: .venv/installed-site  ## build the documentation into site/; a warning is an error, nothing is loaded
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

notebooks: .venv/installed-test  ## run notebooks/*.py and write them with their outputs as .ipynb
	$(BIN)/python -m tests.notebooks.build

dist: .venv/installed-test  ## the wheel and the source archive
	$(BIN)/python -m hatchling build

goldens: .venv/installed-test  ## accept the present output as the expected one; then read the diff
	-$(BIN)/python -m pytest -q tests/sim/test_regression.py --force-regen
	git status --short tests/sim/test_regression

bench: .venv/installed-test  ## time the simulator; fails if it became slower than recorded
	$(BIN)/python -m benchmarks.speed

compiled: .venv/installed-test  ## compile the hot modules in place (needs a C compiler), again after every change
	$(BIN)/python -m compiled.build

pure:  ## remove what was compiled
	rm -rf build/mypyc build/temp build/lib.* prefixsim__mypyc*.so
	find sim workloads -name '*.so' -delete

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-test: .venv/installed requirements-test.lock
	$(BIN)/python -m pip install --quiet --constraint requirements-test.lock --editable ".[test]"
	touch $@

.venv/installed-site: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[site]"
	touch $@

clean: pure
	rm -rf .venv .venv-floors .venv-audit runs site dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
