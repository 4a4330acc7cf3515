"""Datasets of trainings: the layouts that people have, matched by class name."""

import unicodedata

import pytest

from camrt.errors import MissingInput, SourceError, UsageError
from camrt.export.train.dataset import read_dataset
from camrt.export.train.split import clip_of
from support.training_data import shape_image, write_class, write_image, write_parts, write_table


def names(samples):
    return sorted(sample.name for sample in samples)


def counts(dataset):
    return len(dataset.train), len(dataset.val), len(dataset.test)


@pytest.mark.input_kind("folder", "train, valid and test folders (camrt train)", "the folders written", "equal")
def test_parts_are_read_under_their_usual_names(tmp_path):
    dataset = read_dataset(write_parts(tmp_path, parts=("Train", "valid", "TEST")), seed=0)
    assert dataset.classes == ("ant", "bee")
    assert counts(dataset) == (16, 8, 8)
    assert dataset.selects
    assert all(sample.name.startswith(f"Train/{sample.label}/") for sample in dataset.train)


@pytest.mark.input_kind(
    "folder", "Training and Test folders, as of Fruits-360 (camrt train)", "-", "Test is not used to choose an epoch"
)
def test_a_test_part_without_validation_shows_progress_and_chooses_nothing(tmp_path):
    dataset = read_dataset(write_parts(tmp_path, parts=("Training", "Test")), seed=0)
    assert counts(dataset) == (16, 8, 0)
    assert not dataset.selects
    assert any("no epoch is chosen" in remark for remark in dataset.remarks)


