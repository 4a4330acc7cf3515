# `make demo` and `make test` need Python (3.11 or newer) and make. Each creates its own environment first.
PYTHON ?= python3
DEMO := .venv-demo
TEST := .venv-test
CONSTRAINTS := tests/constraints.txt
# A worker of pytest-xdist needs up to 4 GB of memory (torch). It runs whole files, because their tests share fixtures.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test large quick check images demo-model clean

help:
	@echo "make demo        show a live class activation map (no camera, download or display needed)"
	@echo "make quick       run the tests that need no other process, in less than three minutes"
	@echo "make test        run all tests but those of make large"
	@echo "make large       run the tests of large networks, half a minute each"
	@echo "make check       run ruff and mypy"
	@echo "make images      draw the README's images again"
	@echo "make demo-model  train the bundled model again"
	@echo "make clean       remove the environments and caches"

demo: $(DEMO)/ready
	$(DEMO)/bin/camrt demo

test: $(TEST)/ready
	$(TEST)/bin/python -m pytest $(PARALLEL) -m "not (alone or large)"
	$(TEST)/bin/python -m pytest -m alone

large: $(TEST)/ready
	$(TEST)/bin/python -m pytest $(PARALLEL) -m large

quick: $(TEST)/ready
	$(TEST)/bin/python -m pytest $(PARALLEL) -m "not (slow or process or browser or rtsp or window)"

check: $(TEST)/ready
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy

images: $(TEST)/ready
	$(TEST)/bin/python docs/draw_images.py

demo-model: $(TEST)/ready
	$(TEST)/bin/python -m camrt.export.train.demo -o runtime/assets/demo.onnx

$(DEMO)/ready: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install --quiet --editable '.[cpu]'
	@touch $@

# pip installs grad-cam and openvino-model-api without their dependencies. Those include opencv-python-headless, which
# overwrites files of opencv-python and so removes the window. tests/constraints.txt pins versions that work together.
# To test the oldest versions: make test TEST=.venv-lowest CONSTRAINTS=tests/lowest.txt
$(TEST)/ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[cpu,export,test,dev]'
	$(TEST)/bin/pip install --quiet --constraint $(CONSTRAINTS) --no-deps grad-cam openvino-model-api
	@touch $@

clean:
	rm -rf $(DEMO) $(TEST) build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis
