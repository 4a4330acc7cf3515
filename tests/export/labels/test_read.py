"""Labels: from files in the forms that people write them, and one for each class."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camrt.errors import UsageError
from camrt.export import attach
from camrt.export.labels.form import NotThisForm
from camrt.export.labels.read import labels_of_text, read_labels
from support.export_graphs import session

NAMES = ("left turn", "right, sharp", "straight on")
SYNSETS = ("tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark")


def write(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


FORMS = [
    ("labels.txt", "left turn\nright, sharp\nstraight on\n", "one name a line"),
    ("labels.txt", "0 left turn\n1 right, sharp\n2 straight on\n", "numbered lines"),
    ("labels.txt", "0: left turn\n1: right, sharp\n2: straight on", "numbered lines"),
    ("labels.txt", "0\tleft turn\n1\tright, sharp\n2\tstraight on", "numbered lines"),
    ("labels.txt", "2 straight on\n0 left turn\n1 right, sharp", "numbered lines"),
    ("labels.txt", "1. left turn\n2. right, sharp\n3. straight on", "numbered lines, numbered from 1"),
    ("labels.txt", "'left turn',\n'right, sharp',\n'straight on'\n", "one name a line, quoted"),
    ("labels.txt", "{0: 'left turn',\n 1: 'right, sharp',\n 2: 'straight on'}\n", "Python dict"),
    ("labels.txt", "['left turn', 'right, sharp', 'straight on']", "Python list"),
    ("labels.json", '["left turn", "right, sharp", "straight on"]', "JSON list"),
    ("labels.json", '{"0": "left turn", "2": "straight on", "1": "right, sharp"}', "JSON dict"),
    ("labels.json", '{"left turn": 0, "right, sharp": 1, "straight on": 2}', "JSON dict from name to number"),
    (
        "config.json",
        '{"id2label": {"0": "left turn", "1": "right, sharp", "2": "straight on"}, "label2id": {"x": 0}}',
        "'id2label' of a JSON dict",
    ),
    ("meta.json", '{"labels": ["left turn", "right, sharp", "straight on"]}', "'labels' of a JSON dict"),
    (
        "coco.json",
        '[{"id": 2, "name": "right, sharp"}, {"id": 1, "name": "left turn"}, {"id": 3, "name": "straight on"}]',
        "JSON list, numbered from 1",
    ),
    ("t.csv", 'id,name\n0,left turn\n1,"right, sharp"\n2,straight on\n', "table with commas"),
    ("t.csv", "ClassId;Name\r\n2;straight on\r\n0;left turn\r\n1;right, sharp\r\n", "table with semicolons"),
    ("t.tsv", "left turn\t0\nright, sharp\t1\nstraight on\t2\n", "table with tabs"),
    ("t.txt", "index\tlabel\n0\tleft turn\n1\tright, sharp\n2\tstraight on\n", "table with tabs"),
    ("t.txt", "left turn;0\nright, sharp;1\nstraight on;2\n", "table with semicolons"),
    ("t.csv", 'name\nleft turn\n"right, sharp"\nstraight on\n', "table with commas"),
    ("t.csv", 'label,name\n0,left turn\n1,"right, sharp"\n2,straight on\n', "table with commas"),
    ("data.yaml", "names:\n  0: left turn\n  1: right, sharp\n  2: straight on\n", "'names' of a YAML file"),
    (
        "data.yaml",
        "# roads\npath: ../roads # root\nnc: 3\nnames: ['left turn', \"right, sharp\",\n  straight on]\ndownload: x\n",
        "'names' of a YAML file",
    ),
    (
        "data.yml",
        "nc: 3\nnames:\n- left turn\n- 'right, sharp'\n- straight on # ahead\nval: a\n",
        "'names' of a YAML file",
    ),
    ("data.yaml", "- left turn\n- right, sharp\n- straight on\n", "YAML list"),
    ("data.yaml", "0: left turn\n1: right, sharp\n2: straight on\n", "YAML dict"),
    ("data.yaml", "names: {0: left turn, 1: 'right, sharp', 2: straight on}\n", "'names' of a YAML file"),
]


@pytest.mark.input_kind("labels", "lines, numbered lines (Teachable Machine), quoted lines", "the names", "equal")
@pytest.mark.input_kind("labels", "Python list or dict, a line each", "the names", "equal")
@pytest.mark.input_kind("labels", "JSON list or dict, id2label, class_to_idx, COCO categories", "the names", "equal")
@pytest.mark.input_kind("labels", "CSV with or without titles: commas, semicolons, tabs", "the names", "equal")
@pytest.mark.input_kind("labels", "YAML with names, as a list or a dict", "the names", "equal")
@pytest.mark.parametrize(("name", "content", "form"), FORMS)
def test_each_form_gives_the_names(name, content, form, tmp_path):
    labels = read_labels(write(tmp_path, name, content))
    assert (labels.names, labels.form) == (NAMES, form)


@pytest.mark.input_kind("labels", "names behind synsets (n01440764)", "the names", "equal")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "synsets.txt",
            "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\nn01484850 great white shark",
        ),
        (
            "synsets.txt",
            "n01440764\ttench, Tinca tinca\nn01443537\tgoldfish, Carassius auratus\nn01484850\tgreat white shark",
        ),
        (
            "map.txt",
            "0 n01440764 tench, Tinca tinca\n1 n01443537 goldfish, Carassius auratus\n2 n01484850 great white shark",
        ),
        (
            "map_clsloc.txt",
            "n01440764 1 tench, Tinca tinca\nn01443537 2 goldfish, Carassius auratus\nn01484850 3 great white shark",
        ),
        ("index.json", json.dumps({str(i): [f"n0144000{i}", label] for i, label in enumerate(SYNSETS)})),
        ("t.csv", "".join(f'n0144000{i},"{label}"\n' for i, label in enumerate(SYNSETS))),
    ],
)
def test_synsets_before_the_names_are_left_out(name, content, tmp_path):
    assert read_labels(write(tmp_path, name, content)).names == SYNSETS


@pytest.mark.parametrize(
    "lines",
    [
        ["20 km/h", "30 km/h", "50 km/h"],
        ["0", "1", "2"],
        ["[unknown]", "cat", "dog"],
        ["n01440764", "n01443537", "n01484850"],
        ["tench, Tinca tinca", "goldfish", "names: many"],
        ["zone 0", "zone 1", "zone 2"],
    ],
)
def test_plain_names_that_resemble_another_form_stay_as_they_are(lines, tmp_path):
    assert read_labels(write(tmp_path, "labels.txt", "\n".join(lines))).names == tuple(lines)


@pytest.mark.input_kind("labels", "byte order mark, Windows line ends, UTF-16, Latin-1", "the names", "equal")
@pytest.mark.parametrize(
    ("encoding", "remark"), [("utf-8-sig", ""), ("utf-8", ""), ("utf-16", "UTF-16"), ("cp1252", "Latin-1")]
)
def test_encodings_are_read_and_a_rare_one_is_named(encoding, remark, tmp_path):
    labels = read_labels(write(tmp_path, "labels.txt", "Bär\r\nVogel grün\r\nHund\r\n".encode(encoding)))
    assert labels.names == ("Bär", "Vogel grün", "Hund")
    assert remark in labels.form


@pytest.mark.input_kind("labels", "a form that does not fit: gaps, wrong counts, damaged JSON, pbtxt", "-", "refused")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.txt", "0 a\n1 b\n2 c\n4 d\n5 e\n", "numbered lines: line 4 should have the number 3, and is '4 d'"),
        ("labels.txt", "0 a\n1 b\n2 c\nd\n", "numbered lines: line 4 should have the number 3, and is 'd'"),
        ("labels.txt", "0 left\n2 right\n", "numbered lines: line 2 should have the number 1"),
        ("dict.txt", "{0: 'a',\n 1: 'b'\n 2: 'c'}", "neither JSON .* nor Python"),
        ("dict.txt", "{0: 'a', 2: 'c'}", "Python dict: it has 2 numbers, from 0 to 2, and 1 is missing"),
        ("list.json", '["a", "b"', "neither JSON .*line 1"),
        ("config.json", '{"architectures": ["ResNet"], "id": 3}', "JSON dict: its keys are neither numbers"),
        ("config.json", "left\nright\n", "JSON of labels is a list or a dict"),
        ("t.csv", "id,name\n0,left\n1,right,sharp\n", "table with commas: line 3 has 3 cells"),
        ("t.csv", "a,b,c\nd,e,f\n", "3 of its columns could be the names"),
        ("t.csv", "id,name\n0,left\n0,right\n", "number 0 has several names"),
        ("data.yaml", "names: &anchor\n  0: a\n", "line 1"),
        ("data.yaml", "names:\n  0: a\n  1: |\n    long\n", "YAML: line 3 begins with '|'"),
        ("data.yaml", "names:\n  0: a\n  0: b\n", "class 0 is there twice"),
        ("labels.pbtxt", "item {\n  id: 1\n  name: 'a'\n}\n", "TensorFlow label map"),
        ("labels.xml", "<labels><label>a</label></labels>", "XML or HTML"),
        ("labels.txt", b"\x82\xb1\x82\xf1\x82\xc9\x82\xbf\x82\xcd\n", "not UTF-8"),
        ("labels.txt", b"a\x00b\n", "not a text"),
    ],
)
def test_form_that_does_not_fit_is_named(name, content, message, tmp_path):
    with pytest.raises(UsageError, match=rf"{name}: .*{message}|{name} is {message}"):
        read_labels(write(tmp_path, name, content))


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(st.sampled_from("[]{}:,;'\"\n\t -#01ab|&nmes"), max_size=40)
    | st.sampled_from(["names:", "id,name", "[", "{", "0 a\n", "- "]).flatmap(
        lambda start: st.text(st.sampled_from("[]{}:,;'\"\n\t 0123abc-"), max_size=30).map(lambda rest: start + rest)
    ),
    suffix=st.sampled_from([".txt", ".json", ".csv", ".yaml"]),
)
def test_any_text_gives_names_or_one_error(text, suffix):
    with suppress(NotThisForm):
        labels = labels_of_text(text, suffix)
        assert all(isinstance(name, str) for name in labels.names)


def test_label_file_may_have_a_bom_spaces_and_windows_line_ends(classifier, tmp_path):
    file = tmp_path / "names.txt"
    file.write_bytes("\ufeffBär\r\n cat \r\ndog\r\nfish\r\n\r\n\n".encode())
    report = attach(classifier, tmp_path / "out.onnx", labels=file)
    assert report.labels == ("Bär", "cat", "dog", "fish")
    assert report.read == ("From names.txt (one name a line): 4 labels.",)
    stored = session(tmp_path / "out.onnx").get_modelmeta().custom_metadata_map["camrt.labels"]
    assert json.loads(stored) == ["Bär", "cat", "dog", "fish"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\nc\n", "3 labels in names.txt .*4 classes.*background"),
        (b"background\na\nb\nc\nd\n", "5 labels.*4 classes; the first label is 'background'.*remove"),
        (b"a\nb\nc\nd\ne\n", "5 labels.*4 classes; one label is too many: the first is 'a', the last 'e'"),
        (b"a\nb\nc\nd\ne\nf\n", "6 labels.*4 classes.*--labels"),
        (b'["a", "b"]', r"2 labels in names.txt \(JSON list\).*4 classes"),
        (b"a, b, c, d", "1 label .*'a, b, c, d'; write one label on each line"),
        (b"", "0 labels.*4 classes"),
        (b"a\n\nb\nc\nd\n", "line 2 is empty"),
    ],
)
def test_labels_that_do_not_fit_are_refused(content, message, classifier, tmp_path):
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        attach(classifier, tmp_path / "out.onnx", labels=tmp_path / "names.txt")
    assert not (tmp_path / "out.onnx").exists()


def test_missing_label_file_is_named(classifier, tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.txt"):
        attach(classifier, tmp_path / "out.onnx", labels=tmp_path / "nowhere.txt")


@pytest.mark.parametrize(
    "name", ["imagenet1000.txt", "imagenet1000_synsets.txt", "cifar10.txt", "imagenet1001_background.txt"]
)
def test_published_label_files_are_read(name, shared_data):
    names = read_labels(shared_data / "labels" / name).names
    assert len(names) == {"cifar10.txt": 10, "imagenet1001_background.txt": 1001}.get(name, 1000)
    if name == "imagenet1000_synsets.txt":
        assert names[0] == "tench, Tinca tinca"
