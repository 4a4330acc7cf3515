"""Labelled data in every form give the same images, classes and boxes; broken data give one clear line."""

import json
import os

import numpy as np
import pytest

from camrt.errors import SourceError, UsageError
from camrt.images import read_image
from camrt.runtime.evaluation.datasets import files
from camrt.runtime.evaluation.datasets.read import read_dataset
from support.labelled_data import (
    BOXES,
    WRITERS,
    boxes_of,
    coco_value,
    picture,
    problems_of,
    voc_object,
    voc_text,
    write_coco,
    write_folder,
    write_list,
    write_picture,
    write_table,
    write_voc,
)

EXPECTED = {name: (box,) for name, box in BOXES.items()}
REFUSED = "refused with file and line or entry"


def form(name, what):
    mark = pytest.mark.input_kind("labels", what, "the boxes that were written", "equal")
    return pytest.param(name, id=name, marks=mark)


@pytest.mark.parametrize(
    "name",
    [
        form("voc", "boxes in Pascal VOC XML"),
        form("coco", "boxes in COCO JSON"),
        form("csv", "boxes in CSV"),
        form("json", "boxes in a JSON list"),
    ],
)
def test_each_form_is_found_out_and_gives_the_same_boxes(name, tmp_path):
    dataset = read_dataset(WRITERS[name](tmp_path))
    assert dataset.format == name
    assert boxes_of(dataset) == EXPECTED
    for image in dataset.images:
        assert np.array_equal(read_image(image.image), picture(BOXES[image.targets[0].label]))


@pytest.mark.input_kind("labels", "a folder for each class, nested", "the folders that were written", "equal")
def test_folders_of_classes_give_their_images_at_any_depth(tmp_path):
    write_folder(tmp_path)
    write_picture(tmp_path / "loose.png", BOXES["boat"])
    write_picture(tmp_path / ".hidden" / "no.png", BOXES["boat"])
    (tmp_path / "boat" / "notes.txt").write_text("no image")
    (tmp_path / "boat" / "broken.jpg").write_bytes(b"no JPEG")
    dataset = read_dataset(tmp_path)
    assert dataset.format == "folder"
    usable = [image for image in dataset.images if not image.problem]
    assert [image.name for image in usable] == ["anchor/deeper/anchor.png", "boat/deeper/boat.png"]
    assert [image.targets[0].label for image in usable] == ["anchor", "boat"]
    assert "neither an image nor a video" in problems_of(dataset)["broken"]
    assert any("notes.txt" in remark for remark in dataset.remarks)
    assert any("1 images directly" in remark for remark in dataset.remarks)


@pytest.mark.parametrize("name", ["voc", "coco", "csv", "json"])
def test_the_file_itself_can_be_named(name, tmp_path):
    WRITERS[name](tmp_path)
    file = {"coco": "annotations/instances.json", "csv": "boxes.csv", "json": "boxes.json"}.get(name)
    dataset = read_dataset(tmp_path / file if file else tmp_path / ".", "voc" if file is None else None)
    assert boxes_of(dataset) == EXPECTED


def test_parts_of_a_data_set_must_be_named(tmp_path):
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "val")
    with pytest.raises(UsageError, match=r"has the parts train, val; name one: .*train"):
        read_dataset(tmp_path)


def test_several_forms_in_one_folder_are_listed_and_one_can_be_named(tmp_path):
    write_voc(tmp_path)
    write_table(tmp_path)
    with pytest.raises(UsageError, match=r"Pascal VOC XML .*CSV.*--format"):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, "csv").format == "csv"
    with pytest.raises(UsageError, match="has no COCO JSON"):
        read_dataset(tmp_path, "coco")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "has no images in folders named after their classes"),
        (lambda root: write_picture(root / "a.png", (1, 1, 2, 2)), "has no images in folders"),
        (lambda root: (root / "list.txt").write_text("a"), "has no images in folders"),
    ],
)
def test_a_folder_without_labels_is_refused(make, message, tmp_path):
    make(tmp_path)
    with pytest.raises(UsageError, match=message):
        read_dataset(tmp_path)


