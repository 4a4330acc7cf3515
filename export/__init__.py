"""Classifier (torch or ONNX) in, model file out. Needs the extra ``export``: torch and onnx.

Two doors, one path: `attach` takes an ONNX classifier that somebody else exported, `from_torch` a torch module that it
exports itself; both give the graph the outputs of ``camrt.model_file`` and prove them before the file is written.
`survey` looks at an ONNX classifier first. `to_gap_cnn` makes a classifier with fully connected layers into one that a
class activation map explains; `quantize` makes a model file into one that computes in 8-bit integers.

Names load on first use: `attach` and `quantize` never import torch.
"""

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from camrt.errors import MissingExtra
from camrt.loading import load_undisturbed

if TYPE_CHECKING:
    from camrt.export.attach import attach
    from camrt.export.from_torch import from_torch
    from camrt.export.quantize.quantize import quantize
    from camrt.export.survey import survey
    from camrt.export.train.gap_cnn import to_gap_cnn

__all__ = ["attach", "from_torch", "quantize", "survey", "to_gap_cnn"]

_HOMES = {
    "attach": "camrt.export.attach",
    "from_torch": "camrt.export.from_torch",
    "quantize": "camrt.export.quantize.quantize",
    "survey": "camrt.export.survey",
    "to_gap_cnn": "camrt.export.train.gap_cnn",
}

for _name in ("onnx", "torch"):
    if find_spec(_name) is None:
        raise MissingExtra(f"camrt.export needs {_name}, which is not installed: pip install 'camrt[export]'")


class _Package(ModuleType):
    """This package. A public name keeps its function although a module or folder of the same name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        # `import camrt.export.quantize.int8` sets the attribute `quantize` of this package to that folder.
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'camrt.export' has no attribute {name!r}")
    return getattr(load_undisturbed(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
