"""``camrt live --config``: a file sets the flags, the command line overrides it, and errors name file and key."""

import argparse
from pathlib import Path

import pytest

from camrt.cli import _parser, main, parse
from camrt.errors import UsageError
from support.command import camrt, refusal
from support.events import read_events
from support.videos import read_video


@pytest.fixture
def parse_config(tmp_path):
    """Return a function that parses the command line with a file of settings."""

    def parse_with(text, *flags):
        (tmp_path / "camrt.toml").write_text(text)
        return parse(["live", "--config", str(tmp_path / "camrt.toml"), *flags])

    return parse_with


FILE = """
model = "model.onnx"
source = "rtsp://camera/live"
output = ["seen.mp4", "images"]
events = "seen.jsonl"
rotate = "500M"
alpha = 1
alpha-by-value = true
classes = "tabby,golden retriever"
normalize = "-2,10"
threads = 2
provider-option = ["device_id=1"]
"""


def test_file_sets_the_same_values_as_flags(parse_config):
    flags = ["model.onnx", "--source", "rtsp://camera/live", "-o", "seen.mp4", "-o", "images"]
    flags += ["--events", "seen.jsonl", "--rotate", "500M", "--alpha", "1", "--alpha-by-value"]
    flags += ["--classes", "tabby,golden retriever", "--normalize=-2,10", "--threads", "2"]
    by_flags = vars(parse(["live", *flags, "--provider-option", "device_id=1"]))
    by_file = vars(parse_config(FILE))
    differing = {name for name in by_flags if by_flags[name] != by_file[name]}
    assert differing == {"config", "parse_again"}
    assert {name: type(value) for name, value in by_file.items() if name == "model"} == {"model": type(Path())}


def test_flags_override_the_file(parse_config):
    args = parse_config(FILE, "other.onnx", "--alpha", "0.25", "-o", "own.mp4", "-o", "own2.mp4", "--source", "0")
    assert (args.model, args.alpha, args.source) == (Path("other.onnx"), 0.25, ["0"])
    assert args.output == [Path("own.mp4"), Path("own2.mp4")]
    assert (args.rotate, args.provider_option, args.threads) == (500_000_000, ["device_id=1"], 2)
    assert parse(["live", "m.onnx"]).output == []  # the next parser has no values of the file


def test_repeatable_flag_accepts_a_single_value(parse_config):
    assert parse_config('model = "m"\noutput = "seen.mp4"').output == [Path("seen.mp4")]


def test_config_flag_can_be_abbreviated_and_joined(tmp_path):
    (tmp_path / "c.toml").write_text('model = "m.onnx"')
    for flags in (["--conf", str(tmp_path / "c.toml")], [f"--config={tmp_path / 'c.toml'}"]):
        assert parse(["live", *flags]).model == Path("m.onnx")


