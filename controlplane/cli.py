"""The `flowgate` command. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from flowgate.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, Broken, FlowgateError, Invalid, NotFound, Unreachable

Json = dict[str, Any]
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Flowgate: find telemetry nobody reads.")


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]
DataOption = Annotated[Path, typer.Option("--data", help="Data folder.")]
DATA = Path("flowgate-data")


def main() -> None:
    """Runs the command; every error of ours is one sentence and an exit code of CONTRACTS."""
    try:
        code = app(standalone_mode=False)
    except FlowgateError as error:
        print(error, file=sys.stderr)
        for problem in error.problems if isinstance(error, Invalid) else ():
            print(f"  {problem.path}: {problem.message}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        sys.exit(EXIT_USAGE)
    sys.exit(code if isinstance(code, int) else EXIT_DONE)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Run, check, exit: 0 only if every check held.")] = False,
    gateways: Annotated[int, typer.Option(min=1, max=20, help="Gateways in all.")] = 1,
    data: DataOption = DATA,
) -> None:
    """The whole loop on real processes: measure, analyse, deploy, measure again."""
    from controlplane.demo import main as run

    raise typer.Exit(run(once, gateways, data))


@app.command()
def api() -> None:
    """The control plane: API and OpAMP. Settings come from FLOWGATE_… (see `docs/commands.md`)."""
    from controlplane.app import serve
    from controlplane.settings import Settings

    raise typer.Exit(serve(Settings()))


@app.command()
def up() -> None:
    """Control plane and tap together, without demo data."""
    from controlplane.app import make_folder, serve
    from controlplane.processes import Children, python, says_ready, wait_until
    from controlplane.settings import Settings

    settings = Settings()
    logs = settings.data / "logs"
    make_folder(logs)
    tokens = settings.data / "tap-tokens.json"
    with Children(logs) as children:
        tap = children.start("tap", python("-m", "ingest", "--data", str(settings.segment_root), "--tokens", str(tokens)))
        wait_until("the tap", lambda: says_ready(tap), 30, tap)
        raise typer.Exit(serve(settings))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def tap(context: typer.Context) -> None:
    """The tap alone: OTLP in, sealed segments out."""
    from ingest.__main__ import main as run

    raise typer.Exit(run(context.args))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def advise(context: typer.Context) -> None:
    """Advice from segments and usage documents, with no server running."""
    from analyzer.__main__ import main as run
    from controlplane.advice import elsewhere_json, unable

    raise typer.Exit(run(context.args, unable, elsewhere_json))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def usage(context: typer.Context) -> None:
    """What dashboards, rules and query logs read: metrics, labels, and what could not be read. No server needed."""
    from analyzer.command import main as run

    raise typer.Exit(run(context.args))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def price(context: typer.Context) -> None:
    """What a destination charges: `check` a price book, its `bill` for segments or totals, `list` those that are shipped."""
    from controlplane.price import main as run

    raise typer.Exit(run(context.args))


class Benchmark(StrEnum):
    DECODE = "decode"
    TAP = "tap"
    STORE = "store"
    USAGE = "usage"
    ADVISE = "advise"


@app.command()
def bench(name: Benchmark, output: OutputOption = Output.JSON) -> None:
    """Measures this machine, from a checkout: figures and bars as JSON on stdout, progress on stderr."""
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / "bench" / f"{name.value}.py").is_file():
        raise Unreachable("benchmarks run from a checkout, which this is not")
    done = subprocess.run([sys.executable, "-m", f"bench.{name.value}"], cwd=checkout, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Broken(f"the benchmark {name.value} did not finish")
    if output is Output.JSON:
        sys.stdout.write(done.stdout)
    else:
        _print(json.loads(done.stdout)["bars"], output)


@app.command()
def sql(query: str, data: DataOption = DATA, output: OutputOption = Output.TABLE) -> None:
    """SQL over the sealed segments: views points, series, kv, series_kv, logs, log_counts, spans, span_counts, segments."""
    import duckdb

    from analyzer import open_tap

    try:
        result = open_tap(data).execute(query)
    except duckdb.Error as error:
        raise Invalid(str(error).splitlines()[0]) from None
    columns = [c[0] for c in result.description or []]
    _print([dict(zip(columns, row, strict=True)) for row in result.fetchall()], output)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def render(context: typer.Context) -> None:
    """Prints the configuration that runs a base with some actions."""
    from controlplane.configs import render_main as run

    raise typer.Exit(run(context.args))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def check(context: typer.Context) -> None:
    """Checks a Collector configuration, and actions on it: structure and policy, then the gateway's own binary. 1 when it is refused."""
    from controlplane.configs import check_main as run

    raise typer.Exit(run(context.args))


class Noun(StrEnum):
    GATEWAYS = "gateways"
    TEMPLATES = "templates"
    DEPLOYMENTS = "deployments"
    ANALYSES = "analyses"
    SAVINGS = "savings"
    USAGE = "usage"
    SOURCES = "sources"


@app.command()
def get(noun: Noun, data: DataOption = DATA, output: OutputOption = Output.TABLE) -> None:
    """Lists things over the API (FLOWGATE_API, FLOWGATE_TOKEN; default: the local one)."""
    import httpx

    base = os.environ.get("FLOWGATE_API", "http://127.0.0.1:8000")
    try:
        answer = httpx.get(f"{base}/api/v1/{noun}", headers={"authorization": f"Bearer {_token(data)}"}, timeout=30.0)
    except httpx.TransportError as error:
        raise Unreachable(f"{base} does not answer: {error}") from None
    body: Json = answer.json()
    if answer.is_error:
        raise Invalid(str(body.get("detail")))
    _print(body["items"], output)


@app.command()
def dashboards(data: DataOption = DATA, port: int = 8501) -> None:
    """The cost page, over the API."""
    import shutil

    page = Path(__file__).resolve().parents[1] / "dashboards" / "app.py"
    if shutil.which("streamlit", path=str(Path(sys.executable).parent)) is None:
        raise NotFound("streamlit is not installed: install flowgate-gateway[dashboards]")
    os.environ.setdefault("FLOWGATE_TOKEN", _token(data))
    args = ["-m", "streamlit", "run", str(page), "--server.headless=true", "--server.address=127.0.0.1"]
    os.execv(sys.executable, [sys.executable, *args, f"--server.port={port}", "--browser.gatherUsageStats=false"])


@app.command()
def openapi() -> None:
    """Prints the API's OpenAPI document."""
    from controlplane.api.document import document

    json.dump(document(), sys.stdout, indent=2)
    print()


def _token(data: Path) -> str:
    token = os.environ.get("FLOWGATE_TOKEN")
    if token:
        return token
    try:
        return (data / "admin-token").read_text().strip()
    except OSError:
        raise NotFound(f"no token: set FLOWGATE_TOKEN, or name the data folder (looked in {data})") from None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"{path} cannot be read: {error}") from None


def _print(rows: list[Json], output: Output) -> None:
    if output is Output.JSON:
        json.dump(rows, sys.stdout, indent=2, default=str)
        print()
        return
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    table = Table(*[str(c) for c in rows[0]])
    for row in rows:
        table.add_row(*[str(v) for v in row.values()])
    Console().print(table)
