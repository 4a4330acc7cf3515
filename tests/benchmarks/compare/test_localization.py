"""The benchmark of localization runs on a part of the photos, and the document shows the committed results."""

import json

import pytest

from camrt.benchmarks.compare import localization
from camrt.benchmarks.report import tables
from support import REPOSITORY


def test_a_part_of_the_photos_gives_the_table(shared_data, tmp_path):
    rows = localization.measure(shared_data, tmp_path, images=4, faithfulness=1)
    assert [row["name"] for row in rows] == list(localization.NETWORKS)
    assert all(row["images"] == 4 for row in rows)
    assert all(row["faithfulness"]["images"] == 1 for row in rows)
    table = localization.localization_table(rows)
    assert "MaxBoxAccV2" in table
    assert f"**{rows[1]['max_box_acc_v2']:.3f}**" in table


def test_the_document_shows_the_committed_results():
    report = json.loads((REPOSITORY / "docs" / "localization.json").read_text(encoding="utf-8"))
    for name in ("localization.md", "cam-limits.md"):
        document = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
        assert tables.fill(document, localization.make_tables(report)) == document
    pointing = {row["name"]: row["pointing_game"] for row in report["networks"]}
    # SOURCES.md of the test data
    assert pointing["squeezenet11_caffe"] == pytest.approx(0.875)
    assert pointing["mobilenetv2_torchvision_qdq_int8"] == pytest.approx(0.839, abs=5e-4)
