"""What ``camrt inspect`` shows of a classifier that is no model file yet."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camrt.export.survey import Survey


def show_classifier(path: Path, size: tuple[int, int] | None, output: str | None, *, as_json: bool) -> int:
    """Look at a classifier and print what is found; returns 1 where it could not become a model file."""
    from camrt.export import survey

    found = survey(path, size=size, output=output)
    if as_json:
        print(json.dumps({"classifier": str(path), **asdict(found)}, indent=2, ensure_ascii=False))
    else:
        _print(path, found)
    return 0 if found.head is not None else 1


def _print(path: Path, found: "Survey") -> None:
    rows = {
        "classifier": f"{path} ({path.stat().st_size / 1e6:.1f} MB, opset {found.opset}), no model file yet",
        "input": f"{found.input[0]}x{found.input[1]}, as {list(found.input_shape)}",
        "outputs": ", ".join(found.outputs),
        "head": found.head or f"none that can be shown: {found.refusal}",
    }
    for key, value in rows.items():
        print(f"{key:<14}{value}")
    if found.layers:
        print(
            "maps          what --layer of camrt attach can name, in the network's order; the last one is the default"
        )
        name = max(len(layer.name) for layer in found.layers)
        for layer in found.layers:
            shape = " x ".join(map(str, layer.shape))
            print(f"  {layer.name:<{name}}  {shape:<16}  {layer.operator:<12}  {layer.head}")
    if found.head is not None:
        print(f"next          camrt attach {path} -o {path.stem}.cam.onnx")
