"""A network trained on labelled images becomes a model file with the same predictions as in torch."""

import subprocess
import sys

import pytest

import camrt
from camrt.benchmarks import fruits
from camrt.errors import UsageError
from support import REPOSITORY
from support.needs import environment


@pytest.mark.slow
def test_model_file_of_a_trained_network_agrees_with_torch(shared_data, tmp_path):
    """A few epochs: the test checks that the file computes the same, not how well the network learns."""
    data, target = shared_data / "fruits", tmp_path / "fruits.onnx"
    result = fruits.run(data, target, epochs=4, max_per_class=50)
    assert (result["classes"], result["training_images"], result["test_images"]) == (15, 750, 600)
    assert result["accuracy"] > 3 / 15  # more than chance
    assert result["agreement"] > 0.99
    assert abs(result["accuracy"] - result["torch_accuracy"]) < 0.01
    assert result["identity_error"] <= 1e-4
    model = camrt.load(target, "cpu")
    assert model.labels == tuple(sorted(folder.name for folder in (data / "Training").iterdir()))


@pytest.mark.process
def test_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no images in"):
        fruits.run(tmp_path, tmp_path / "out.onnx")
    script = [sys.executable, REPOSITORY / "benchmarks" / "fruits.py", "--data", tmp_path]
    done = subprocess.run(script, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("fruits: no images in")


def test_different_classes_in_training_and_test_are_an_error(shared_data, tmp_path):
    for half, name in (("Training", "Banana"), ("Test", "Kiwi")):
        (tmp_path / half).mkdir()
        (tmp_path / half / name).symlink_to(shared_data / "fruits" / half / name)
    with pytest.raises(UsageError, match="different classes"):
        fruits.run(tmp_path, tmp_path / "out.onnx")
