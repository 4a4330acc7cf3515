# `make demo` and `make test` need Python (3.11 or newer) and make; each makes its own environment first.
PYTHON ?= python3
DEMO := .venv-demo
TEST := .venv-test
CONSTRAINTS := tests/constraints.txt

.PHONY: help demo test check pictures demo-model clean

help:
	@echo "make demo        see a live class activation map: no camera, no download, no display needed"
	@echo "make test        run every test"
	@echo "make check       ruff and mypy"
	@echo "make pictures    draw the pictures of the README anew"
	@echo "make demo-model  train the bundled model anew"
	@echo "make clean       remove the environments and caches"

demo: $(DEMO)/ready
	$(DEMO)/bin/camrt demo

test: $(TEST)/ready
	$(TEST)/bin/python -m pytest

check: $(TEST)/ready
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy

pictures: $(TEST)/ready
	$(TEST)/bin/python docs/pictures.py

demo-model: $(TEST)/ready
	$(TEST)/bin/python -m camrt.export.train.demo -o runtime/assets/demo.onnx

$(DEMO)/ready: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install --quiet --editable '.[cpu]'
	@touch $@

# grad-cam and openvino-model-api go in without their dependencies: they ask for opencv-python-headless, whose files
# overwrite those of opencv-python and take the window away. tests/constraints.txt pins what is known to work together; the oldest versions
# are tried by: make test TEST=.venv-lowest CONSTRAINTS=tests/lowest.txt
$(TEST)/ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[cpu,export,test,dev]'
	$(TEST)/bin/pip install --quiet --constraint $(CONSTRAINTS) --no-deps grad-cam openvino-model-api
	@touch $@

clean:
	rm -rf $(DEMO) $(TEST) build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis
