import pytest

from video4spatial.cli.arguments import MOST_FRAMES, Parser, integer, number
from video4spatial.cli.errors import UserError


@pytest.fixture
def parser():
    parser = Parser("tool", "A tool.")
    parser.add_argument("--context-frames", type=integer(1), default=32)
    parser.add_argument("--fov", type=number(0, 180))
    parser.add_argument("--output", required=True)
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--config")
    return parser


def test_a_misspelt_option_is_named_before_the_one_it_leaves_missing(parser):
    with pytest.raises(UserError, match=r"unknown option '--outptu' \(did you mean '--output'\?\) \(see tool --help\)"):
        parser.parse(["--outptu", "x"])


def test_abbreviations_are_not_guessed(parser):
    with pytest.raises(UserError, match="unknown option '--out'"):
        parser.parse(["--out=x"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--context-frames", "0"], "--context-frames: expected at least 1, got 0"),
        (["--context-frames", "many"], "--context-frames: expected a whole number, got 'many'"),
        (["--fov", "180"], "--fov: expected a number above 0 and below 180, got 180"),
        (["--fov", "nan"], "--fov: expected a number above 0 and below 180, got nan"),
        ([], "required: --output"),
        (["--output", "x", "y"], "unrecognized arguments: y"),
    ],
)
def test_impossible_values_are_explained(parser, arguments, message):
    with pytest.raises(UserError, match=message):
        parser.parse(arguments)


def test_a_configuration_file_gives_options_and_the_command_line_wins(parser, tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("context_frames: 8\nfov: null\noverwrite: true\noutput: here\n")
    options = parser.parse(["--config", str(path), "--output", "there"])
    assert (options.context_frames, options.fov, options.overwrite, options.output) == (8, None, True, "there")
    assert parser.parse([f"--config={path}"]).output == "here"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("context_frame: 8", r"unknown key 'context_frame' \(did you mean 'context_frames'\?\)"),
        ("context_frames: 0", "expected at least 1, got 0"),
        ("context_frames: [1]", "must be a single value"),
        ("overwrite: yes please", "must be true or false"),
        ("output: [", "not valid YAML"),
        ("- output", "expected a mapping"),
    ],
)
def test_a_wrong_configuration_file_is_named(parser, tmp_path, text, message):
    path = tmp_path / "options.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        parser.parse(["--config", str(path), "--output", "x"])


def test_a_missing_configuration_file_is_named(parser, tmp_path):
    with pytest.raises(UserError, match="nowhere.yaml: No such file"):
        parser.parse(["--config", str(tmp_path / "nowhere.yaml"), "--output", "x"])


@pytest.mark.parametrize(
    "given, told", [("1e9", "a whole number"), ("100001", "at most 100000"), (f"{10**30}", "at most"), ("0", "at least 2")]
)
def test_numbers_beyond_what_can_be_meant_are_refused(given, told):
    parser = Parser("test", "")
    parser.add_argument("--frames", type=integer(2, MOST_FRAMES))
    with pytest.raises(UserError, match=told):
        parser.parse(["--frames", given])
