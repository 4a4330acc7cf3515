"""The comparison of resizes: the script reports every size, and how many photos keep their class."""

import json
import sys

import pytest

from camrt.benchmarks.compare import resize


@pytest.mark.parametrize("as_json", [True, False])
def test_script_reports_every_size_and_counts_photos(as_json, capsys, monkeypatch, shared_data):
    arguments = ["--rounds", "1", "--data", str(shared_data), *(["--json"] if as_json else [])]
    monkeypatch.setattr(sys, "argv", ["resize", *arguments])
    monkeypatch.setattr(resize, "SIZES", ((640, 480), (33, 7)))
    monkeypatch.setattr(resize, "FOLDERS", ("cam_reference",))
    monkeypatch.setattr(resize, "LARGE", (1000,))
    resize.main()
    printed = capsys.readouterr().out
    if not as_json:
        assert "| 640x480 |" in printed
        assert "| mobilenetv2_torchvision_qdq_int8, crop of 256, 1000 pixels |" in printed
        return
    report = json.loads(printed)
    assert [row["frame"] for row in report["resize"]] == [[640, 480], [33, 7]]
    for row in report["resize"]:
        assert all(ms > 0 for ms in row["ms"].values())
        assert set(row["speedup"]) == set(row["ms"]) - {"copy"}
    assert len(report["agreement"]) == 8  # two models, two resizes, two sizes of photos
    for row in report["agreement"]:
        assert row["count"] >= 5
        assert row["count"] >= row["equal"]["antialias"]
        if row["model"] == "squeezenet11_caffe":  # in float32: one grey level seldom changes the class
            assert row["equal"]["antialias"] >= row["count"] - 1
        assert set(row["equal"]) == {"antialias", "linear", "area"}
