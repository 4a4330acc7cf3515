"""Labels: from files as people write them, and one for each class."""

import json

import pytest

from camrt.errors import UsageError
from camrt.export import attach
from support.export_graphs import session


def test_label_file_may_have_a_bom_spaces_and_windows_line_ends(classifier, tmp_path):
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufeffBär\r\n cat \r\ndog\r\nfish\r\n\r\n\n".encode())
    assert attach(classifier, tmp_path / "out.onnx", labels=file).labels == ("Bär", "cat", "dog", "fish")
    stored = session(tmp_path / "out.onnx").get_modelmeta().custom_metadata_map["camrt.labels"]
    assert json.loads(stored) == ["Bär", "cat", "dog", "fish"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\nc\n", "3 labels.*4 classes.*background"),
        (b"a\nb\nc\nd\ne\nf\n", "6 labels.*4 classes"),
        (b"", "0 labels.*4 classes"),
        (b"a\n\nb\nc\nd\n", "line 2 is empty"),
        (b"\xff\xfea\x00", "not UTF-8"),
    ],
)
def test_labels_that_do_not_fit_are_refused(content, message, classifier, tmp_path):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        attach(classifier, tmp_path / "out.onnx", labels=tmp_path / "labels.txt")
    assert not (tmp_path / "out.onnx").exists()


def test_missing_label_file_is_named(classifier, tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.txt"):
        attach(classifier, tmp_path / "out.onnx", labels=tmp_path / "nowhere.txt")
