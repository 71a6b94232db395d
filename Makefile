# make setup · demo · test · test-faults · lint · bench · gpu      Each does all its own set-up; Python >= 3.10, git and make suffice.

PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# DeepSpeed's C++ and CUDA operations are not used: skip compiling them.
export DS_BUILD_OPS := 0

.PHONY: setup demo test test-faults lint bench gpu clean
.DELETE_ON_ERROR:

setup: .venv/installed

# torch goes first: with it in place, no other package pulls another build of it.
.venv/installed: setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python >= 3.10 is needed; choose one with: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch numpy
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# DALI is large, and only its tests need it here. No wheel of it fits every machine: without it they are skipped.
.venv/tested: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dali]' \
		|| echo "NVIDIA DALI could not be installed: its tests are skipped"
	touch $@

demo: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" sh recipes/demo.sh

test: setup .venv/tested
	@sh cluster/testing/install.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadscope --no-loadscope-reorder $(ARGS)

test-faults: setup
	@sh cluster/testing/install.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults -s $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: setup
	$(BIN)/deps bench kernels
	$(BIN)/deps bench step
	$(BIN)/deps bench data
	$(BIN)/deps bench evaluate
	$(BIN)/deps bench search

# On a machine with a GPU, in an environment of its own, beside the torch that PYTHON has, if it has one:
# make gpu PYTHON=python3.12 WHEELS=folder. Where there is no GPU, that is all that it says.
gpu:
	@$(PYTHON) pipeline/bench/suite/environment.py .venv-gpu $(WHEELS)
	.venv-gpu/bin/deps bench gpu $(ARGS)

clean:
	rm -rf .venv .venv-gpu *.egg-info
