# make demo    from a clone to characters            make test    from a clone to a passed test suite
# make setup   .venv with the castmine command       make bench   benchmarks (ratios against a baseline run side by side)
# make check   style, types and imports alone          make faults  long fault runs
# make long    clusters, names and people over several titles
# make setup GPU=1   the same with onnxruntime-gpu in the place of onnxruntime
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(abspath $(VENV))/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt
UV_VERSION := 0.13.9
GPU ?=
PINS := pyproject.toml constraints.txt

.PHONY: help setup demo test test-films test-rest long check faults bench constraints clean
help:
	@sed -n 's/^# //p' Makefile | sed '/^$$/d'

setup: $(VENV)/.castmine
	@echo "castmine is set up: $(BIN)/castmine --help"

demo: $(VENV)/.castmine
	$(BIN)/castmine demo

test: $(VENV)/.test
	@$(MAKE) --no-print-directory --jobs 2 --keep-going test-films test-rest

## The two halves of `make test`, side by side: films, processes, training and kernels; Spark, style and all else
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest
FILMS = tests/end_to_end tests/processes tests/unit tests/spark/test_commit.py
test-films: $(VENV)/.test
	$(PYTEST) -m "not long" $(FILMS)
test-rest: $(VENV)/.test
	$(PYTEST) -m "not long" $(FILMS:%=--ignore %)

long: $(VENV)/.test  # clusters, kills, and corpora that are gone through several times: names, people, protocols
	$(PYTEST) -m long --durations=20

check: $(VENV)/.test  # the fast checks alone: style, types, imports
	$(BIN)/python -m pytest tests/test_house.py

faults: $(VENV)/.test  # long: killed at every stage, cut anywhere, other cores, two commands at once
	$(BIN)/python -m pytest tests/end_to_end/faults*.py --durations=20

bench: $(VENV)/.test  # DATA=FOLDER: labelled tracks (see tests/bench/adaptation.py)
	$(BIN)/python -m tests.bench.harvest
	$(BIN)/python -m tests.bench.mining 0.01 0.03 --plain
	$(BIN)/python -m tests.bench.training
	$(BIN)/python -m tests.bench.scale
	$(if $(DATA),$(BIN)/python -m tests.bench.adaptation $(DATA))
	$(if $(DATA),$(BIN)/python -m tests.bench.clustering $(DATA))
	$(if $(DATA),$(BIN)/python -m tests.bench.people $(DATA))

$(BIN)/uv:
	@sh conf/setup/check_host.sh
	python3.11 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)

$(VENV)/.castmine: $(BIN)/uv $(PINS)
	@sh conf/setup/check_host.sh
	@echo "installing castmine into $(VENV): about 4 GB to download where nothing is cached, 2 to 5 minutes"
ifeq ($(GPU),)
	$(UV) -e .
else
	echo "onnxruntime ; sys_platform == 'never'" > $(VENV)/gpu-overrides.txt
	$(UV) --overrides $(VENV)/gpu-overrides.txt -e '.[gpu]'
endif
	$(BIN)/castmine doctor --fetch
	@touch $@

## Horovod is compiled here (3 to 6 minutes once; uv keeps the wheel in its own cache, outside the checkout)
$(VENV)/.test: $(VENV)/.castmine
	@sh conf/setup/check_host.sh horovod
	@echo "adding the test tools and Horovod"
	HOROVOD_CMAKE=$(abspath conf/setup/cmake-horovod.sh) MAKEFLAGS= $(UV) -e '.[dev,horovod]'
	$(BIN)/python -c "import horovod.torch as hvd; hvd.init(); assert hvd.gloo_built()"
	$(BIN)/python -c "from jobs.lake import jars; jars.fetch('s3')"
	@touch $@

## pins the whole tree again after a change of pyproject.toml; the file names no registry
constraints: $(BIN)/uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --python-version 3.11 --no-header --no-annotate --no-emit-index-url -q -o constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info