def test_a_missing_path_and_a_foreign_file_are_refused(tmp_path):
    with pytest.raises(UsageError, match="nothing at"):
        read_dataset(tmp_path / "missing")
    (tmp_path / "labels.txt").write_text("boat")
    with pytest.raises(UsageError, match=r"neither a folder nor a \.json or \.csv"):
        read_dataset(tmp_path / "labels.txt")
    (tmp_path / "other.json").write_text('{"boat": 1}')
    with pytest.raises(UsageError, match="neither COCO"):
        read_dataset(tmp_path / "other.json")


# Pascal VOC


@pytest.mark.input_kind("labels", "VOC boxes that count pixels from 0", "the numbers in the files", "equal")
def test_boxes_that_count_from_0_are_used_as_they_are(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "Annotations" / "boat.xml").write_text(voc_text("boat.png", voc_object("boat", (0, 5, 9, 9), first=0)))
    dataset = read_dataset(tmp_path)
    assert boxes_of(dataset) == {"anchor": ((5, 7, 20, 30),), "boat": ((0, 5, 9, 9),)}
    assert any("from 0" in remark for remark in dataset.remarks)


def test_objects_of_several_classes_and_difficult_ones(tmp_path):
    write_voc(tmp_path)
    objects = [voc_object("boat", (1, 1, 9, 9)), voc_object("anchor", (2, 2, 8, 8)), voc_object("boat", (3, 3, 7, 7))]
    difficult = voc_object("boat", (1, 1, 5, 5), more="<difficult>1</difficult>")
    (tmp_path / "Annotations" / "boat.xml").write_text(voc_text("boat.png", *objects, difficult))
    (tmp_path / "Annotations" / "anchor.xml").write_text(voc_text("anchor.png"))
    dataset = read_dataset(tmp_path)
    (image,) = dataset.images
    assert {target.label: target.boxes for target in image.targets} == {
        "boat": ((1, 1, 9, 9), (3, 3, 7, 7)),
        "anchor": ((2, 2, 8, 8),),
    }
    assert dataset.remarks == [
        "left out: 1 images without an object",
        "left out: 1 objects marked as difficult",
    ]


@pytest.mark.input_kind("labels", "ImageNet's XML: names without suffix, images elsewhere", "the boxes", "equal")
def test_images_are_found_without_suffix_and_after_renaming(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "Annotations" / "boat.xml").write_text(voc_text("boat", voc_object("boat", BOXES["boat"])))
    renamed = voc_text("C:\\pictures\\before.jpg", voc_object("anchor", BOXES["anchor"]))
    (tmp_path / "Annotations" / "anchor.xml").write_text(renamed)
    assert boxes_of(read_dataset(tmp_path)) == EXPECTED


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>'
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation><filename>&a;</filename></annotation>'


def wrong(name, *arguments):
    mark = pytest.mark.input_kind("labels", name, "-", REFUSED)
    return pytest.param(*arguments, id=name, marks=mark)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        wrong("XML with entities that grow", BOMB, "line 1: it declares a document type"),
        wrong("XML with entities that name files", EXTERNAL, "line 1: it declares a document type"),
        wrong("XML in UTF-16 with a document type", BOMB.encode("utf-16"), "declares a document type"),
        wrong("XML nested too deeply", "<a>" * 100000, "nested too deeply"),
        wrong("XML that is cut", "<annotation>\n<object>", "line 2: it is not XML"),
        wrong("XML of an unknown encoding", '<?xml version="1.0" encoding="x-none"?><a/>', "not XML"),
        wrong("an empty XML file", "", "it is not XML"),
        wrong("an XML box of text", voc_text("boat.png", voc_object("boat", (1, 1, "many", 9))), "object 1: could not"),
        wrong("an XML box with NaN", voc_text("boat.png", voc_object("boat", (1, 1, "nan", 9))), "four numbers"),
        wrong("an XML box without area", voc_text("boat.png", voc_object("boat", (9, 1, 5, 9))), "has no area"),
        wrong("an XML object without a name", voc_text("boat.png", voc_object("", (1, 1, 5, 9))), "it has no name"),
        wrong("an XML box without sides", voc_text("boat.png", "<object><name>boat</name></object>"), "has no xmin"),
    ],
)
def test_a_broken_annotation_costs_its_image_only(text, message, tmp_path):
    write_voc(tmp_path)
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "Annotations" / "boat.xml").write_bytes(data)
    dataset = read_dataset(tmp_path)
    assert boxes_of(dataset) == {"anchor": EXPECTED["anchor"]}
    (problem,) = problems_of(dataset).values()
    assert "boat.xml" in problem
    assert message in problem
    assert "\n" not in problem


