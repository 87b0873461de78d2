# `make demo` and `make test` do everything on a fresh Debian or Ubuntu machine; see README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Your own index or CPU builds of torch: make install PIP_ARGS="--index-url ..."
PIP_ARGS ?=
STAMP := $(VENV)/.installed

.PHONY: install demo test test-slow lint wheel clean

install: $(STAMP)

# What the kernels are made of, too: a pull that changes them compiles them anew.
KERNELS := runtime/irvis_runtime/kernels
$(STAMP): pyproject.toml constraints.txt install/system.sh install/python.sh runtime/build_kernels.py $(KERNELS)/kernels.c
	bash install/system.sh
	PYTHON="$(PYTHON)" VENV="$(VENV)" PIP_ARGS="$(PIP_ARGS)" bash install/python.sh
	touch $@

demo: install
	$(BIN)/irvis demo -o demo-out

# Everything CI needs: style, types, layers, tests, and the README's own commands with the demo.
test: install lint
	$(BIN)/python -m pytest -m "not slow"
	$(BIN)/python -m pytest -m slow tests/project/test_readme.py tests/runtime/test_demo.py

test-slow: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests

wheel: install
	$(BIN)/python -m build --no-isolation runtime

clean:
	rm -rf $(VENV) demo-out runtime/build runtime/dist $(KERNELS)/*.so
