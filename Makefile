# Two commands for users, the rest for developers. Each sets up what it needs, and can be run again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Empty (`make CONSTRAINTS= test`) where the tested versions are not to be had, as on Python 3.10.
CONSTRAINTS ?= -c constraints.txt
# Processes of a test run; `make -j` wants one each.
WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup
# For `make test` and its like: `PYTEST_OPTIONS=tests/hub` runs one area, `--cov` says what is covered of hub_tools.
PYTEST_OPTIONS ?=
# Markers of what `make test` leaves out; pyproject.toml says what they mean.
REST := slow or browser or docs or gpu
CLIENT_TESTS := $(wildcard $(addprefix tests/hub/test_,hub_server.py push*.py pull*.py cli_hub.py stock_push.py))
OLDER_CLIENTS := 4.57.6 5.13.1
# Import, loading in fresh processes, text, three ways to adapt, and the commands of the Hub.
LOWEST_TESTS := tests/test_dependencies.py tests/model/test_plugin.py tests/train/test_data.py tests/hub/test_cli_hub.py \
	$(addprefix tests/train/test_adapt.py::test_, \
	adapting_a_pretrained_pair_gives_a_pair_a_discriminator_and_figures a_pair_from_scratch_learns_its_own_vocabulary \
	resume_goes_on_from_the_last_whole_checkpoint)
# The tests start hundreds of processes: each would compile every module, where this forbids to keep what is compiled.
unexport PYTHONDONTWRITEBYTECODE
# `make bench-step BENCH_OPTIONS="--shape small --scenario ragged"`; each lists its own with `--help`.
BENCH_OPTIONS ?=
STUDY_OPTIONS ?=
# A machine with CUDA has its own torch: `make gpu` takes the Python that is named, or .venv's where there is one.
GPU_PYTHON = $(if $(and $(filter file,$(origin PYTHON)),$(wildcard $(BIN)/python)),$(BIN)/python,$(PYTHON))

.PHONY: help adapt test test-rest test-all style killed docs site space common compat clients lowest build clean
.PHONY: bench-step bench-data bench-trainer bench-watching bench-scaling bench-report gpu gpu-data study

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 15

adapt: $(VENV)/installed ## adapt the pair in the package to a sample of technical documentation: about two minutes
	@echo "Adapting the pair in the package to the sample text, into electra-rtd-sample/ (replaced at each call)."
	$(BIN)/electra-rtd adapt --example

test: $(VENV)/installed ## run the tests that one wants after every change: about seven minutes
	@echo "Running the tests, but for those that are slow or need a browser: 'make test-rest' runs these."
	$(PYTEST) -m "not ($(REST))" $(PYTEST_OPTIONS)

test-rest: $(VENV)/installed ## run the tests that `make test` leaves out
	$(PYTEST) -m "$(REST)" $(PYTEST_OPTIONS)

test-all: $(VENV)/installed ## run every test; one that needs what is not here is skipped, and says why
	$(PYTEST) $(PYTEST_OPTIONS)

style: $(VENV)/installed ## check style and types; `make style FIX=1` fixes what can be fixed
	$(BIN)/ruff check $(if $(FIX),--fix) .
	$(BIN)/ruff format $(if $(FIX),,--check) .
	@mkdir -p .style && ln -sfn .. .style/electra_rtd && ln -sfn ../launcher .style/electra_rtd_launcher
	cd .style && ../$(BIN)/mypy --config-file ../pyproject.toml

killed: $(VENV)/installed ## kill pushes and pulls at more than a hundred drawn points, as `make test-rest` does
	$(PYTEST) tests/hub/test_killed.py
killed test-rest: export ELECTRA_RTD_KILL_POINTS := 45

docs: $(VENV)/installed ## run docs/hub.md and the tutorial, and write what they print into them
	ELECTRA_RTD_WRITE_DOCS=1 $(BIN)/python -m pytest tests/docs/test_hub_docs.py tests/docs/test_tutorial.py

