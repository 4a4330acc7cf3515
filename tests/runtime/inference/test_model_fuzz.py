"""Model files with damage at random: each is refused in words, or works; none ends the process."""

import random
import subprocess
import sys

import pytest

from camrt.runtime.assets import DEMO_MODEL
from support.needs import environment

pytestmark = pytest.mark.process

FILES = 150
LOAD = """
import sys
import numpy as np
import camrt
from camrt.errors import CamrtError
frame = np.zeros((48, 64, 3), np.uint8)
for path in sys.argv[1:]:
    print(path, flush=True)
    try:
        camrt.load(path, provider="cpu", threads=1)(frame).draw(frame)
        print("works")
    except CamrtError as error:
        assert str(error)
        print("refused")
"""


def damaged(chance, data):
    """Return a file with a few changes, most of them where its structure is and not its weights."""
    data = bytearray(data)
    kind = chance.randrange(4)
    for _ in range(chance.choice((1, 3, 20))):
        near = chance.randrange(4000)
        at = chance.choice((chance.randrange(len(data)), near, len(data) - 1 - near))
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at : at + chance.randint(1, 50)]
        elif kind == 2:
            data[at:at] = chance.randbytes(chance.randint(1, 50))
        else:
            del data[max(1, at) :]
            break
    return bytes(data)


def test_damaged_files_are_refused_or_work(tmp_path):
    chance, whole = random.Random(0), DEMO_MODEL.read_bytes()
    files = [tmp_path / f"{number}.onnx" for number in range(FILES)]
    for file in files:
        file.write_bytes(damaged(chance, whole))
    # A text of the metadata that is no text any more: found by chance once, and not to be left to chance.
    files.append(tmp_path / "no_text.onnx")
    files[-1].write_bytes(whole.replace(b'"resize"', b'"re\xffize"'))
    command = [sys.executable, "-c", LOAD, *files]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, timeout=300)
    words = done.stdout.split()
    assert done.returncode == 0, f"{words[-1]}: {done.stderr[-1000:]}"
    assert words.count("works") + words.count("refused") == len(files)
    assert words.count("refused") > FILES // 2
    assert words[-1] == "refused"
