"""Command-line options that explain their mistakes, and configuration files that hold the same options."""

import argparse
import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args, get_type_hints

from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.naming import unknown
from video4spatial.parsing import parse_yaml


class Parser(argparse.ArgumentParser):
    """An `argparse` parser with suggestions for misspelt options, and configuration files where it has an option `--config`.

    A configuration file is a YAML mapping from option names (dashes or underscores) to values. It stands before the
    command line, so that an option given there wins, and passes the same checks.
    """

    def __init__(self, prog: str, description: str, epilog: str | None = None):
        super().__init__(
            prog=prog, description=description, epilog=epilog, allow_abbrev=False, add_help=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        self.add_argument("-h", "--help", action="help", help="show this message and exit")

    def parse(self, arguments: list[str]) -> argparse.Namespace:
        """Read the arguments.

        Args:
            arguments: of the command line.

        Raises:
            UserError: one line that says what is wrong.
        """
        self._refuse_unknown(arguments)
        if "--config" in self._option_string_actions:
            pre = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
            pre.add_argument("--config")
            pre.error = self.error
            path = pre.parse_known_args(arguments)[0].config
            if path is not None:
                arguments = [*self._from_file(Path(path)), *arguments]
        return self.parse_args(arguments)

    def error(self, message: str) -> None:
        """Called by argparse with what is wrong.

        Args:
            message: in argparse's words.

        Raises:
            UserError: with them.
        """
        raise UserError(f"{message} (see {self.prog} --help)")

    def _refuse_unknown(self, arguments: list[str]) -> None:
        for argument in arguments:
            option = argument.split("=", 1)[0]
            if option == "--":
                return
            if option.startswith("--") and option not in self._option_string_actions:
                raise UserError(unknown("option", option, self._option_string_actions) + f" (see {self.prog} --help)")

    def _from_file(self, path: Path) -> list[str]:
        content = read_yaml(path)
        if not isinstance(content, dict):
            raise UserError(f"{path}: expected a mapping of options, such as 'steps: 16'")
        known = [name[2:].replace("-", "_") for name in self._option_string_actions if name.startswith("--")]
        known = [name for name in known if name not in ("help", "config")]
        arguments = []
        for key, value in content.items():
            name = str(key).replace("-", "_")
            if name not in known:
                raise UserError(f"{path}: {unknown('key', str(key), known)}")
            option = "--" + name.replace("_", "-")
            if isinstance(value, (dict, list)):
                raise UserError(f"{path}: {key} must be a single value, got {value}")
            is_switch = self._option_string_actions[option].nargs == 0
            if is_switch and not isinstance(value, bool):
                raise UserError(f"{path}: {key} must be true or false, got {value!r}")
            if is_switch:
                arguments += [option] if value else []
            elif value is not None:
                arguments.append(f"{option}={value}")
        return arguments


def read_yaml(path: str | Path) -> object:
    """What a YAML file holds.

    Args:
        path: of the file.

    Raises:
        UserError: for a file that cannot be read, or is no YAML.
    """
    with user_mistakes():
        text = Path(path).read_text(encoding="utf-8")
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from error


def picture_size(text: str, example: str) -> tuple[int, int]:
    """Height and width from an option `--size WIDTHxHEIGHT`.

    Args:
        text: its value.
        example: one that is right, to be told where the value is wrong.

    Raises:
        UserError: for anything else.
    """
    match = re.fullmatch(r"([1-9]\d*)[xX]([1-9]\d*)", text)
    if match is None:
        raise UserError(f"--size {text!r}: expected width x height in pixels, such as {example}")
    return int(match[2]), int(match[1])


def plain_complaint(message: str, known: list[str]) -> str:
    """A complaint of jsonargparse as one line, with a suggestion where it is about an unknown key.

    Args:
        message: as jsonargparse gives it.
        known: the keys there are.
    """
    text = " ".join(message.split())
    flag = re.match(r"unrecognized arguments: (--\S+)", text)
    if flag:
        return unknown("option", flag[1].split("=")[0], [f"--{name}" for name in known])
    option = re.search(r"does not accept option '([^']+)'", text)
    if option:
        return unknown("key", option[1], known)
    where = re.match(r'Parser key "([^"]+)": ', text)
    option = re.search(r"Option '([^']+)' is not accepted", text)
    if where and option:
        return f"{where[1]}: {unknown('key', option[1], known)}"
    # Of a union's complaints the first is about what was meant; the rest recites the types.
    first = re.search(r"Errors: - (.+?)(?: - |$)", text)
    text = (where[0] if where else "") + first[1] if first else text
    text = text.replace(where[0], f"{where[1]}: ") if where else text
    text = re.sub(r"Expected an? <class '([^']+)'>\. Got value: (.*)", r"expected \1, got \2", text)
    return text.replace("required: fit.", "required: ")


def not_mappings(given: Mapping, defaults: Mapping, name: str = "") -> list[str]:
    """The groups of settings that were given as single values.

    Args:
        given, defaults: settings by name, those of groups within.
        name: of the group they belong to.
    """
    wrong = []
    for key, default in defaults.items():
        value, full = given.get(key), f"{name}.{key}".lstrip(".")
        if isinstance(default, Mapping) and isinstance(value, Mapping):
            wrong += not_mappings(value, default, full)
        elif isinstance(default, Mapping) and default:
            wrong.append(f"{full} {value!r}")
    return wrong


def nothing_given(given: Mapping, kind: type, name: str) -> list[str]:
    """The settings that were given as null although they need a value, which jsonargparse lets pass.

    Args:
        given: settings by name, those of groups within.
        kind: dataclass that they are of.
        name: of the group.
    """
    wrong = []
    for key, hint in get_type_hints(kind).items():
        kinds, value = get_args(hint) or (hint,), given.get(key)
        group = next((part for part in kinds if dataclasses.is_dataclass(part)), None)
        if key in given and value is None and type(None) not in kinds:
            wrong.append(f"{name}.{key}")
        elif group is not None and isinstance(value, Mapping):
            wrong += nothing_given(value, group, f"{name}.{key}")
    return wrong


MOST_FRAMES, MOST_STEPS = 100_000, 10_000
"""More frames or denoising steps are mistakes: their arithmetic alone would fill the memory."""


def integer(least: int | None = None, most: int = 2**63 - 1) -> Callable[[str], int]:
    """A type for options that are whole numbers.

    Args:
        least: the smallest one; None for no bound.
        most: the largest one.
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
        if least is not None and value < least:
            raise argparse.ArgumentTypeError(f"expected at least {least}, got {value}")
        if abs(value) > most:
            raise argparse.ArgumentTypeError(f"expected at most {most}, got {value}")
        return value

    return read


def number(above: float = -math.inf, below: float = math.inf) -> Callable[[str], float]:
    """A type for options that are finite numbers.

    Args:
        above, below: bounds, which are excluded.
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None
        if not above < value < below:
            bounds = [f"above {above:g}"] * math.isfinite(above) + [f"below {below:g}"] * math.isfinite(below)
            wanted = " and ".join(bounds) or "that is finite"
            raise argparse.ArgumentTypeError(f"expected a number {wanted}, got {text}")
        return value

    return read


def run_action(command: str, actions: dict[str, Callable[[list[str]], None]], usage: dict[str, str], arguments: list[str]) -> None:
    """Run the action of a verb that its first argument names.

    Args:
        command: such as "v4s cameras".
        actions: what each does with the arguments after it.
        usage: its arguments in words, for the help.
        arguments: the verb's.

    Raises:
        UserError: for another action, or none.
    """
    if arguments and arguments[0] in ("-h", "--help"):
        lines = [f"{command} {name} {usage[name]}" for name in actions]
        helps = " and ".join(f"{command} {name} --help" for name in actions)
        print("usage: " + "\n       ".join(lines) + f"\n\n{helps} {'explains it' if len(actions) == 1 else 'explain them'}.")
        return
    if not arguments or arguments[0] not in actions:
        given = arguments[0] if arguments else ""
        raise UserError(unknown("action", given, actions) + f"; known: {', '.join(actions)}")
    actions[arguments[0]](arguments[1:])