site: $(VENV)/installed ## build the documentation site, .site/pages; a broken link or anchor is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --config-file website/mkdocs.yml

space: $(VENV)/installed ## build a page for a static Space of the Hub, .site/space: the inspector on the pair in the package
	$(BIN)/python -m website.space .site/space

common: $(VENV)/installed ## run transformers' own model tests over the model
	$(PYTEST) tests/common

compat: $(VENV)/installed ## load checkpoints across the supported releases of transformers
	$(BIN)/python tests/compat/run.py

clients: $(VENV)/installed ## run the tests of hub_tools with older releases of huggingface_hub: 0.36 and 1.x
	$(BIN)/python tests/compat/run.py --prepare --releases $(OLDER_CLIENTS)
	for release in $(OLDER_CLIENTS); do \
		PYTHONPATH="$$PWD/.compat/$$release/site-packages" $(PYTEST) -q -k "stock_push or not slow" $(CLIENT_TESTS) || exit 1; \
	done

lowest: $(VENV)/installed ## run tests with the lowest release of each dependency that pyproject.toml allows
	$(BIN)/python tests/compat/run.py --prepare --releases lowest
	ELECTRA_RTD_LOWEST=1 PYTHONPATH="$$PWD/.compat/lowest/site-packages" $(PYTEST) -q $(LOWEST_TESTS)

bench-step: $(VENV)/installed ## measure the training step of ours and of others, in turn: hours without BENCH_OPTIONS
	$(BIN)/python -m benchmarks.step $(BENCH_OPTIONS)

bench-data: $(VENV)/installed ## measure tokenizing, cache hits, and how long a step waits for its batch
	$(BIN)/python -m benchmarks.data $(BENCH_OPTIONS)

bench-trainer: $(VENV)/installed ## measure Trainer.train() against the bare step
	$(BIN)/python -m benchmarks.end_to_end $(BENCH_OPTIONS)

bench-watching: $(VENV)/installed ## measure what RTDSampleCallback adds to a step
	$(BIN)/python -m benchmarks.watching $(BENCH_OPTIONS)

bench-scaling: $(VENV)/installed ## measure cost against tokens, padding, vocabulary, width and depth
	$(BIN)/python -m benchmarks.scaling $(BENCH_OPTIONS)

gpu-data: $(VENV)/installed ## write the token ids that `make gpu` needs, .gpu/tokens.npz, to take to a machine with CUDA
	$(BIN)/python -m benchmarks.gpu.data $(BENCH_OPTIONS)

gpu: ## check a GPU and measure there: torch, transformers, accelerate do; `make gpu PYTHON=python3` makes no .venv
	$(GPU_PYTHON) -m benchmarks.gpu $(BENCH_OPTIONS)

study: $(VENV)/installed ## does adapting pay? the small form; `STUDY_OPTIONS="--form whole --hours 2"` for the whole
	$(BIN)/python -m benchmarks.study $(STUDY_OPTIONS)

bench-report: $(VENV)/installed ## write what was measured into docs/performance.md
	$(BIN)/python -m benchmarks.report

build: $(VENV)/installed ## build the wheel, and try it in a clean environment
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv --clear $(VENV)-wheel
	@echo "Installing the wheel into $(VENV)-wheel, without any tool of development."
	$(VENV)-wheel/bin/python -m pip install --no-compile $(CONSTRAINTS) dist/*.whl
	$(VENV)-wheel/bin/electra-rtd --version
	$(VENV)-wheel/bin/electra-rtd adapt --example --max_steps 2 --output_dir $(VENV)-wheel/sample

clean: ## remove environments, caches and builds
	rm -rf $(VENV) $(VENV)-wheel .style .site .bench .gpu .compat build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(VENV)/installed: pyproject.toml constraints.txt __init__.py  # which holds the version
	@echo "Setting up $(VENV), once: about a hundred packages, torch the largest. It takes some minutes."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install $(if $(wildcard $@),--quiet) $(CONSTRAINTS) -e '.[dev]'
	@touch $@
	@echo "$(VENV) is ready."
