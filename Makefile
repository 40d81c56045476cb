# make demo: the main job, from nothing. make test: formatting, lint, types, tests. make notebooks: the tutorials, in
# JupyterLab. make docs: the documentation, in site/.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install demo test notebooks docs format clean

install: $(VENV)/installed

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 10) else f"Python {v[0]}.{v[1]} is too old: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e ".[all,dev]"
	touch $@

demo: install
	$(BIN)/dsnet train --corpus synthetic --method baseline,dsnet --epochs 6 --max-frames 32 --jobs 2 --out runs/demo
	$(BIN)/dsnet report runs/demo

test: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term-missing:skip-covered

notebooks: install
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e ".[notebooks]"
	$(BIN)/jupyter lab notebooks

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist site *.egg-info runs/demo