def test_an_image_outside_the_folder_is_never_read(tmp_path):
    write_voc(tmp_path / "data")
    secret = write_picture(tmp_path / "secret.png", (1, 1, 2, 2))
    for name in ("../secret.png", "../../secret.png", str(secret)):
        (tmp_path / "data" / "Annotations" / "boat.xml").unlink(missing_ok=True)
        text = voc_text(name, voc_object("boat", (1, 1, 5, 5)))
        (tmp_path / "data" / "Annotations" / "other.xml").write_text(text)
        (problem,) = problems_of(read_dataset(tmp_path / "data")).values()
        assert "is not below" in problem


def test_one_name_in_two_folders_is_the_nearer_one_or_refused(tmp_path):
    for part in ("a", "b"):
        write_picture(tmp_path / part / "images" / "same.png", BOXES["boat"])
        (tmp_path / part / "labels").mkdir()
        (tmp_path / part / "labels" / "same.xml").write_text(voc_text("same.png", voc_object(part, (1, 1, 5, 5))))
    assert [image.image.parent.parent.name for image in read_dataset(tmp_path).images] == ["a", "b"]
    (tmp_path / "same.xml").write_text(voc_text("same.png", voc_object("c", (1, 1, 5, 5))))
    assert "2 times below" in problems_of(read_dataset(tmp_path))["same"]


def test_a_link_to_a_folder_above_ends(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "JPEGImages" / "again").symlink_to(tmp_path)
    assert boxes_of(read_dataset(tmp_path)) == EXPECTED


# COCO and the JSON list


def test_crowds_empty_boxes_and_images_without_objects_are_counted(tmp_path):
    value = coco_value()
    value["annotations"] += [
        {"id": 8, "image_id": 10, "category_id": 7, "bbox": [1, 1, 5, 5], "iscrowd": 1},
        {"id": 9, "image_id": 10, "category_id": 7, "bbox": [1, 1, 0, 5]},
    ]
    value["images"].append({"id": 99, "file_name": "none.png"})
    dataset = read_dataset(write_coco(tmp_path, value))
    assert boxes_of(dataset) == EXPECTED
    assert dataset.remarks == [
        "left out: 1 objects marked as crowds",
        "left out: 1 boxes without area",
        "left out: 1 images without an object",
    ]


def test_an_image_that_is_missing_costs_only_itself(tmp_path):
    root = write_coco(tmp_path)
    (root / "val" / "boat.png").unlink()
    dataset = read_dataset(root)
    assert "'boat.png' is not below" in problems_of(dataset)["boat"]
    assert len(dataset.images) == 2


def changed(key, place, **values):
    value = coco_value()
    value[key][place] |= values
    return json.dumps(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        wrong("COCO JSON that is cut", '{"images": [\n{', "line 2: it is not JSON"),
        wrong("COCO JSON nested too deeply", "[" * 200000, "it is not usable JSON|it is not JSON"),
        wrong("COCO JSON with a number of 10000 digits", "[" + "9" * 10000 + "]", "not usable JSON"),
        wrong(
            "COCO with an unknown image", changed("annotations", 1, image_id=5), "entry 2 of annotations: there is no"
        ),
        wrong("COCO with an unknown category", changed("annotations", 0, category_id=5), "no category with id 5"),
        wrong("COCO with a box of text", changed("annotations", 0, bbox=["a", 1, 2, 3]), "entry 1 .* four numbers"),
        wrong("COCO with a box of three", changed("annotations", 0, bbox=[1, 2, 3]), "bbox needs"),
        wrong("COCO with a negative box", changed("annotations", 0, bbox=[1, 2, -3, 4]), "has no area"),
        wrong("COCO with an infinite box", changed("annotations", 0, bbox=[1, 2, float("inf"), 4]), "four numbers"),
        wrong("COCO with a box of lists", changed("annotations", 0, bbox=[[], 2, 3, 4]), "four numbers"),
        wrong("COCO without a file name", changed("images", 0, file_name=None), "entry 1 of images: file_name"),
        wrong("COCO with ids that are lists", changed("images", 0, id=[1]), "id must be a number or a text"),
        wrong("COCO whose entries are numbers", '{"images":[1],"annotations":[],"categories":[]}', "it is no object"),
    ],
)
def test_broken_json_is_refused_with_its_entry(text, message, tmp_path):
    write_coco(tmp_path)
    path = tmp_path / "annotations" / "instances.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=message) as caught:
        read_dataset(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": [[1, 2, 3]]}, "entry 1: a box needs four numbers"),
        ({"boxes": [[1, 2, 3, True]]}, "entry 1: a box needs four numbers"),
        ({"boxes": 5}, "entry 1: boxes must be a list"),
        ({"file": 5}, "entry 1: file and class_name must be texts"),
        ({"imagenet_indices": ["1"]}, "entry 1: the numbers"),
    ],
)
def test_a_broken_list_is_refused_with_its_entry(change, message, tmp_path):
    write_list(tmp_path)
    entries = json.loads((tmp_path / "boxes.json").read_text())
    entries[0] |= change
    (tmp_path / "boxes.json").write_text(json.dumps(entries))
    with pytest.raises(SourceError, match=message):
        read_dataset(tmp_path / "boxes.json")


