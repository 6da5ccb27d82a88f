# Thin wrappers; on Windows type what they call: python -m beft_lib course, and so on.
PYTHON ?= $(shell command -v python3 || command -v python)

.PHONY: help course test lab doctor book slides lock

help:
	@echo "make course   set up, run the lessons, leave executed and readable copies in build/course; ARGS=--record keeps their minutes"
	@echo "make test     set up, run every test and every lesson; ARGS='-k name' goes on to pytest"
	@echo "make lab      set up, open JupyterLab on lesson 00"
	@echo "make doctor   say what works here and what does not, with the fix"
	@echo "make book     build the course as a site into build/book (needs .venv/bin/python -m pip install -e '.[book]')"
	@echo "make slides   make slides of the lessons, to be shown offline, in build/slides (needs the same)"
	@echo "make lock     remake requirements.lock from pyproject.toml (needs uv and a connection)"

course:
	@$(PYTHON) -m beft_lib course $(ARGS)

test:
	@$(PYTHON) -m beft_lib test -- $(ARGS)

lab:
	@$(PYTHON) -m beft_lib lab

doctor:
	@$(PYTHON) -m beft_lib doctor

book:
	@$(PYTHON) -m beft_lib book

slides:
	@$(PYTHON) -m beft_lib slides

# Exact versions for Python 3.10 to 3.13 on Linux, macOS and Windows in one file; the settings are under [tool.uv].
# The extra `book` is left out. Versions that still fit are kept; UPGRADE=--upgrade takes the newest.
lock:
	uv pip compile pyproject.toml --extra course --extra test --extra dev --no-annotate --custom-compile-command "make lock" $(UPGRADE) -o requirements.lock
