"""Make model files: from a classifier in torch or ONNX, and from a model file in fewer bits.

Needs the extra ``export``: torch and onnx.

`attach` converts an ONNX classifier, `from_torch` a torch module, which it exports to ONNX first. Both add the outputs
of ``camrt.model_file`` to the graph and verify them before they write the file. `survey` shows the head of an ONNX
classifier without converting it. `to_gap_cnn` gives a torch classifier a head that class activation maps explain
exactly. `train` makes a classifier of a folder of images, and `MapCallback` shows the maps of any network while it
trains. `quantize` makes a model file of 8-bit integers.

Names load on first use: `attach` and `quantize` never import torch.

Imports go one way: ``graph`` <- ``head`` <- ``verify`` <- ``quantize``, and ``graph``, ``labels`` <-
``source_metadata``; the files beside these folders put them together, and ``train`` uses those.
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
    from camrt.export.train.map_callback import MapCallback
    from camrt.export.train.train import train

__all__ = ["MapCallback", "attach", "from_torch", "quantize", "survey", "to_gap_cnn", "train"]

_MODULES = {
    "MapCallback": "camrt.export.train.map_callback",
    "attach": "camrt.export.attach",
    "from_torch": "camrt.export.from_torch",
    "quantize": "camrt.export.quantize.quantize",
    "survey": "camrt.export.survey",
    "to_gap_cnn": "camrt.export.train.gap_cnn",
    "train": "camrt.export.train.train",
}

for _name in ("onnx", "torch"):
    if find_spec(_name) is None:
        raise MissingExtra(f"camrt.export needs {_name}, which is not installed: pip install 'camrt[export]'")


class _Package(ModuleType):
    """This package, in which a public name stays a function when a module or folder of the same name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        # `import camrt.export.quantize.int8` sets the attribute `quantize` of this package to that folder.
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'camrt.export' has no attribute {name!r}")
    return getattr(load_undisturbed(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