def test_every_flag_of_live_can_be_set_in_a_file(parse_config):
    live = _parser()._subparsers._group_actions[0].choices["live"]
    examples = {str: '"x"', int: "3", float: "0.25", Path: '"x"', None: '"x"'}
    for action in live._actions:
        flag = next((flag for flag in action.option_strings if flag.startswith("--")), action.dest)
        if action.dest in ("help", "config"):
            with pytest.raises(UsageError, match="there is no setting"):
                parse_config(f'{flag.removeprefix("--")} = "x"', "m.onnx")
            continue
        value = "true" if action.nargs == 0 else examples.get(action.type, '"5M"')
        value = {"crop": '"0,0,8,8"', "mode": '"640"', "scale_output": '"2"'}.get(action.dest, value)
        if action.choices:
            first = next(iter(action.choices))
            value = str(first) if isinstance(first, int) else f'"{first}"'
        args = parse_config(f"{flag.removeprefix('--')} = {value}", *([] if action.dest == "model" else ["m.onnx"]))
        assert getattr(args, action.dest) not in (action.default, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alpa = 0.5", "there is no setting 'alpa'; did you mean 'alpha'?"),
        ("alpha_by_value = true", "there is no setting 'alpha_by_value'; did you mean 'alpha-by-value'?"),
        ("zzz = 1", "there is no setting 'zzz'; known settings: alpha, alpha-by-value, boxes, camera-fps, "),
        ("[overlay]\nalpha = 0.5", "there is no setting 'overlay'"),
        ('alpha = "0.5"', "alpha is text in quotes, but must be a number"),
        ("threads = 2.0", "threads is a number, but must be a whole number"),
        ("threads = true", "threads is true or false, but must be a whole number"),
        ('sync = "yes"', "sync is text in quotes, but must be true or false"),
        ("source = 0", "source is a whole number, but must be text in quotes"),
        ("source = [0]", "source is "),
        ("output = [1, 2]", "output is a whole number, but must be text in quotes"),
        ("events = 1979-05-27", "events is a date or time, but must be text in quotes"),
        ('rotate = "much"', "rotate: 'much' is not a size; write bytes, or 100k, 500M, 2G"),
        (
            'source = "rtsp://me:${CAMRT_NO_SUCH}@camera"',
            "source: ${CAMRT_NO_SUCH} is neither a credential of the service",
        ),
        ("alpha = ", "is not TOML: Invalid value (at "),
        ("alpha = 1\n" + "a." * 50_000 + "a = 1", "is not TOML of settings: a key has more than 100 dots"),
        ("[" + "a." * 50_000 + "a]", "is not TOML of settings: a key has more than 100 dots"),
        ("alpha = 1\nalpha = 2", "is not TOML: Cannot overwrite a value (at "),
    ],
)
def test_error_names_file_and_key(parse_config, tmp_path, text, message):
    with pytest.raises(UsageError) as raised:
        parse_config(text, "model.onnx")
    assert str(raised.value).startswith(str(tmp_path / "camrt.toml"))
    assert message in str(raised.value)


def test_error_names_an_unreadable_file(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b'classes = "caf\xe9"')
    for name, message in (
        ("none.toml", "cannot be read: No such file"),
        ("", "cannot be read: Is a dir"),
        ("latin.toml", "is not TOML"),
    ):
        with pytest.raises(UsageError, match=message):
            parse(["live", "--config", str(tmp_path / name)])


def test_secret_comes_from_the_service_or_the_environment(parse_config, tmp_path, monkeypatch):
    text = 'model = "m"\nsource = "rtsp://me:${camera}@host/live"'
    monkeypatch.setenv("camera", "from%20environment")
    assert parse_config(text).source == ["rtsp://me:from%20environment@host/live"]
    (tmp_path / "camera").write_text("from%20service\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert parse_config(text).source == ["rtsp://me:from%20service@host/live"]


def test_model_is_required_without_a_model_in_the_file(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("alpha = 0.5")
    assert main(["live", "--config", str(tmp_path / "c.toml")]) == 2
    assert "name a model file, or the folder of a training with --watch" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["live", "m.onnx", "--config"])
    assert "argument --config: expected one argument" in capsys.readouterr().err


def test_other_commands_have_no_config_flag():
    with pytest.raises(SystemExit):
        parse(["inspect", "m.onnx", "--config", "c.toml"])


@pytest.mark.process
def test_live_runs_with_settings_from_a_file_only(mobilenet, dog_video, tmp_path):
    (tmp_path / "camrt.toml").write_text(
        f'model = "{mobilenet}"\nsource = "{dog_video}"\noutput = ["seen.mp4"]\nevents = "seen.jsonl"\nframes = 12\n'
    )
    done = camrt("live", "--config", "camrt.toml", "--frames", "5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(read_video(tmp_path / "seen.mp4")[0]) == len(read_events(tmp_path / "seen.jsonl")) == 5


@pytest.mark.process
def test_wrong_file_is_a_usage_error_in_one_line(tmp_path):
    (tmp_path / "camrt.toml").write_text("alpa = 0.5")
    message = refusal("live", "m.onnx", "--config", "camrt.toml", status=2, cwd=tmp_path)
    assert message == "camrt.toml: there is no setting 'alpa'; did you mean 'alpha'?"


def test_parser_without_a_file_is_an_argparse_parser():
    assert isinstance(_parser(), argparse.ArgumentParser)
    assert parse(["live", "m.onnx", "--alpha", "0.3"]).config is None
