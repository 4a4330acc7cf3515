"""Writing a store: whole shards, a run that goes on, and refusals that say what to do."""

import json
from dataclasses import replace

import pytest

from camrt.errors import DiskFull, MissingInput, SourceError, UsageError
from camrt.model_file import InputGeometry
from camrt.runtime.collect import store_writer
from camrt.runtime.collect.manifest import NAME, Manifest, read_manifest
from camrt.runtime.collect.store import MapStore
from camrt.runtime.collect.store_writer import StoreWriter
from support.limits import largest_file

MANIFEST = Manifest(
    model="model.onnx",
    model_sha256="ab",
    head=None,
    head_kind="linear",
    provider="cpu",
    labels=("boat", "cup"),
    geometry=InputGeometry(width=32, height=32),
    every=1,
    classes={"boat": [0]},
)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(store_writer, "SHARD_ROWS", 3)


def write(folder, numbers, *, finish=True, overwrite=False, manifest=MANIFEST):
    with StoreWriter(folder, manifest, overwrite=overwrite) as writer:
        done = writer.done
        for number in numbers:
            error = "broken" if number % 4 == 0 else None
            writer.add({"path": f"{number}.png", "error": error, "cam": bytes([number]), "boxes": []}, bytes([number]))
        if finish:
            writer.finish()
        return done


def paths(folder):
    return [path for table in MapStore(folder).tables(["path"]) for path in table.column("path").to_pylist()]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_shards_hold_the_rows_in_order(tmp_path, small_shards):
    write(tmp_path / "maps.parquet", range(8))
    assert paths(tmp_path / "maps.parquet") == [f"{number}.png" for number in range(8)]
    shards = [f"rows-{first:010d}.parquet" for first in (0, 3, 6)]
    assert names(tmp_path / "maps.parquet") == [NAME, *shards]
    manifest = read_manifest(tmp_path / "maps.parquet")
    assert (manifest.complete, manifest.rows, manifest.skipped) == (True, 8, 2)
    assert replace(manifest, complete=False, rows=0, skipped=0) == MANIFEST
    assert len(MapStore(tmp_path / "maps.parquet")) == 8


def test_the_same_rows_give_the_same_bytes(tmp_path, small_shards):
    for name in ("a", "b"):
        write(tmp_path / name, range(7))
    for shard in names(tmp_path / "a")[1:]:
        assert (tmp_path / "a" / shard).read_bytes() == (tmp_path / "b" / shard).read_bytes()


