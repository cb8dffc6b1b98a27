# sensorium: each target makes the environment it needs; a second call reuses it.
#   make demo    generate the scene world, train, evaluate, report
#   make test    the test suite          make slow   the slower checks
#   make check   ruff and mypy           make bench  the benchmarks
#   make fuzz    2,000 hostile files of every form through the decoders
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test slow check bench fuzz install clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install --quiet --constraint constraints.txt $(TORCH_INDEX) torch
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

install: $(STAMP)

demo: $(STAMP)
	env -u OMP_NUM_THREADS $(VENV)/bin/sensorium demo

test: $(STAMP)
	$(PY) -m pytest -m 'not slow'

slow: $(STAMP)
	$(PY) -m pytest -m slow

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(PY) tests/forbidden.py

bench: $(STAMP)
	env -u OMP_NUM_THREADS $(PY) benchmarks/overhead.py
	$(PY) benchmarks/imports.py
	$(PY) benchmarks/streams.py
	$(PY) benchmarks/cache.py

fuzz: $(STAMP)
	PYTHONPATH=tests $(PY) tests/fuzz.py

clean:
	rm -rf $(VENV) build dist *.egg-info
