"""`flowgate render` and `flowgate check`: configurations from actions, and what is wrong with them. No server needed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from controlplane.check import GATEWAY, Catalogue, Protected, catalogue_of, check_actions, check_config
from controlplane.check.actions import Need
from controlplane.collector import Collector
from controlplane.render import render
from controlplane.settings import Settings
from controlplane.yaml import children
from flowgate.action_shapes import action_from_json
from flowgate.actions import Action
from flowgate.errors import EXIT_DONE, EXIT_NO, Invalid, NotFound, Problem
from flowgate.usage import EVERY_LABEL, LabelSet, all_except, only

# --- render --------------------------------------------------------------------------------------------------------------------


def render_main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="flowgate render", description="Prints the configuration that runs a base with some actions.")
    parser.add_argument("--base", type=Path, required=True, metavar="FILE", help="a Collector configuration")
    parser.add_argument("--actions", type=Path, required=True, metavar="FILE", help="JSON list of actions")
    parser.add_argument("--output", "-o", choices=["yaml", "json"], default="yaml", help="json: the bundle and its hash")
    args = parser.parse_args(argv)
    bundle = render(_read(args.base), actions_in(_read(args.actions), str(args.actions)))
    if args.output == "yaml":
        sys.stdout.write(bundle.files[0].body.decode())
    else:
        files = [{"name": f.name, "content_type": f.content_type, "body": f.body.decode()} for f in bundle.files]
        _json({"hash": bundle.hash.hex(), "files": files})
    return EXIT_DONE


def actions_in(text: str, name: str = "actions") -> list[Action]:
    """A JSON list of actions; `Invalid` names the place that is wrong."""
    listed = _parsed(text, name)
    if not isinstance(listed, list) or not all(isinstance(a, dict) for a in listed):
        raise Invalid(f"{name} is not a JSON list of actions")
    return [action_from_json(a, f"actions/{k}") for k, a in children(listed)]


# --- check ---------------------------------------------------------------------------------------------------------------------


def check_main(argv: Sequence[str] | None = None) -> int:
    args = _check_arguments().parse_args(argv)
    config = _read(args.file)
    catalogue = GATEWAY if args.catalogue is None else catalogue_of(_read(args.catalogue))
    actions = None if args.actions is None else actions_in(_read(args.actions), str(args.actions))
    protected = {} if args.protected is None else protected_in(_read(args.protected), str(args.protected))
    problems, judged = judge(config, actions, protected, catalogue)
    if not problems and catalogue == GATEWAY:
        collector = Collector(Settings().collector)
        problems, by = collector.validate(judged.encode()), collector.version()
    else:
        by = None
    _print(problems, by, args.output)
    return EXIT_NO if problems else EXIT_DONE


def _check_arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flowgate check",
        description="Checks a Collector configuration: structure and policy, then the gateway's own binary. Exit 1 when it is refused.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a Collector configuration")
    parser.add_argument(
        "--actions", type=Path, metavar="FILE", help="JSON list of actions: they, and FILE rendered with them, are checked too"
    )
    parser.add_argument(
        "--protected", type=Path, metavar="FILE",
        help='JSON of what is read: a list of OTLP metric names, or {"name": {"labels": {"only": […]} or {"all_except": […]}, "bounds": […]}}',
    )  # fmt: skip
    parser.add_argument(
        "--catalogue",
        type=Path,
        metavar="FILE",
        help="builder's manifest of the target; default: the gateway's build, which then also judges",
    )
    parser.add_argument("--output", "-o", choices=["table", "json"], default="table")
    return parser


def judge(config: str, actions: Sequence[Action] | None, protected: Protected, catalogue: Catalogue) -> tuple[list[Problem], str]:
    """What is wrong without asking the binary, and the configuration to ask it about."""
    problems = check_config(config, catalogue)
    if problems or actions is None:
        return problems, config
    problems = check_actions(actions, protected, catalogue)
    if problems:
        return problems, config
    try:
        rendered = render(config, actions).files[0].body.decode()
    except Invalid as error:
        return list(error.problems) or [Problem("actions", str(error))], config
    return check_config(rendered, catalogue), rendered


def protected_in(text: str, name: str = "protected") -> Protected:
    """Names, or what is needed of each; `Invalid` names the place that is wrong."""
    value = _parsed(text, name)
    if isinstance(value, list):
        if not all(isinstance(n, str) for _, n in children(value)):
            raise Invalid(f"{name} is not a list of names")
        return frozenset(str(n) for _, n in children(value))
    if not isinstance(value, dict):
        raise Invalid(f"{name} is neither a list of names nor a mapping")
    return {str(metric): _need(need, f"protected/{metric}") for metric, need in children(value)}


def _need(value: Any, path: str) -> Need:
    given = dict(children(value))
    if not isinstance(value, dict) or not set(given) <= {"labels", "bounds"}:
        raise Invalid("bad need", (Problem(path, "labels and bounds, both optional"),))
    bounds = given.get("bounds")
    numbers = [b for _, b in children(bounds) if isinstance(b, int | float) and not isinstance(b, bool)]
    if bounds is not None and (not isinstance(bounds, list) or len(numbers) != len(children(bounds))):
        raise Invalid("bad need", (Problem(f"{path}/bounds", "a list of numbers"),))
    return Need(_labels(given.get("labels"), f"{path}/labels"), None if bounds is None else frozenset(map(float, numbers)))


def _labels(value: Any, path: str) -> LabelSet:
    if value is None:
        return EVERY_LABEL
    match list(children(value)):
        case [("only" | "all_except" as word, list() as names)] if all(isinstance(n, str) for _, n in children(names)):
            made = {"only": only, "all_except": all_except}[word]
            return made(*(str(n) for _, n in children(names)))
        case _:
            raise Invalid("bad need", (Problem(path, '{"only": […]} or {"all_except": […]}'),))


# --- shared ----------------------------------------------------------------------------------------------------------------------


def _print(problems: Sequence[Problem], by: str | None, output: str) -> None:
    if output == "json":
        listed = [{"path": p.path, "message": p.message} for p in problems]
        _json({"valid": not problems, "validated_by": by, "problems": listed})
        return
    if not problems:
        sys.stdout.write(f"accepted by {by}\n" if by else "accepted; not shown to a binary, since none of that build is here\n")
        return
    table = Table("path", "message")
    for problem in problems:
        table.add_row(Text(problem.path), Text(problem.message))
    Console().print(table)


def _parsed(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{name} is not JSON: {error}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"{path} cannot be read: {error}") from None


def _json(value: Mapping[str, Any]) -> None:
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")
