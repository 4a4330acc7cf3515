"""A few seconds of each attack: nothing does harm, and what does is counted and named."""

import json
import random

import pytest

from camrt.benchmarks.fuzz import __main__ as command
from camrt.benchmarks.fuzz import models

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.mark.parametrize("name", command.ATTACKS)
def test_nothing_does_harm(name, tmp_path, capsys):
    status = command.main([name, "--seconds", "15", "--seed", "1", "--json", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())["attacks"][name]
    assert (status, report["harm"]) == (0, []), capsys.readouterr().out
    assert sum(report["counts"].values()) >= 5


def test_harm_is_counted_and_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        models, "_LOAD", "import sys\nfor path in sys.argv[1:3]: print('works', flush=True)\nsys.exit(7)"
    )
    assert command.main(["models", "--seconds", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "works" in lines[0]
    assert lines[1].startswith("  models, seed 0, file 2: the process ended with status 7")


def test_the_same_seed_changes_files_in_the_same_way():
    data = models.DEMO_MODEL.read_bytes()
    for change in (models._change_bytes, models._change_metadata, models._change_graph):
        first, second = (change(random.Random(3), data) for _ in range(2))
        assert first == second != data


def test_an_unknown_attack_is_wrong_use(capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["nonsense"])
    assert "no attack nonsense; there are models, cameras, requests" in capsys.readouterr().err
