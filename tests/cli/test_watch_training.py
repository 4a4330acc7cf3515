"""``camrt live --watch``: the maps of a training's newest epoch, while it goes on."""

import json
import signal
import threading
import time

import pytest

from camrt.export import train
from camrt.export.train.recipe import Recipe
from support.command import refusal, started
from support.training_data import write_parts

pytestmark = pytest.mark.process

WITHIN_S = 300


@pytest.mark.slow
def test_each_newer_epoch_replaces_the_model(tmp_path):
    """The training waits after its first epoch until the first model is shown, so both epochs are seen."""
    write_parts(tmp_path / "data", train=6, val=2)
    begun, shown = threading.Event(), threading.Event()

    def after_epoch(epoch, _):
        if epoch["epoch"] == 1:
            begun.set()
            assert shown.wait(WITHIN_S)

    recipe = Recipe(backbone="gap-xs", batch=4)
    arguments = {"epochs": 2, "on_epoch": after_epoch}
    training = threading.Thread(target=train, args=(tmp_path / "data", tmp_path / "run", recipe), kwargs=arguments)
    training.start()
    try:
        assert begun.wait(WITHIN_S)
        flags = ["--watch", tmp_path / "run", "--source", "synthetic", "--events", tmp_path / "events.jsonl"]
        with started("live", *flags) as process:
            lines = iter(process.stderr.readline, "")
            assert next(line for line in lines if "maps are" in line).endswith("of epoch 1\n")
            shown.set()
            assert next(line for line in lines if "maps are" in line).endswith("of epoch 2\n")
            before = (tmp_path / "events.jsonl").stat().st_size
            while (tmp_path / "events.jsonl").stat().st_size < before + 2000 and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            assert process.wait(WITHIN_S) == 0
    finally:
        shown.set()
        training.join()
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    indices = [event["frame"] for event in events]
    assert indices == sorted(indices)
    assert {top["label"] for event in events for top in event["top"]} == {"ant", "bee"}
    assert len({round(event["top"][0]["score"], 6) for event in events}) > 1


def test_folders_without_a_training_are_refused(tmp_path):
    assert "holds no training" in refusal("live", "--watch", tmp_path, "--source", "synthetic", status=2)
    assert "name a model file, or the folder" in refusal("live", "--source", "synthetic", status=2)