def test_rows_that_were_not_written_are_missing_and_the_next_run_goes_on_behind_the_last_shard(tmp_path, small_shards):
    store = tmp_path / "maps.parquet"
    write(store, range(5), finish=False)  # as if it was killed
    assert paths(store) == ["0.png", "1.png", "2.png"]
    (store / ".rows-0000000003.4711.parquet").write_bytes(b"half")
    (store / "._manifest.4711.json").write_bytes(b"half")
    with StoreWriter(store, MANIFEST, overwrite=False) as writer:
        assert (writer.done, writer.chain, writer.skipped) == (3, bytes([2]), 1)
        assert not read_manifest(store).complete
        for number in (3, 4):
            writer.add({"path": f"{number}.png", "error": "broken" if number == 4 else None}, bytes([number]))
        writer.flush()  # a run that is stopped
    assert write(store, range(5, 9)) == 5
    assert paths(store) == [f"{number}.png" for number in range(9)]
    assert read_manifest(store).skipped == 3
    assert not [name for name in names(store) if name.startswith(".")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_sha256": "cd"}, "another model file"),
        ({"head": "size"}, "head None of the model"),
        ({"provider": "cuda"}, "--provider cpu"),
        ({"every": 2}, "--every 1"),
        ({"labels": ("boat", "mug")}, "other labels"),
        ({"geometry": InputGeometry(width=32, height=32, resize="crop")}, "another way to fit images"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_run_with_other_settings_is_refused_and_changes_nothing(change, message, tmp_path, small_shards):
    store = tmp_path / "maps.parquet"
    write(store, range(4))
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    with pytest.raises(UsageError, match=message) as raised:
        write(store, [], manifest=replace(MANIFEST, **change))
    assert "choose another name, or start again with --overwrite" in str(raised.value)
    assert {path.name: path.read_bytes() for path in store.iterdir()} == before
    assert write(store, range(2), manifest=replace(MANIFEST, **change), overwrite=True) == 0
    assert paths(store) == ["0.png", "1.png"]


def test_a_second_process_is_refused(tmp_path):
    with (
        StoreWriter(tmp_path / "maps.parquet", MANIFEST, overwrite=False),
        pytest.raises(UsageError, match="is being written by process"),
    ):
        StoreWriter(tmp_path / "maps.parquet", MANIFEST, overwrite=True)


def test_a_full_disk_loses_no_row_that_was_written(tmp_path, small_shards):
    store = tmp_path / "maps.parquet"
    with StoreWriter(store, MANIFEST, overwrite=False) as writer:
        for number in range(3):
            writer.add({"path": f"{number}.png"}, bytes([number]))
        for number in (3, 4):
            writer.add({"path": f"{number}.png"}, bytes([number]))
        with largest_file(1000), pytest.raises(DiskFull, match="3 rows are written; free some space and run the same"):
            writer.add({"path": "5.png"}, bytes([5]))
    assert names(store) == [NAME, "rows-0000000000.parquet"]
    assert write(store, range(3, 6)) == 3
    assert paths(store) == [f"{number}.png" for number in range(6)]


def test_damage_is_named_and_never_read_as_rows(tmp_path, small_shards):
    store = tmp_path / "maps.parquet"
    write(store, range(7))
    shard = store / "rows-0000000003.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-20])
    for use in (lambda: write(store, []), lambda: paths(store), lambda: len(MapStore(store))):
        with pytest.raises(SourceError, match=r"rows-0000000003.parquet is damaged .* delete it and the shards"):
            use()
    shard.unlink()
    with pytest.raises(SourceError, match="begins at row 6, and the shards before it end at row 3"):
        write(store, [])
    shard.write_bytes(whole)
    assert write(store, []) == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"camrt_map_store": 1}', "is damaged"),
        ('{"camrt_map_store": 2}', "is a map store of format 2, this camrt reads 1; update camrt"),
    ],
)
def test_a_damaged_manifest_is_one_clear_error(text, message, tmp_path):
    store = tmp_path / "maps.parquet"
    write(store, range(2))
    (store / NAME).write_text(text)
    with pytest.raises(SourceError, match=message):
        MapStore(store)


def test_what_is_no_store_is_refused_and_kept(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    for name, message in (
        ("photos", "is a folder with other files"),
        ("file", "is a file; name a new folder"),
        ("no/where", "there is no folder"),
    ):
        for overwrite in (False, True):
            with pytest.raises(UsageError, match=message):
                write(tmp_path / name, range(2), overwrite=overwrite)
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"x"
    with pytest.raises(UsageError, match=r"is no map store: it has no _manifest\.json; make one with camrt collect"):
        MapStore(tmp_path / "photos")
    with pytest.raises(MissingInput, match="there is nothing at"):
        MapStore(tmp_path / "nothing")


def test_names_that_are_no_utf8_are_stored_as_escape_sequences(tmp_path):
    with StoreWriter(tmp_path / "maps.parquet", MANIFEST, overwrite=False) as writer:
        writer.add({"path": "a\udcff.png", "group": "Ärger\n", "error": "a\udcff.png is broken"}, b"")
        writer.finish()
    (table,) = MapStore(tmp_path / "maps.parquet").tables()
    assert table.column("path")[0].as_py() == "a\\udcff.png"
    assert table.column("group")[0].as_py() == "Ärger\n"


def test_the_manifest_is_json_for_other_programs(tmp_path):
    write(tmp_path / "maps.parquet", range(2))
    data = json.loads((tmp_path / "maps.parquet" / NAME).read_text())
    assert (data["camrt_map_store"], data["labels"], data["classes"]) == (1, ["boat", "cup"], {"boat": [0]})
    assert data["geometry"]["width"] == 32
