# The course's commands. `make lab` and `make test` are the two that matter; `make help` lists them all.

.DEFAULT_GOAL := help
.PHONY: help lab setup test book execute address pins numbers bench quality clean
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
LESSON := notebooks/00_start_here.ipynb
# The first Python that fits. `make lab PYTHON=/path/to/python` chooses another.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

help:                         ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

lab: setup                    ## open JupyterLab at lesson 00 (first time: makes the environment)
	$(BIN)/jupyter trust notebooks/*.ipynb
	$(BIN)/jupyter lab $(AS_ROOT) --ServerApp.ip=127.0.0.1 --ServerApp.root_dir="$(CURDIR)" \
	    --LabApp.default_url=/lab/tree/$(LESSON) $(LAB_ARGS)

setup: $(VENV)/lab.ok         ## make the environment and stop there

test: $(VENV)/all.ok          ## every check: lint, units, notebooks, the book, a real browser
	$(BIN)/python tools/get_browser.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --ignore tests/browser
	$(BIN)/python -m pytest tests/browser

book: $(VENV)/all.ok          ## build the site into book/_build/html, with no network
	$(BIN)/python tools/book.py

execute: $(if $(NB),$(VENV)/all.ok,which-lesson)  ## run one lesson's text in full mode, write its notebook: make execute NB=09
	$(BIN)/python tools/lesson.py build $(NB)

which-lesson:
	@echo "Say which lesson: make execute NB=09"; exit 1

address: $(VENV)/all.ok       ## write the launch badges and first cells from the address in pyproject.toml
	$(BIN)/python tools/address.py

pins: $(VENV)/all.ok          ## write constraints.txt from what the environment holds, after upgrading it on purpose
	$(BIN)/python tools/pins.py

numbers: $(VENV)/all.ok       ## write the README's numbers from the cards and the benchmarks' results
	$(BIN)/python tools/readme_numbers.py

bench: $(VENV)/all.ok         ## measure speed against diffusers (minutes)
	$(BIN)/python benchmarks/training_speed.py
	$(BIN)/python benchmarks/sampling_overhead.py
	$(BIN)/python benchmarks/solver_speed.py
	$(BIN)/python benchmarks/likelihood_speed.py
	$(BIN)/python benchmarks/families_speed.py
	$(BIN)/python benchmarks/text_unet_speed.py

quality: $(VENV)/all.ok       ## measure quality for time against diffusers' network (hours; goes on where it stopped)
	$(BIN)/python benchmarks/quality_for_time.py

clean:                        ## remove what was built; the environment in .venv stays
	rm -rf book/_build build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(VENV)/lab.ok: EXTRAS := lab
$(VENV)/all.ok: EXTRAS := lab,test,book
$(VENV)/%.ok: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	$(BIN)/jupyter labextension disable "@jupyterlab/apputils-extension:announcements"
	@touch $@

$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "The course needs Python 3.11, 3.12 or 3.13; found: $$(python3 --version 2>&1)." \
	    "Install one of them, or name it: make lab PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
