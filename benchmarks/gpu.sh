#!/usr/bin/env bash
# Measure the goals of speed within 8 minutes, on a bare machine with an NVIDIA driver: one table with each goal, the
# measured value and a verdict. Without a GPU, the rows of the CPU are measured, and the others say why not.
#
#   benchmarks/gpu.sh           writes gpu.json; this puts it into the documents:
#   python -m camrt.benchmarks.report.report --gpu gpu.json --documents docs/performance.md
#
# PYTHON=... names the Python of an environment with camrt and the extras export and bench; by default a new one is
# created, and its installation counts. LIMIT=480 is the limit in seconds; what does not fit is left out, and named.
# TURN=2 is the duration of one measurement.
set -euo pipefail
cd "$(dirname "$0")/.."

wheel=cpu
if command -v nvidia-smi >/dev/null; then wheel=gpu; fi
python=${PYTHON:-}
if [ -z "$python" ]; then
  python3 -m venv .venv-gpu
  python=.venv-gpu/bin/python
  # Without its dependencies, as the Makefile installs it: they would overwrite OpenCV.
  "$python" -m pip install --quiet --editable ".[$wheel,export,images]" torchvision torchcam openvino matplotlib \
    scikit-learn tqdm ttach
  "$python" -m pip install --quiet --no-deps grad-cam
  if [ "$wheel" = gpu ]; then "$python" -m pip install --quiet 'onnxruntime-gpu[cuda,cudnn]'; fi
fi
"$python" -m camrt.benchmarks.goals --json gpu.json --seconds $((${LIMIT:-480} - SECONDS)) ${TURN:+--turn "$TURN"}
