import errno
import os
from importlib import import_module

import pytest

from video4spatial.cli.errors import UserError, all_mistakes, describe, exit_code, in_flags, user_mistakes


def test_mistakes_become_one_line_and_two(capsys):
    def command(arguments):
        with user_mistakes():
            raise ValueError("the call does not fit:\n  frames 3\n  cameras 4")

    assert exit_code(command, []) == 2
    assert capsys.readouterr().err == "error: the call does not fit: frames 3; cameras 4\n"


def test_bugs_keep_their_traceback():
    def command(arguments):
        raise ValueError("outside of any check")

    with pytest.raises(ValueError, match="outside"):
        exit_code(command, [])


@pytest.mark.parametrize("words", ["no room on the device: [Errno 28] No space left on device", "I/O error: File too large (os error 27)"])
def test_a_full_disk_is_told_in_one_line_whoever_writes(words, capsys):
    def by_a_library(arguments):
        try:
            raise RuntimeError(words)
        except RuntimeError as error:
            raise MemoryError("while tidying up") from error

    def by_ourselves(arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "outputs/video.mp4")

    for command in (by_a_library, by_ourselves):
        assert exit_code(command, []) == 2
        assert capsys.readouterr().err.endswith("make room and run this again; nothing unfinished was left\n")


def test_a_python_without_the_packages_is_told_how_to_get_them(capsys):
    def command(arguments):
        import_module(arguments[0])

    assert exit_code(command, ["a_package_that_nobody_has"]) == 2
    error = capsys.readouterr().err
    assert "a_package_that_nobody_has is not installed" in error and "source .venv/bin/activate" in error and error.count("\n") == 1
    with pytest.raises(ModuleNotFoundError):
        exit_code(command, ["video4spatial.nothing"])


def test_bugs_of_another_kind_are_no_mistakes():
    with pytest.raises(KeyError), user_mistakes():
        raise KeyError("x")


def test_system_errors_name_the_file(tmp_path):
    with pytest.raises(UserError, match="nowhere: No such file or directory"), user_mistakes():
        (tmp_path / "nowhere").read_text()
    assert describe(FileNotFoundError("x: no such video")) == "x: no such video"


def test_an_interruption_has_its_own_code(capsys):
    def command(arguments):
        raise KeyboardInterrupt

    assert exit_code(command, []) == 130 and capsys.readouterr().err == "interrupted\n"


def test_arguments_of_the_library_become_flags():
    sentence = "`plan` needs `plan_budget`; `cache.dtype`, `plan_options.pool`, `image_rate`: 4 `Frames`"
    assert in_flags(sentence) == "--plan needs --plan-budget; --cache-dtype, --plan-pool, --fps: 4 `Frames`"
    assert in_flags("add `context_cameras`", context_cameras="--known-cameras") == "add --known-cameras"
    with pytest.raises(UserError, match="^add --known-cameras$"), user_mistakes(context_cameras="--known-cameras"):
        raise ValueError("add `context_cameras`")


def test_all_checks_are_told_at_once(tmp_path):
    def refuse():
        raise ValueError("`seed` -1: too small.")

    all_mistakes([lambda: None])
    with pytest.raises(UserError, match="^--seed -1: too small; .*nowhere: No such file or directory$"):
        all_mistakes([refuse, (tmp_path / "nowhere").read_text])
