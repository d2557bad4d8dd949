PYTHON ?= python3
BIN := .venv/bin

# Where the data sets lie beside the checkout, they are used; EBBENCH_DATA says otherwise.
ifneq ($(wildcard ../shared/data),)
export EBBENCH_DATA ?= $(abspath ../shared/data)
endif

.PHONY: setup run test test-all check

setup: $(BIN)/.installed

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

run: setup
	$(BIN)/ebbench run --task stackedmnist --model meg --budget smoke --results build/results
	$(BIN)/ebbench run --task stackedmnist --model real-data --budget smoke --results build/results --quiet
	$(BIN)/ebbench table --task stackedmnist --results build/results

test: setup
	scripts/test

# What CI runs.
test-all: setup
	scripts/test -m 'not slow'

check: setup
	scripts/check
