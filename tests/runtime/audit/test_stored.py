"""Audits from a store of maps: the same findings, with few images read again."""

import shutil

import numpy as np
import pytest

import camrt
from camrt.errors import UsageError
from camrt.runtime.audit import samples, stored
from support.shortcut_models import write_colour_model, write_images

pytestmark = pytest.mark.process  # collect starts workers


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = write_colour_model(tmp_path_factory.mktemp("model") / "model.onnx", mark=True)
    return camrt.load(path, provider="cpu", threads=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images") / "data", marked=1.0)


@pytest.fixture(scope="module")
def store(model, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "maps.parquet"
    camrt.collect(model, data, path, workers=1)
    return path


def test_a_store_gives_the_findings_of_the_images(model, data, store):
    direct, indirect = camrt.audit(model, data), camrt.audit(model, store)
    assert [(one.kind, one.label) for one in indirect.findings] == [(one.kind, one.label) for one in direct.findings]
    assert indirect.findings[0].details["place"] == "bottom right corner"
    assert indirect.images == direct.images == 60
    for one, other in zip(indirect.classes, direct.classes, strict=True):
        assert (one.label, one.accuracy, one.confusions) == (other.label, other.accuracy, other.confusions)
        np.testing.assert_allclose(one.mean_map, other.mean_map, atol=1e-3)
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_only_images_of_experiments_are_read_again(model, store, monkeypatch):
    read = []
    monkeypatch.setattr(stored, "_OWN", 12)
    monkeypatch.setattr(stored, "_OTHERS", 10)
    pixels = samples.pixels
    monkeypatch.setattr(stored, "pixels", lambda source, data: read.append(source.name) or pixels(source, data))
    found = camrt.audit(model, store)
    assert len(set(read)) == len(read) <= 34
    assert found.images == 60
    assert camrt.audit(model, store, passes=0).passes == 0
    assert len(read) <= 34


def test_images_that_are_gone_or_changed_are_a_line(model, data, tmp_path):
    own = tmp_path / "data"
    shutil.copytree(data, own)
    camrt.collect(model, own, tmp_path / "maps.parquet", workers=1)
    for number in range(6):
        (own / "boat" / f"{number:03d}.png").unlink()
    shutil.copy(own / "anchor" / "001.png", own / "anchor" / "000.png")
    found = camrt.audit(model, tmp_path / "maps.parquet")
    assert any("7 images for experiments cannot be read, or have changed" in line for line in found.remarks)
    assert found.images == 60
    assert found.findings[0].kind == "corner"


def test_a_store_of_another_model_is_refused(store, tmp_path):
    other = camrt.load(write_colour_model(tmp_path / "other.onnx", mark=False), provider="cpu", threads=1)
    with pytest.raises(UsageError, match="another model file"):
        camrt.audit(other, store)


def test_a_store_without_labels_has_no_image_to_audit(model, data, tmp_path):
    (tmp_path / "loose").mkdir()
    shutil.copy(data / "boat" / "001.png", tmp_path / "loose" / "001.png")
    camrt.collect(model, tmp_path / "loose" / "001.png", tmp_path / "maps.parquet", workers=1)
    with pytest.raises(UsageError, match=r"no image to audit.*1 images without a class"):
        camrt.audit(model, tmp_path / "maps.parquet")
