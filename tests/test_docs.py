"""Every command and snippet of the documents runs, in order, on real models, photos and videos."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from support import REPOSITORY
from support.needs import environment
from support.videos import read_video

DOCUMENTS = (
    "README.md",
    "docs/browser.md",
    "docs/export.md",
    "docs/train.md",
    "docs/localization.md",
    "docs/cam-limits.md",
    "docs/collect.md",
    "docs/audit.md",
    "docs/harbour.md",
    "docs/heads.md",
    "docs/quantize.md",
    "docs/providers.md",
    "docs/cameras.md",
    "docs/running.md",
    "docs/inputs.md",
    "docs/python.md",
    "docs/edge.md",
    "docs/performance.md",
)
WITH_BASELINES = ("docs/quantize.md", "docs/performance.md")
"""Commands of these documents need the extra ``bench``, which the test environment has and a fresh one lacks."""
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")
TIMEOUT_S = 900
TEST_COMMAND = "make test"
"""This command runs the tests, so no test runs it; ``.ci/run`` does."""

NETWORK = """
import torch

def make_classifier():
    torch.manual_seed(0)
    body = [torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*body, torch.nn.Linear(8, 4))

class Faces(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = make_classifier()[:-1]
        self.age, self.gender = torch.nn.Linear(8, 3), torch.nn.Linear(8, 2)

    def forward(self, images):
        pooled = self.body(images)
        return {"age": self.age(pooled), "gender": self.gender(pooled)}

def make_faces():
    return Faces()
"""


def blocks(document):
    """Return (language, text) of each code block of a document."""
    return BLOCK.findall((REPOSITORY / document).read_text(encoding="utf-8"))


def run(command, folder, settings):
    done = subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Return a copy of the files of the repository, without ignored files."""
    folder = tmp_path_factory.mktemp("checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in names.split("\0"):
        source, target = REPOSITORY / name, folder / name
        if name and source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def user_folder(checkout, shared_data):
    """Return the checkout with the files of a user: a classifier, its labels, a video, photos, a torch network."""
    files = {
        "models/mobilenetv2_torchvision_qdq_int8.onnx": "classifier.onnx",
        "models/squeezenet11_caffe.onnx": "squeezenet.onnx",
        "labels/imagenet1000.txt": "labels.txt",
        "videos/cockatoo.mp4": "video.mp4",
        "images_cls/n02098286_West_Highland_white_terrier.JPEG": "photo.jpg",
        "fruits": "fruits",
    }
    for name, own in files.items():
        (checkout / own).symlink_to(shared_data / name)
    (checkout / "photos").mkdir()
    for photo in sorted((shared_data / "images_cls").glob("*.JPEG"))[:3]:
        (checkout / "photos" / photo.name).symlink_to(photo)
    for number, name in {"203": "n02098286_West_Highland_white_terrier", "144": "n02051845_pelican"}.items():
        (checkout / "labelled" / number).mkdir(parents=True)
        (checkout / "labelled" / number / "photo.jpg").symlink_to(shared_data / "images_cls" / f"{name}.JPEG")
    for name, label in {
        "n02098286_West_Highland_white_terrier": "West_Highland-white_terrier",
        "n02051845_pelican": "pelican",
    }.items():
        (checkout / "labelled-photos" / label).mkdir(parents=True)
        (checkout / "labelled-photos" / label / "photo.jpg").symlink_to(shared_data / "images_cls" / f"{name}.JPEG")
    (checkout / "my_package").mkdir()
    (checkout / "my_package" / "models.py").write_text(NETWORK)
    (checkout / "names.txt").write_text("female\nmale\n")
    values: dict[str, object] = {}
    exec(NETWORK, values)
    torch.save(values["make_classifier"]().state_dict(), checkout / "weights.pt")
    return checkout


@pytest.fixture(scope="module")
def fresh_environment(tmp_path_factory):
    """Return the environment variables that select an empty virtual environment."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    settings = {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(folder)}
    constraints = REPOSITORY / "tests" / "constraints.txt"
    settings |= {"PIP_CONSTRAINT": str(constraints), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return settings | {"PIP_NO_COMPILE": "no"}  # pip takes the negation of its value: byte code is not compiled


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_snippet_works(document, user_folder, fresh_environment, monkeypatch):
    # The documents are read in order: each may use files of those before it.
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    here = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    settings = os.environ | (here if document in WITH_BASELINES else fresh_environment)
    for language, text in blocks(document):
        assert language in ("sh", "python", "text"), f"{document}: no test runs a block of {language}"
        if language == "text":  # servers, long runs and their clients have their own tests
            continue
        if language == "python":
            # torchvision's wheel may not fit this torch: camrt.benchmarks.compare.torch_libraries fixes that.
            code = f"import camrt.benchmarks.compare.torch_libraries\n{text}"
            run([sys.executable, "-c", code], user_folder, environment())
        elif language == "sh":
            for command in text.splitlines():
                if command != TEST_COMMAND:
                    run(["bash", "-ec", command], user_folder, settings)


@pytest.mark.process
@pytest.mark.slow
def test_the_commands_have_left_whole_files(user_folder):
    # After the test above: the commands of the documents have run in this folder.
    for name, frames in (("seen", 280), ("weeks", 50)):
        assert len(read_video(user_folder / f"{name}.mp4")[0]) == frames
        assert len((user_folder / f"{name}.jsonl").read_text().splitlines()) == frames
    assert len(list((user_folder / "annotated").iterdir())) == 3
    for name in (
        "overlay.png",
        "gender.jpg",
        "compared/photo.jpg",
        "camrt-demo/demo.mp4",
        "camrt-demo/demo.png",
        "runs/quick/model.onnx",
        "runs/maps/timelapse.mp4",
    ):
        assert (user_folder / name).stat().st_size > 1000


def test_ci_calls_the_test_command_of_the_readme():
    assert any(TEST_COMMAND in text.splitlines() for _, text in blocks("README.md"))
    assert TEST_COMMAND in (REPOSITORY / ".ci" / "run").read_text().splitlines()


@pytest.mark.parametrize("document", [*DOCUMENTS, "docs/architecture.md", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_links_have_targets(document):
    path = REPOSITORY / document
    missing = [link for link in LINK.findall(path.read_text(encoding="utf-8")) if not (path.parent / link).exists()]
    assert not missing


def test_every_flag_in_the_documents_exists():
    from camrt.cli import _parser

    text = "".join((REPOSITORY / document).read_text(encoding="utf-8") for document in DOCUMENTS)
    commands = _parser()._subparsers._group_actions[0].choices
    camrt_flags = {flag for command in commands.values() for flag in command._option_string_actions}
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text))
    tools = {
        "--balanced",
        "--data",
        "--epochs",
        "--documents",
        "--gpu",
        "--viewers",
        "--cameras",
        "--seconds",
        "--seed",
        "--streams",
    }  # of modules in benchmarks
    tools |= {"--system-site-packages", "--list-cameras"}  # of Python's venv and of the Raspberry Pi
    tools |= {
        "--read-only",
        "--tmpfs",
        "--cap-drop",
        "--security-opt",
        "--restart",
        "--device",
        "--group-add",
    }  # of docker
    tools |= {"--signal", "--platform", "--gpus", "--now"}  # of docker and systemctl
    assert flags - tools <= camrt_flags


def test_each_module_named_in_the_architecture_exists():
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = re.findall(r"`((?:src|runtime|export|kernels|benchmarks|tests)/[\w./]+)`", text)
    assert names
    assert not [name for name in names if not Path(REPOSITORY, name).exists()]
