"""Report of ``camrt inspect`` on an ONNX classifier that is not a model file yet."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camrt.export.survey import Survey


def show_classifier(
    path: Path, size: tuple[int, int] | None, output: str | None, fix: dict[str, str], *, as_json: bool
) -> int:
    """Survey a classifier and print the result. Returns 1 if it cannot become a model file."""
    from camrt.export import survey

    surveyed = survey(path, size=size, output=output, fix=fix)
    if as_json:
        print(json.dumps({"classifier": str(path), **asdict(surveyed)}, indent=2, ensure_ascii=False))
    else:
        _print(path, surveyed)
    return 0 if surveyed.head is not None else 1


def _print(path: Path, surveyed: "Survey") -> None:
    rows = {
        "classifier": f"{path} ({path.stat().st_size / 1e6:.1f} MB, opset {surveyed.opset}), not a model file yet",
        "input": f"{surveyed.input[0]}x{surveyed.input[1]}, shape {list(surveyed.input_shape)}",
        "outputs": ", ".join(surveyed.outputs),
        "head": surveyed.head or f"no supported head: {surveyed.refusal}",
    }
    for key, value in rows.items():
        print(f"{key:<14}{value}")
    for sentence in surveyed.read:
        print(f"{'read':<14}{sentence}")
    for sentence in surveyed.assumptions:
        print(f"{'assumed':<14}{sentence}")
    for sentence in surveyed.remarks:
        print(f"{'remark':<14}{sentence}")
    if surveyed.layers:
        print("maps          for --layer of camrt attach, in the order of the network; the last one is the default")
        width = max(len(layer.name) for layer in surveyed.layers)
        for layer in surveyed.layers:
            shape = " x ".join(map(str, layer.shape))
            print(f"  {layer.name:<{width}}  {shape:<16}  {layer.operator:<12}  {layer.head}")
    if surveyed.head is not None:
        print(f"next          camrt attach {path} -o {path.stem}.cam.onnx")
