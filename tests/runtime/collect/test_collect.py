"""Collecting in processes: the same rows for any number of workers, after any interruption, in flat memory."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow.parquet
import pytest

import camrt
from camrt.benchmarks.compare.localization import attach_with_note
from camrt.errors import CamrtError, SourceError, UsageError
from camrt.runtime.collect.collect import Collector, collect
from camrt.runtime.collect.manifest import read_manifest
from support.command import command, started
from support.desktop import eventually
from support.labelled_data import BOXES, write_picture
from support.many_images import rows_of, write_images
from support.needs import environment
from support.tiny_models import LABELS

pytestmark = pytest.mark.process

WITHIN_S = 300
BREAKING = """
import hashlib, os, signal

_sha1 = hashlib.sha1

def sha1(data, **options):
    if bytes(data).endswith(b"deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    return _sha1(data, **options)

hashlib.sha1 = sha1
"""
"""A library that crashes on one file, as a decoder of images may."""


def workers_of(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_rows_are_the_same_for_any_number_of_workers_and_in_the_order_of_the_inputs(model, tmp_path):
    paths = write_images(tmp_path / "data", 700)
    paths[3].unlink()
    paths[3].write_bytes(b"\xff\xd8\xff no image")
    one = collect(model, tmp_path / "data", tmp_path / "one.parquet", workers=1)
    three = collect(model, tmp_path / "data", tmp_path / "three.parquet", workers=3)
    rows = rows_of(one.path)
    assert rows.equals(rows_of(three.path))
    assert rows.column("path").to_pylist() == [str(path) for path in paths]
    assert rows.column("label").to_pylist() == [path.parent.name for path in paths]
    assert [number for number, error in enumerate(rows.column("error").to_pylist()) if error] == [3]
    assert [shard.read_bytes() for shard in one.shards] == [shard.read_bytes() for shard in three.shards]
    assert read_manifest(one.path).complete
    assert (read_manifest(one.path).rows, read_manifest(one.path).skipped) == (700, 1)


def test_the_rows_do_not_depend_on_the_threads_of_a_session(shared_data, tmp_path):
    """With fewer workers each has more threads. ONNX Runtime adds in the same order with any number of them."""
    note = json.loads((shared_data / "models" / "mobilenetv2_torchvision_qdq_int8.json").read_text())
    file = attach_with_note(shared_data, note, tmp_path / "model.onnx")
    stores = [
        collect(camrt.load(file, "cpu", threads), shared_data / "images_cls", tmp_path / f"{threads}", workers=1)
        for threads in (1, 3)
    ]
    assert rows_of(stores[0].path).equals(rows_of(stores[1].path))


def test_a_killed_run_goes_on_with_the_same_rows(model, tmp_path):
    write_images(tmp_path / "data", 2600)
    words = "collect", model.path, tmp_path / "data", "--provider", "cpu", "--workers", "2", "-o"
    store = tmp_path / "killed.parquet"
    for shards in (1, 3):
        with started(*words, store) as process:
            assert eventually(lambda n=shards: len(list(store.glob("rows-*"))) >= n, within_s=WITHIN_S)
            workers = workers_of(process.pid)
            process.send_signal(signal.SIGKILL)
        assert eventually(lambda some=workers: not any(Path(f"/proc/{one}").exists() for one in some), within_s=30)
        kept = {path.name: path.read_bytes() for path in store.glob("rows-*")}
        assert not read_manifest(store).complete
    assert subprocess.run(command(*words, store), env=environment(), check=False).returncode == 0
    assert {name: (store / name).read_bytes() for name in kept} == kept
    whole = collect(model, tmp_path / "data", tmp_path / "whole.parquet", workers=1)
    assert rows_of(store).equals(rows_of(whole.path))
    assert read_manifest(store).complete


def test_a_stopped_run_writes_what_is_done_and_goes_on(model, tmp_path):
    write_images(tmp_path / "data", 3000)
    store = tmp_path / "maps.parquet"
    collector = Collector(model, [tmp_path / "data"], store, workers=2)

    def stop_at_the_first_shard():
        eventually(lambda: any(store.glob("rows-*")), within_s=WITHIN_S)
        collector.stop()

    stopper = threading.Thread(target=stop_at_the_first_shard)
    stopper.start()
    report = collector.run()
    stopper.join()
    assert report.stopped
    assert 512 <= report.rows == rows_of(store).num_rows < 3000
    again = Collector(model, [tmp_path / "data"], store, workers=2).run()
    assert (again.rows, again.new) == (3000, 3000 - report.rows)
    whole = collect(model, tmp_path / "data", tmp_path / "whole.parquet", workers=1)
    assert rows_of(store).equals(rows_of(whole.path))


def test_a_killed_worker_loses_no_row(model, tmp_path):
    write_images(tmp_path / "data", 2000)
    store = tmp_path / "maps.parquet"
    words = "collect", model.path, tmp_path / "data", "--provider", "cpu", "--workers", "2", "-o", store
    with started(*words) as process:
        assert eventually(lambda: any(store.glob("rows-*")), within_s=WITHIN_S)
        for worker in workers_of(process.pid):  # both at once
            os.kill(worker, signal.SIGKILL)
        _, errors = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, errors
    rows = rows_of(store)
    assert (rows.num_rows, rows.column("error").null_count) == (2000, 2000)
    whole = collect(model, tmp_path / "data", tmp_path / "whole.parquet", workers=1)
    assert rows.equals(rows_of(whole.path))


def test_a_file_on_which_workers_end_is_a_row_with_an_error(model, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BREAKING)
    monkeypatch.syspath_prepend(tmp_path / "site")
    paths = write_images(tmp_path / "data", 40)
    data = paths[17].read_bytes()
    paths[17].unlink()
    paths[17].write_bytes(data + b"deadly")
    rows = rows_of(collect(model, tmp_path / "data", tmp_path / "maps.parquet", workers=2).path)
    errors = rows.column("error").to_pylist()
    assert [number for number, error in enumerate(errors) if error] == [17]
    assert errors[17] == f"{paths[17]}: 2 worker processes ended while they read it (signal 9)"


def test_workers_that_cannot_start_are_one_error(model, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import os; os._exit(7)")
    monkeypatch.syspath_prepend(tmp_path / "site")
    write_images(tmp_path / "data", 4)
    with pytest.raises(CamrtError, match=r"worker processes end before they are ready \(exit status 7\)"):
        collect(model, tmp_path / "data", tmp_path / "maps.parquet", workers=2)


def test_changed_inputs_are_refused_and_more_images_at_the_end_are_added(model, tmp_path):
    write_images(tmp_path / "data", 20, classes=("boat",))
    store = tmp_path / "maps.parquet"
    collect(model, tmp_path / "data", store, workers=1)
    before = rows_of(store)
    write_picture(tmp_path / "data" / "boat" / "30.png", BOXES["boat"])
    collect(model, tmp_path / "data", store, workers=1)
    after = rows_of(store)
    assert after.num_rows == 21
    assert after.slice(0, 20).equals(before)
    write_picture(tmp_path / "data" / "boat" / "2b.png", BOXES["boat"])
    with pytest.raises(UsageError, match="files or their classes were added, removed or changed since it was begun"):
        collect(model, tmp_path / "data", store, workers=1)
    for number in range(19):
        (tmp_path / "data" / "boat" / f"{number}.jpg").unlink()
    with pytest.raises(UsageError, match="has 21 rows, and there are only 3 images"):
        collect(model, tmp_path / "data", store, workers=1)
    assert rows_of(store).equals(after)


def test_other_classes_are_refused(model, tmp_path):
    write_images(tmp_path / "data", 8, classes=("anchor", "ship"))
    (tmp_path / "classes.csv").write_text("ship,boat\n")
    collect(model, tmp_path / "data", tmp_path / "maps.parquet", workers=1)
    table = tmp_path / "classes.csv"
    with pytest.raises(UsageError, match="files or their classes were added, removed or changed"):
        collect(model, tmp_path / "data", tmp_path / "maps.parquet", workers=1, classes=table)
    collect(model, tmp_path / "data", tmp_path / "maps.parquet", workers=1, classes=table, overwrite=True)
    assert set(rows_of(tmp_path / "maps.parquet").column("label").to_pylist()) == {"anchor", "ship"}


def test_a_complete_run_does_nothing_again(model, tmp_path):
    write_images(tmp_path / "data", 20)
    collect(model, tmp_path / "data", tmp_path / "maps.parquet", workers=1)
    report = Collector(model, [tmp_path / "data"], tmp_path / "maps.parquet", workers=1).run()
    assert (report.rows, report.new, report.images_per_second, report.stopped) == (20, 0, None, False)


def test_broken_images_only_are_an_error_and_the_store_has_the_reasons(model, tmp_path):
    (tmp_path / "boat").mkdir()
    for number in range(3):
        (tmp_path / "boat" / f"{number}.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(SourceError, match="none of the 3 images could be read"):
        collect(model, tmp_path / "boat", tmp_path / "maps.parquet")
    assert rows_of(tmp_path / "maps.parquet").column("error").null_count == 0


def test_frames_of_a_video_are_rows_in_order(model, tmp_path, shared_data):
    video = shared_data / "videos" / "cockatoo.mp4"
    store = collect(model, [video, shared_data / "images_cls"], tmp_path / "maps.parquet", every=40, workers=2)
    rows = rows_of(store.path)
    assert rows.column("path").to_pylist()[:7] == [f"{video}#frame={number}" for number in range(0, 280, 40)]
    assert rows.num_rows == 7 + 20
    assert rows.column("error").null_count == rows.num_rows


def test_other_heads_of_a_file_are_collected_by_name(two_heads, tmp_path):
    write_images(tmp_path / "data", 4)
    kinds = collect(two_heads, tmp_path / "data", tmp_path / "kind", workers=1)
    sizes = collect(two_heads.with_head("size"), tmp_path / "data", tmp_path / "size", workers=1)
    assert (kinds.manifest.head, sizes.manifest.head) == ("kind", "size")
    assert sizes.manifest.labels == ("small", "medium", "large")
    assert max(rows_of(sizes.path).column("cam_class").to_pylist()) < 3
    with pytest.raises(UsageError, match="head 'kind' of the model"):
        collect(two_heads.with_head("size"), tmp_path / "data", tmp_path / "kind", workers=1)


def test_a_script_without_a_guard_can_collect(model, tmp_path):
    """Workers do not run the user's script again, as those of multiprocessing do."""
    write_images(tmp_path / "data", 12)
    script = tmp_path / "script.py"
    script.write_text(
        f"import camrt\nmodel = camrt.load({str(model.path)!r}, 'cpu')\n"
        "print(len(camrt.collect(model, 'data', 'maps.parquet', workers=2)))\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "12"), done.stderr


@pytest.mark.slow
@pytest.mark.alone
def test_memory_does_not_grow_with_the_number_of_images(model, tmp_path):
    def most_mib(count):
        write_images(tmp_path / f"{count}", count)
        words = "collect", model.path, tmp_path / f"{count}", "--provider", "cpu", "-o", tmp_path / f"{count}.parquet"
        process = subprocess.Popen(command(*words), env=environment(), stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss / 1024

    few = most_mib(1500)
    assert most_mib(6000) - few < 25


def test_a_store_is_plain_parquet(model, tmp_path):
    write_images(tmp_path / "data", 10)
    store = collect(model, tmp_path / "data", tmp_path / "maps.parquet", workers=1)
    table = pyarrow.parquet.read_table(store.path)
    assert table.num_rows == 10
    assert set(table.column("label").to_pylist()) == set(LABELS)
