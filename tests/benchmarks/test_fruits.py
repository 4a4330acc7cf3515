"""From real labelled pictures to a model file that classifies as the network did in torch."""

import subprocess
import sys

import pytest

import camrt
from camrt.benchmarks import fruits
from camrt.errors import UsageError
from support import REPOSITORY
from support.needs import environment


@pytest.mark.slow
def test_a_network_trained_on_real_pictures_is_exported_and_agrees_with_torch(shared_data, tmp_path):
    """A few epochs: how well it learns is the benchmark's report, that the file computes the same is the test."""
    data, target = shared_data / "fruits", tmp_path / "fruits.onnx"
    result = fruits.run(data, target, epochs=4, most=50)
    assert (result["classes"], result["training_pictures"], result["test_pictures"]) == (15, 750, 600)
    assert result["accuracy"] > 3 / 15  # more than chance
    assert result["agreement"] > 0.99
    assert abs(result["accuracy"] - result["torch_accuracy"]) < 0.01
    assert result["identity_error"] <= 1e-4
    model = camrt.load(target)
    assert model.labels == tuple(sorted(folder.name for folder in (data / "Training").iterdir()))


@pytest.mark.process
def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no pictures in"):
        fruits.run(tmp_path, tmp_path / "out.onnx")
    script = [sys.executable, REPOSITORY / "benchmarks" / "fruits.py", "--data", tmp_path]
    done = subprocess.run(script, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("fruits: no pictures in")


def test_classes_that_only_one_half_has_are_refused(shared_data, tmp_path):
    for half, name in (("Training", "Banana"), ("Test", "Kiwi")):
        (tmp_path / half).mkdir()
        (tmp_path / half / name).symlink_to(shared_data / "fruits" / half / name)
    with pytest.raises(UsageError, match="different classes"):
        fruits.run(tmp_path, tmp_path / "out.onnx")
