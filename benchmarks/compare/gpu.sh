#!/usr/bin/env bash
# Compare the CPU with CUDA (and TensorRT, if it is installed) within ten minutes: live frame rates, batches of 1 to 32,
# I/O binding on and off, 1 to 16 cameras. Without an NVIDIA driver only the CPU is measured.
#
#   benchmarks/compare/gpu.sh [MODEL]       default: MobileNetV2 with random weights, as fast as with trained ones
#
# PYTHON=... names the Python of an environment with camrt; by default a new one is created. Tables are printed, numbers
# are written to gpu.json.
set -euo pipefail
cd "$(dirname "$0")/../.."

wheel=cpu providers=(cpu)
if command -v nvidia-smi >/dev/null; then
  wheel=gpu providers=(cpu cuda)
fi
python=${PYTHON:-}
if [ -z "$python" ]; then
  python3 -m venv .venv-gpu
  .venv-gpu/bin/pip install --quiet --editable ".[$wheel,export,chart]" torchvision
  if [ "$wheel" = gpu ]; then .venv-gpu/bin/pip install --quiet 'onnxruntime-gpu[cuda,cudnn]'; fi
  python=.venv-gpu/bin/python
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
model=${1:-$folder/mobilenet_v2.onnx}
if [ $# = 0 ]; then
  "$python" -W ignore -m camrt.cli export torchvision.models:mobilenet_v2 --size 224 -o "$model"
fi

"$python" -m camrt.cli bench "$model" --size 640x480 1920x1080 --provider "${providers[@]}" --rounds "${ROUNDS:-7}"
"$python" -m camrt.benchmarks.compare.providers "$model" --seconds "${SECONDS_EACH:-3}" --json gpu.json
