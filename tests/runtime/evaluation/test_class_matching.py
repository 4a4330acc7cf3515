"""Classes of data match labels by name, and numbers count only where names prove them."""

import pytest

from camrt.errors import UsageError
from camrt.runtime.evaluation.class_matching import check_matching, match_classes
from camrt.runtime.evaluation.datasets.files import find_synonyms, read_synonyms
from camrt.runtime.evaluation.datasets.labelled import Dataset, LabelledImage, Target

IMAGENET = (
    "tench, Tinca tinca",
    "great white shark, white shark, man-eater",
    "tabby, tabby cat",
    "crane",
    "crane",
    "cock",
    "Cardigan, Cardigan Welsh corgi",
    "cardigan",
    "T-shirt",
)
SYNSETS = ("n01440764 tench, Tinca tinca", "n02123045 tabby, tabby cat", "n02012849 crane", "n03126707 crane")


def dataset(*classes, synonyms=None):
    """Return a dataset with one image for each class: a name, or a name with numbers."""
    pairs = [(one, ()) if isinstance(one, str) else one for one in classes]
    images = [
        LabelledImage(f"{number}.jpg", None, (Target(name, numbers=tuple(numbers)),))
        for number, (name, numbers) in enumerate(pairs)
    ]
    return Dataset("data", "folder", images, synonyms=synonyms or {})


def ids(data, labels):
    matching = match_classes(data, labels)
    return [matching.class_ids(image.targets[0]) for image in data.images]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tench, Tinca tinca", 0),
        ("Tench", 0),
        ("tinca_tinca", 0),
        ("GREAT-WHITE  shark", 1),
        ("man_eater", 1),
        ("great_white_shark (fish)", 1),
        ("tabby cat", 2),
        ("cock", 5),
        ("cardigan", 7),  # the whole label, before a part of another
        ("Cardigan Welsh corgi", 6),
        ("t shirt", 8),
        ("n01440764_tench", 0),
    ],
)
@pytest.mark.input_kind("labels", "classes of data in another case, with underscores or synonyms", "the label", "equal")
def test_names_match_apart_from_case_spaces_underscores_and_hyphens(name, expected):
    assert ids(dataset(name), IMAGENET) == [(expected,)]


@pytest.mark.parametrize("name", ["0", "3", "ten", "shark", "tenches", "crane", "", "n02123045"])
def test_numbers_parts_of_words_and_double_names_match_nothing(name):
    assert ids(dataset(name), IMAGENET) == [()]


@pytest.mark.input_kind("labels", "classes of data as WordNet ids", "the synset's line", "equal")
def test_wordnet_ids_match_labels_that_have_them():
    names = ["n02123045", "n03126707", "n02012849_crane", "n99999999"]
    assert ids(dataset(*names), SYNSETS) == [(1,), (3,), (2,), ()]


def test_wordnet_ids_match_through_the_words_beside_the_data(tmp_path):
    (tmp_path / "LOC_synset_mapping.txt").write_text("n02123045 tabby, tabby cat\nn01440764 tench, Tinca tinca\n")
    table = find_synonyms(tmp_path)
    assert ids(dataset("n02123045", "n01440764_x", synonyms=table), IMAGENET) == [(2,), (0,)]


def test_a_table_gives_a_class_several_labels(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text('pet,tabby\npet,"cardigan"\n\nbird,cock\n')
    table = read_synonyms(path)
    assert ids(dataset("pet", "bird", "tench", synonyms=table), IMAGENET) == [(2, 7), (5,), (0,)]
    path.write_text("pet,tabby\npet\n")
    with pytest.raises(UsageError, match="line 2: write class,label"):
        read_synonyms(path)
    with pytest.raises(UsageError, match="there is no file"):
        read_synonyms(tmp_path / "missing.csv")


def test_numbers_count_only_if_names_prove_them():
    named = [("tench", [0]), ("tabby", [2]), ("cock", [5])]
    several = ("cranes", [3, 4])
    assert ids(dataset(*named, several), IMAGENET)[3] == (3, 4)
    assert ids(dataset(*named, several), ("background", *IMAGENET))[3] == (4, 5)
    assert ids(dataset(*named, ("far", [99])), IMAGENET)[3] == ()
    shuffled = [("tench", [5]), ("tabby", [0]), ("cock", [2])]
    assert ids(dataset(*shuffled, several), IMAGENET) == [(0,), (2,), (5,), ()]
    assert ids(dataset(several), IMAGENET) == [()]


def test_a_number_decides_between_classes_of_one_name():
    named = [("tench", [0]), ("tabby", [2]), ("cock", [5])]
    assert ids(dataset(*named, ("crane", [4])), IMAGENET)[3] == (4,)


def test_unmatched_classes_are_listed_and_refused_unless_allowed():
    data = dataset("tench", "crane", "house", "house")
    matching = match_classes(data, IMAGENET)
    with pytest.raises(
        UsageError, match=r"does not know 2 classes of data: crane, house; .*--allow-unmatched"
    ) as caught:
        check_matching(matching, data, "model.onnx", allow_unmatched=False)
    assert "no class for 'house' (2 images): the model has no such label" in str(caught.value)
    assert "2 classes have this name: 3 (crane), 4 (crane)" in str(caught.value)
    lines = check_matching(matching, data, "model.onnx", allow_unmatched=True)
    assert len(lines) == 2
    with pytest.raises(UsageError, match="knows no class of data"):
        check_matching(match_classes(dataset("x"), IMAGENET), dataset("x"), "m", allow_unmatched=True)
