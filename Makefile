# Two commands for a stranger: `make demo` and `make test`.  Both make their own environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYSIDE ?= .venv-pyside6
SYSTEM := xvfb libgl1-mesa-dri libegl1 libgl1 libdbus-1-3 libfontconfig1 libglib2.0-0 \
  libx11-xcb1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 \
  libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0 \
  libxcb-xkb1

.PHONY: help demo app test test-pyside6 coverage fuzz lint docs dist system clean

help:
	@echo "make demo   denoise the sample scan, compare, map grains, write pictures into demo_output/"
	@echo "make app    open napari on the result of the demo"
	@echo "make test   run every test (installs Xvfb and the libraries Qt needs through apt)"
	@echo "make test-pyside6   run the window's tests with PySide6, in an environment of its own"
	@echo "make coverage  run every test and say which lines none of them runs"
	@echo "make fuzz   read 10,000 damaged files with every reader (an hour or more)"
	@echo "make lint   check style, spelling and types"
	@echo "make docs   build the site into site/"
	@echo "make dist   build the wheel and the sdist, and look at what they hold"
	@echo "make clean  remove the environment and the demo's output"

# The stamp is newer than the two files that say what is installed.
$(VENV)/.installed: setup.cfg constraints.txt pyproject.toml
	@echo "Setting up $(VENV) (the first time downloads torch and napari, minutes) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --progress-bar off -c constraints.txt -e ".[all,test]"
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python scripts/demo.py

app: $(VENV)/.installed
	$(BIN)/python scripts/demo.py --open

test: $(VENV)/.installed system
	env -u DISPLAY -u WAYLAND_DISPLAY -u QT_QPA_PLATFORM $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# The window with the other Qt binding. A worker that ends itself in a long run is started again.
$(PYSIDE)/.installed: setup.cfg constraints.txt pyproject.toml
	@echo "Setting up $(PYSIDE) with PySide6 ..."
	$(PYTHON) -m venv $(PYSIDE)
	$(PYSIDE)/bin/python -m pip install --quiet --upgrade -c constraints.txt pip setuptools
	$(PYSIDE)/bin/python -m pip install --quiet --progress-bar off -c constraints.txt -e ".[pyside6,test]"
	@touch $@

test-pyside6: $(PYSIDE)/.installed system
	env -u DISPLAY -u WAYLAND_DISPLAY -u QT_QPA_PLATFORM QT_API=pyside6 $(PYSIDE)/bin/python -m pytest \
	  -n auto --maxprocesses 4 --dist loadfile -o qt_api=pyside6 tests/gui

coverage: $(VENV)/.installed system
	$(BIN)/python -m pip install --quiet -c constraints.txt pytest-cov
	env -u DISPLAY -u WAYLAND_DISPLAY -u QT_QPA_PLATFORM $(BIN)/python -m pytest -n auto --maxprocesses 4 \
	  --dist loadfile --cov --cov-report=term:skip-covered --cov-report=html

fuzz: $(VENV)/.installed
	LABDCT_FUZZ=10000 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile tests/fuzz

# Only asks apt for what is missing; without root it prints the one line and stops.
system:
	@command -v dpkg-query >/dev/null || { echo "No apt here: install Xvfb and the libraries Qt needs by hand if GUI tests fail."; exit 0; }; \
	missing=""; for p in $(SYSTEM); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q "ok installed" || missing="$$missing $$p"; done; \
	[ -z "$$missing" ] && exit 0; \
	echo "The tests open real windows on a virtual screen and need these Debian packages:$$missing"; \
	if [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else \
	  echo "Install them once, then run make test again:"; \
	  echo "  sudo apt-get install -y$$missing"; exit 1; \
	fi

lint: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt --group lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/python -m mypy

docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt mkdocs-material "mkdocstrings[python]"
	$(BIN)/python scripts/make_command_docs.py
	$(BIN)/python -m mkdocs build

dist: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt build
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python scripts/check_dist.py dist/*

clean:
	rm -rf $(VENV) $(PYSIDE) demo_output
