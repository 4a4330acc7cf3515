"""Attack: model files whose bytes, metadata or graph are changed at random."""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import ModelProto, TensorProto

from camrt.benchmarks.fuzz.outcome import Outcome
from camrt.runtime.assets import DEMO_MODEL

_BATCH: Final = 20
_FILE_S: Final = 60.0
"""Seconds after which a file counts as one that hangs."""
_LOAD: Final = """
import sys
import numpy as np
import camrt
from camrt.errors import CamrtError
frame = np.zeros((48, 64, 3), np.uint8)
for path in sys.argv[1:]:
    try:
        camrt.load(path, provider="cpu", threads=1)(frame).draw(frame)
        print("works", flush=True)
    except CamrtError as error:
        print("refused" if len(str(error)) < 2000 else "message of more than 2000 characters", flush=True)
    except Exception as error:
        print(f"traceback: {type(error).__name__}: {error}".splitlines()[0][:200], flush=True)
"""


def attack(seed: int, seconds: float) -> Outcome:
    """Open changed copies of the demo's model file in other processes, until the time is over."""
    generator, outcome, until_s = random.Random(seed), Outcome(), time.monotonic() + seconds
    data = DEMO_MODEL.read_bytes()
    kinds = (_change_bytes, _change_metadata, _change_graph)
    number = 0
    with tempfile.TemporaryDirectory(prefix="camrt-fuzz-") as folder:
        while time.monotonic() < until_s:
            files = []
            for _ in range(_BATCH):
                files.append(Path(folder) / f"{number}.onnx")
                files[-1].write_bytes(generator.choice(kinds)(generator, data))
                number += 1
            for file, effect in zip(files, _open(files), strict=True):
                outcome.counts[effect if effect in ("works", "refused") else "harm"] += 1
                if effect not in ("works", "refused"):
                    outcome.harm.append(f"models, seed {seed}, file {file.stem}: {effect}")
                file.unlink()
    return outcome


def _open(files: list[Path]) -> list[str]:
    """Return the effect of each file."""
    effects: list[str] = []
    while len(effects) < len(files):
        command = [sys.executable, "-c", _LOAD, *map(str, files[len(effects) :])]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_FILE_S * len(files), check=False)
            output, end = done.stdout, f"the process ended with status {done.returncode}"
        except subprocess.TimeoutExpired as error:
            output = error.stdout.decode() if isinstance(error.stdout, bytes) else ""
            end = f"it was not opened within {_FILE_S * len(files):g} s"
        effects += output.splitlines()
        if len(effects) < len(files):
            effects.append(end)
    return effects


def _change_bytes(generator: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.choice((1, 3, 20))):
        if len(changed) < 100:
            break
        near = min(generator.randrange(4000), len(changed) - 1)
        at = generator.choice((generator.randrange(len(changed)), near, len(changed) - 1 - near))
        kind = generator.randrange(4)
        if kind == 0:
            changed[at] = generator.randrange(256)
        elif kind == 1:
            del changed[at : at + generator.randint(1, 50)]
        elif kind == 2:
            changed[at:at] = generator.randbytes(generator.randint(1, 50))
        else:
            del changed[max(1, at) :]
    return bytes(changed)


def _change_metadata(generator: random.Random, data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    entry = generator.choice([entry for entry in model.metadata_props if entry.key.startswith("camrt.")])
    entry.value = json.dumps(_other_value(generator, json.loads(entry.value)))
    return bytes(model.SerializeToString())


def _other_value(generator: random.Random, value: Any) -> Any:
    """Return a JSON value with one part replaced."""
    if isinstance(value, dict) and value and generator.random() < 0.8:
        key = generator.choice(sorted(value))
        return value | {key: _other_value(generator, value[key])}
    if isinstance(value, list) and value and generator.random() < 0.8:
        index = generator.randrange(len(value))
        return [*value[:index], _other_value(generator, value[index]), *value[index + 1 :]]
    deep: Any = 0
    for _ in range(generator.choice((1, 200))):
        deep = [deep]
    numbers = [0, -1, 1, 3, 2**31, 10**30, 0.5, 1e300]
    return generator.choice([*numbers, True, None, "", "x", "\x1b[2J\n", {}, [], deep, {"a": []}])


def _change_graph(generator: random.Random, data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    changes = (_drop_node, _swap_inputs, _change_weights, _rename_output, _change_attribute)
    for _ in range(generator.choice((1, 2, 5))):
        generator.choice(changes)(generator, model)
    return bytes(model.SerializeToString())


def _drop_node(generator: random.Random, model: ModelProto) -> None:
    if model.graph.node:
        del model.graph.node[generator.randrange(len(model.graph.node))]


def _swap_inputs(generator: random.Random, model: ModelProto) -> None:
    nodes = [node for node in model.graph.node if node.input]
    if nodes:
        one, other = generator.choice(nodes), generator.choice(nodes)
        one.input[generator.randrange(len(one.input))] = generator.choice(list(other.input))


def _change_weights(generator: random.Random, model: ModelProto) -> None:
    tensor: TensorProto = generator.choice(list(model.graph.initializer))
    kind = generator.randrange(3)
    if kind == 0 and tensor.dims:
        tensor.dims[generator.randrange(len(tensor.dims))] = generator.choice((0, 1, 2, 10**6, 2**40, -1))
    elif kind == 1:
        tensor.data_type = generator.randrange(20)
    else:
        tensor.raw_data = tensor.raw_data[: generator.randrange(len(tensor.raw_data) + 1)]


def _rename_output(generator: random.Random, model: ModelProto) -> None:
    output = generator.choice(list(model.graph.output))
    output.name = generator.choice([entry.name for entry in model.graph.output] + ["scores", "x", ""])


def _change_attribute(generator: random.Random, model: ModelProto) -> None:
    attributes = [attribute for node in model.graph.node for attribute in node.attribute if attribute.ints]
    if attributes:
        attribute = generator.choice(attributes)
        attribute.ints[generator.randrange(len(attribute.ints))] = generator.choice((0, -1, 1, 7, 10**6, 2**62))