def test_a_file_of_annotations_larger_than_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(files.MOST_BYTES, ".json", 1 << 20)
    write_coco(tmp_path)
    path = tmp_path / "annotations" / "instances.json"
    path.write_text(path.read_text() + " " * (1 << 20))
    with pytest.raises(SourceError, match="more than 1 MiB"):
        read_dataset(path)


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(SourceError, match="no regular file"):
        read_dataset(tmp_path / "pipe.csv", "csv")


# CSV


@pytest.mark.input_kind("labels", "CSV with other titles, spaces and a byte order mark", "the boxes", "equal")
def test_titles_may_have_other_names_and_order(tmp_path):
    for name, box in BOXES.items():
        write_picture(tmp_path / f"{name}.png", box)
    lines = ["ymax, xmin,ymin ,XMAX,label,filename,width"]
    lines += [f"{y1},{x0},{y0},{x1},{name},{name}.png,64" for name, (x0, y0, x1, y1) in BOXES.items()]
    (tmp_path / "boxes.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    assert boxes_of(read_dataset(tmp_path)) == EXPECTED


def test_lines_without_boxes_and_several_boxes_of_one_image(tmp_path):
    write_table(tmp_path)
    with (tmp_path / "boxes.csv").open("a") as file:
        file.write("images/boat.png,boat,1,2,3,4\n\nimages/boat.png,anchor,,,,\n")
    dataset = read_dataset(tmp_path)
    boat = dataset.images[1]
    assert [(target.label, target.boxes) for target in boat.targets] == [
        ("boat", (BOXES["boat"], (1, 2, 3, 4))),
        ("anchor", ()),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        wrong("a CSV line with too few values", "a.png,boat,1,2,3", "line 4: it has 5 values, the titles are 6"),
        wrong("a CSV box of text", "a.png,boat,1,2,3,x", "line 4: a box needs four numbers"),
        wrong("a CSV box with a missing side", "a.png,boat,1,2,3,", "line 4: a box needs four numbers"),
        wrong("a CSV box without area", "a.png,boat,3,2,3,9", "line 4: box 3,2,3,9 has no area"),
        wrong("a CSV line without a class", "a.png,,1,2,3,4", "line 4: it has no class"),
        wrong("a CSV line without a file", ",boat,1,2,3,4", "line 4: it has no file"),
        wrong("CSV with an open quote", 'a.png,"boat,1,2,3,4', "line 4: it is not CSV"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(line, message, tmp_path):
    write_table(tmp_path)
    with (tmp_path / "boxes.csv").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(SourceError, match=message):
        read_dataset(tmp_path)


def test_a_table_without_titles_or_text_is_refused(tmp_path):
    table = tmp_path / "boxes.csv"
    table.write_text("a.png,boat,1,2,3,4\n")
    with pytest.raises(SourceError, match="line 1: the titles must be file,class"):
        read_dataset(table)
    table.write_text("file,class\n")
    with pytest.raises(SourceError, match="no line below its titles"):
        read_dataset(table)
    table.write_bytes(b"file,class\na.png,\xff\xfe\n")
    with pytest.raises(SourceError, match="line 2: it is not UTF-8 text"):
        read_dataset(table)