@pytest.mark.input_kind("folder", "one folder of classes, nested (camrt train)", "-", "a fifth of each class validates")
def test_one_folder_is_split_with_the_same_share_of_each_class(tmp_path):
    for label, count in (("ant", 20), ("bee", 10)):
        write_class(tmp_path / "unpacked" / "photos", label, count // 2)
        write_class(tmp_path / "unpacked" / "photos" / label, "ant", count - count // 2, first=100)  # deeper
    (tmp_path / "unpacked" / "README.txt").write_text("about")
    dataset = read_dataset(tmp_path, seed=0)
    assert [len([one for one in dataset.val if one.label == label]) for label in dataset.classes] == [4, 2]
    assert not set(names(dataset.train)) & set(names(dataset.val))
    assert names(read_dataset(tmp_path, seed=0).val) == names(dataset.val)
    assert names(read_dataset(tmp_path, seed=1).val) != names(dataset.val)


@pytest.mark.input_kind(
    "folder", "frames of clips in one folder of classes (camrt train)", "-", "a clip stays on one side"
)
def test_frames_of_a_clip_stay_on_one_side(tmp_path):
    for label in ("ant", "bee"):
        for clip in range(10):
            write_class(tmp_path, label, 3, first=10 * clip, name=f"walk{chr(97 + clip)}_{{:04}}.png")
    dataset = read_dataset(tmp_path, seed=3)
    clips = [{(one.label, clip_of(one.path.stem)) for one in part} for part in (dataset.train, dataset.val)]
    assert not clips[0] & clips[1]
    assert counts(dataset) == (48, 12, 0)
    assert any("by clips" in remark for remark in dataset.remarks)


@pytest.mark.parametrize(
    ("stem", "clip"),
    [
        ("walk_0012", "walk"),
        ("cam1-frame-7", "cam1"),
        ("IMG_2041", "IMG_2041"),
        ("0012", "0012"),
        ("r_12_100", "r_12"),
        ("photo", "photo"),
    ],
)
def test_clip_is_the_name_without_the_number_of_the_frame(stem, clip):
    assert clip_of(stem) == clip


def test_a_class_whose_names_share_one_prefix_is_split_by_images(tmp_path):
    for label in ("ant", "bee"):
        write_class(tmp_path, label, 10, name="IMG_{}.png")
    assert counts(read_dataset(tmp_path, seed=0)) == (16, 4, 0)


def test_hidden_folders_and_those_of_programs_are_no_classes(tmp_path):
    write_parts(tmp_path)
    for folder in (".ipynb_checkpoints", "__MACOSX"):
        write_class(tmp_path / "train", "ant", 2)
        (tmp_path / "train" / "ant").rename(tmp_path / "train" / folder)
        write_class(tmp_path / "train", "ant", 8)
    assert read_dataset(tmp_path, seed=0).classes == ("ant", "bee")


@pytest.mark.input_kind("folder", "a class that is missing in one part (camrt train)", "-", "refused with its name")
@pytest.mark.parametrize(("lacking", "other"), [("train", "val"), ("val", "train")])
def test_a_class_that_one_part_lacks_is_named(tmp_path, lacking, other):
    write_parts(tmp_path)
    write_class(tmp_path / other, "cat", 2)
    with pytest.raises(UsageError, match=rf"class 'cat' is in the part '{other}' and not in '{lacking}'"):
        read_dataset(tmp_path, seed=0)


def test_an_empty_class_folder_is_named(tmp_path):
    write_parts(tmp_path)
    (tmp_path / "val" / "wasp").mkdir()
    with pytest.raises(UsageError, match=r"val has no images in the class folder\(s\) 'wasp'"):
        read_dataset(tmp_path, seed=0)


def test_names_in_two_unicode_forms_are_one_class(tmp_path):
    for part, form in (("train", "NFC"), ("val", "NFD")):
        write_class(tmp_path / part, "bee", 2)
        write_class(tmp_path / part, "ant", 2)
        (tmp_path / part / "ant").rename(tmp_path / part / unicodedata.normalize(form, "Käfer"))
    assert read_dataset(tmp_path, seed=0).classes == ("bee", "Käfer")


@pytest.mark.parametrize(
    ("prepare", "error", "message"),
    [
        (lambda root: None, UsageError, "no images in folders named after their classes"),
        (lambda root: write_class(root, "ant", 3), UsageError, "one class, 'ant'"),
        (lambda root: [write_class(root, label, 1) for label in ("ant", "bee")], UsageError, "'ant' has 1 image"),
        (lambda root: write_image(root / "a.png", shape_image("ant", 0)[0]), UsageError, "no images in folders"),
        (
            lambda root: [write_parts(root), write_class(root / "validation", "ant", 1)],
            UsageError,
            "both the part 'val'",
        ),
        (lambda root: write_parts(root, parts=("val", "test")), UsageError, "has test and val and no folder train"),
        (lambda root: root.rmdir(), MissingInput, "nothing at"),
    ],
)
def test_folders_without_enough_classes_or_images_are_refused(tmp_path, prepare, error, message):
    root = tmp_path / "data"
    root.mkdir()
    prepare(root)
    with pytest.raises(error, match=message):
        read_dataset(root, seed=0)


def test_unequal_classes_are_pointed_out(tmp_path):
    write_parts(tmp_path)
    assert not any("unequal" in remark for remark in read_dataset(tmp_path, seed=0).remarks)
    write_class(tmp_path / "train", "ant", 30)
    (remark,) = [remark for remark in read_dataset(tmp_path, seed=0).remarks if "unequal" in remark]
    assert "'ant' has 30 training images, 'bee' has 8" in remark


@pytest.mark.input_kind("folder", "CSV with file,class,split and boxes (camrt train)", "the lines written", "equal")
def test_table_gives_parts_and_boxes(tmp_path):
    table = write_table(tmp_path)
    dataset = read_dataset(table, seed=0)
    assert counts(dataset) == (8, 4, 0)
    for sample in (*dataset.train, *dataset.val):
        assert sample.boxes == (shape_image(sample.label, int(sample.path.stem[3:]))[1],)


def test_table_without_parts_is_split(tmp_path):
    table = write_table(tmp_path)
    lines = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("\n".join(f"{line[0]},{line[1]}" for line in lines))
    assert counts(read_dataset(table, seed=0)) == (10, 2, 0)


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("a.png,ant,training,1,2,3", SourceError, "line 2: it has 6 values, the titles are 7"),
        ("a.png,,train,,,,", SourceError, "line 2: it has no class"),
        ("a.png,ant,holdout,,,,", SourceError, "line 2: part 'holdout' is unknown"),
        ("a.png,ant,train,5,5,5,9", SourceError, "line 2: box 5,5,5,9 has no area"),
        ("a.png,ant,train,,,,\nb.png,bee,,,,,", SourceError, "line 3: it has no part"),
        ("a.png,ant,train,,,,\na.png,bee,train,,,,", SourceError, "line 3: a.png has the class 'ant' already"),
        ("a.png,ant,train,,,,\na.png,ant,val,,,,", SourceError, "line 3: a.png is in the part 'train' already"),
    ],
)
def test_wrong_lines_of_a_table_are_named(tmp_path, line, error, message):
    table = tmp_path / "table.csv"
    table.write_text(f"file,class,split,x0,y0,x1,y1\n{line}\n")
    with pytest.raises(error, match=message):
        read_dataset(table, seed=0)
