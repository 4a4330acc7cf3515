"""Run a session on batches of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camrt import model_file
from camrt.images import Image
from camrt.runtime.inference.providers import onnxruntime


@dataclass(frozen=True, slots=True)
class Output:
    """An output that is read for each image."""

    name: str
    """Name in `camrt.model_file.OUTPUTS`."""
    in_file: str
    """Name in the file, which may have several heads."""
    shape: tuple[int, ...]
    """Shape for one image."""
    dtype: "np.dtype[Any]"


class PlainRuns:
    """Runs a session; several threads may call it at once."""

    remarks: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    bytes_limit: int = 0

    def __init__(self, session: Any, outputs: Sequence[Output], run_options: Any = None) -> None:
        """Run a session with options of ONNX Runtime (``RunOptions``), or with its own."""
        self._session = session
        self._outputs = outputs
        self._run_options = run_options
        self._ortvalue = onnxruntime().OrtValue.ortvalue_from_numpy

    def __call__(self, batch: Image) -> dict[str, Any]:
        """Return the outputs for a batch, uint8 (N, H, W, 3), by name, in arrays that the caller owns."""
        arrays = {output.name: np.empty((len(batch), *output.shape), output.dtype) for output in self._outputs}
        # ONNX Runtime writes bound arrays in place: one copy from the device, none on the CPU.
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(model_file.IMAGE, self._ortvalue(batch))
        for output in self._outputs:
            binding.bind_ortvalue_output(output.in_file, self._ortvalue(arrays[output.name]))
        self._session.run_with_iobinding(binding, self._run_options)
        return arrays
