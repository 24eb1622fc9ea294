"""Commands for SageMaker on this machine: start, stop, status, ui, put, interrupt, lose-host, fault, faults."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli import options
from launcher.errors import LauncherError, UsageError
from launcher.terminal import Output, Terminal

if TYPE_CHECKING:
    from launcher.aws.session import Session
    from local_sagemaker.state import Server, State

_state = click.option(
    "--state",
    "folder",
    type=click.Path(path_type=Path),
    help="State folder; by default LOCAL_SAGEMAKER_STATE, then one beside the launcher's records.",
)
_after = click.option(
    "--after",
    "after",
    metavar="SECONDS[..SECONDS]",
    default="0",
    show_default=True,
    help="When, in seconds from now or from the start of training; with two numbers, a random moment between them.",
)


def local_session(folder: Path | None = None, *, start: bool = True) -> Session:
    """Return the session of a state folder's server, started if none runs; without `start` it reaches nothing."""
    from launcher.aws.session import Session, region_of_environment
    from local_sagemaker.client import ensure_server
    from local_sagemaker.state import REGION

    state = _state_of(folder)
    server = ensure_server(state) if start else None
    return Session(
        endpoint_url=server.address if server else "http://127.0.0.1:9",
        access_key=server.token if server else None,
        region=region_of_environment() or REGION,
        records_dir=state.folder / "records",
    )


def running_account() -> str:
    """Return whether the local SageMaker's account is new to Debugger, or old."""
    from local_sagemaker.state import account_of_environment

    server = _state_of(None).running_server()
    return server.account if server else account_of_environment() or "old"


def use_local(folder: str | Path | None = None) -> Session:
    """Return the session of the local SageMaker, to be handed to TrainingJob and ProcessingJob.

    Its server is started if none runs. `folder` is its state folder.
    """
    return local_session(Path(folder) if folder else None)


def is_emulator_error(error: Exception) -> bool:
    """Tell whether an exception is the emulator's own, without importing what it has not imported."""
    errors = sys.modules.get("local_sagemaker.errors")
    return errors is not None and isinstance(error, errors.EmulatorError)


def interrupt_later(request: dict[str, Any], after: str, session: Session) -> None:
    """Interrupt a spot job once, so many seconds after training has started."""
    if not session.is_local:
        raise UsageError("--interrupt-after needs --local: SageMaker itself interrupts when it likes")
    if not request.get("EnableManagedSpotTraining"):
        raise UsageError("--interrupt-after needs a spot job: --set compute.enable_managed_spot_training=true")
    from local_sagemaker.client import control, ensure_server

    fault = {"kind": "interrupt", "job": request["TrainingJobName"], "after": seconds_range(after)}
    control(ensure_server(_state_of(None)), "POST", "faults", fault)


@click.group(short_help="SageMaker on this machine's Docker engine.")
def local() -> None:
    """SageMaker on this machine: the same requests, the same image, the same API, jobs as Docker containers.

    \b
    launcher local put data/reviews.tsv s3://my-bucket/reviews/
    launcher train --local --file jobs/local.toml
    launcher local interrupt latest             # what does my job do when its spot host is reclaimed?

    Every other command takes --local as well. boto3, the AWS CLI and AWS's SDK need AWS_ENDPOINT_URL and an access
    key, which `launcher local start` prints to be exported.
    """  # noqa: D301 - click wants the character itself


@local.command()
@_state
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on loopback; by default any that is free.")
@click.option("--jobs", type=click.IntRange(min=1), help="Jobs that run at once; by default half as many as cores.")
@click.option("--cpus-per-host", type=options.Number(min=0.01), help="Cores that each host may use.")
@click.option("--memory-per-host", metavar="SIZE", help="Memory that each host may use: 4g, 512m.")
@click.option(
    "--account",
    type=click.Choice(["new", "old"]),
    help="new: Debugger and Profiler are refused, as AWS refuses them to accounts that did not use Debugger before "
    "2026-07-30. By default LOCAL_SAGEMAKER_ACCOUNT, then old.",
)
def start(
    folder: Path | None,
    *,
    port: int,
    jobs: int | None,
    cpus_per_host: float | None,
    memory_per_host: str | None,
    account: str | None,
) -> None:
    """Start the server if none runs; --local does so by itself."""
    from local_sagemaker.client import start_server

    state = _state_of(folder)
    running = state.running_server()
    settings = {
        "--port": port,
        "--jobs": jobs,
        "--cpus-per-host": cpus_per_host,
        "--memory-per-host": None if memory_per_host is None else _bytes(memory_per_host),
        "--account": account,
    }
    if running is not None:
        # Its variables again, as whoever evals them expects: without them the next command would go to AWS.
        changed = [name for name, value in settings.items() if value not in (None, 0)]
        if changed:
            hint = "end it first: launcher local stop"
            raise UsageError(f"a server runs on {state.folder} already, and keeps its {', '.join(changed)}; {hint}")
        _say_address(running, state)
        return
    arguments = [text for name, value in settings.items() if value is not None for text in (name, str(value))]
    _say_address(start_server(state, arguments), state)


@local.command()
@_state
@click.option("--force", is_flag=True, help="End it although jobs run: they fail, saying why.")
def stop(folder: Path | None, *, force: bool) -> None:
    """End the server, and remove what a killed one has left on the engine."""
    from local_sagemaker.client import control, stop_server

    state, terminal = _state_of(folder), Terminal()
    server = state.running_server()
    running = control(server, "GET", "status")["not_ended"] if server else []
    if running and not force:
        raise LauncherError(f"{', '.join(running)} would fail; wait, stop them, or end the server with --force")
    if stop_server(state):
        terminal.say("ended; jobs, objects and logs are kept in " + str(state.folder))
    else:
        _remove_leftovers(state)
        terminal.say(f"no server runs on {state.folder}, and nothing of it is left on the engine")


@local.command()
@_state
@options.output
def status(folder: Path | None, output: Output) -> None:
    """Show the server's address and its jobs."""
    from local_sagemaker.client import control

    state = _state_of(folder)
    server = state.running_server()
    rows: dict[str, Any] = {"state": str(state.folder), "server": "does not run"}
    if server is not None:
        known = control(server, "GET", "status")
        rows |= {"server": f"process {server.pid}", **server.exports, "page": server.page, "account": server.account}
        rows |= {"jobs": known["jobs"], "running": ", ".join(known["not_ended"]), "faults": known["faults"]}
        rows |= {"damaged": "; ".join(known["damaged"])} if known["damaged"] else {}
    Terminal(output).record(rows)


@local.command()
@_state
def ui(folder: Path | None) -> None:
    """Open the page: jobs with status, log, charts, rules, artifacts."""
    from local_sagemaker.client import ensure_server

    state = _state_of(folder)
    server = ensure_server(state)
    click.launch(str(state.write_way_to_page(server)))
    Terminal().line(server.page)


@local.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("target", metavar="S3_URI")
@_state
def put(source: Path, target: str, folder: Path | None) -> None:
    """Put a file, or a folder with all that is in it, into the local S3; the bucket is made if it is not there."""
    count, size = _upload(source, target, local_session(folder))
    Terminal().say(f"{target}: {count} file{'s' * (count != 1)}, {size:,} bytes")


@local.command()
@options.job_name
@_after
@_state
def interrupt(job: str, after: str, folder: Path | None) -> None:
    """Interrupt a spot job: SIGTERM, two minutes, empty disks, a restart from its checkpoint."""
    _tell(job, folder, "interrupt", {"after": _moment(after)})


@local.command(name="lose-host")
@options.job_name
@click.option("--host", default="algo-1", show_default=True)
@_after
@_state
def lose_host(job: str, host: str, after: str, folder: Path | None) -> None:
    """Lose one host: its container is killed, its disk is gone; retry_strategy restarts the job."""
    _tell(job, folder, "lose-host", {"host": host, "after": _moment(after)})


@local.command()
@click.argument("kind", type=click.Choice(["interrupt", "lose-host", "capacity", "download", "api"]))
@click.option("--job", help="Only for this job; by default for the next one.")
@click.option("--times", type=click.IntRange(min=1), help="How often it happens.")
@click.option("--after", metavar="SECONDS[..SECONDS]", help="interrupt, lose-host: seconds of training.")
@click.option("--host", help="lose-host: which one.")
@click.option("--seconds", type=options.Number(min=0), help="capacity: how long there is none; else there never is.")
@click.option("--bytes-per-second", type=options.Number(min=1), help="download: how slow it is.")
@click.option("--fail-at", type=click.IntRange(min=1), help="download: number of the object that cannot be read.")
@click.option("--operation", help="api: which one, CreateTrainingJob for example; by default any.")
@click.option("--code", help="api: the error's code; by default ThrottlingException.")
@_state
def fault(kind: str, after: str | None, folder: Path | None, **fields: object) -> None:
    """Inject a fault: `fault interrupt --after 5..20 --times 4` interrupts a spot job four times."""
    from local_sagemaker.client import control, ensure_server

    body = {"kind": kind} | {name: value for name, value in fields.items() if value is not None}
    if after is not None:
        body["after"] = seconds_range(after)
    control(ensure_server(_state_of(folder)), "POST", "faults", body)


@local.command()
@click.option("--clear", is_flag=True, help="Remove all of them.")
@_state
@options.output
def faults(folder: Path | None, output: Output, *, clear: bool) -> None:
    """List the faults that are still to happen."""
    from local_sagemaker.client import control, ensure_server

    server = ensure_server(_state_of(folder))
    if clear:
        control(server, "DELETE", "faults")
    Terminal(output).rows(control(server, "GET", "faults"))


def _tell(job: str, folder: Path | None, what: str, body: dict[str, object]) -> None:
    from launcher.aws.training_job import find
    from local_sagemaker.client import control, ensure_server
    from local_sagemaker.state import job_key

    session = local_session(folder)
    name, region = find(job, None, session)
    control(ensure_server(_state_of(folder)), "POST", f"jobs/training/{job_key(name, region)}/{what}", body)
    Terminal().say(f"next: {session.cli_hint(f'attach {name}')}")


def _upload(source: Path, target: str, session: Session) -> tuple[int, int]:
    """Put a file, or what is in a folder, below an S3 URI; return how many files and bytes."""
    from launcher.aws.errors import translating_aws_errors

    match = re.fullmatch(r"s3://([^/]+)(?:/(.*))?", target)
    if match is None:
        raise UsageError(f"{target} is no S3 URI: write s3://bucket/folder/")
    bucket, key = match[1], match[2] or ""
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    with translating_aws_errors(f"put {source}"):
        s3 = session.client("s3")
        if bucket not in {entry["Name"] for entry in s3.list_buckets()["Buckets"]}:
            region = s3.meta.region_name
            # S3 takes its first region as the one that nobody names.
            where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            s3.create_bucket(Bucket=bucket, **where)
        for path in files:
            s3.upload_file(str(path), bucket, _key(path, source, key))
    return len(files), sum(path.stat().st_size for path in files)


def _key(path: Path, source: Path, key: str) -> str:
    if source.is_dir():
        prefix = f"{key.rstrip('/')}/" if key else ""
        return f"{prefix}{path.relative_to(source).as_posix()}"
    return f"{key}{path.name}" if not key or key.endswith("/") else key


def _state_of(folder: Path | None) -> State:
    from local_sagemaker.state import State, default_folder

    return State(folder or default_folder())


def _say_address(server: Server, state: State) -> None:
    from local_sagemaker.client import past_proxies, region_of

    terminal = Terminal()
    terminal.say(f"the local SageMaker of {state.folder} runs; its page is {server.page}")
    region = region_of(os.environ)
    # boto3 and the CLI read the first of the two regions, the other SDKs the second.
    exports = server.exports | {"AWS_DEFAULT_REGION": region, "AWS_REGION": region} | past_proxies(os.environ)
    for name, value in exports.items():
        terminal.line(f"export {name}={shlex.quote(value)}")


def _remove_leftovers(state: State) -> None:
    from local_sagemaker.docker_client.engine import Engine

    Engine(state.identity).remove_everything()


def _moment(text: str) -> float:
    import random

    return random.uniform(*seconds_range(text))  # noqa: S311 - no secret


def seconds_range(text: str) -> tuple[float, float]:
    """Return the two ends of `5..20`, or of `20`; raise UsageError."""
    first, dots, last = text.partition("..")
    try:
        return float(first), float(last if dots else first)
    except ValueError:
        raise UsageError(f"{text!r} is no time: write seconds, 20, or two, 5..20") from None


def _bytes(text: str) -> int:
    units: dict[str, int] = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    factor = units.get(text[-1:].lower())
    try:
        return int(float(text[:-1] if factor else text) * (factor or 1))
    except ValueError:
        raise UsageError(f"--memory-per-host {text}: write 4g, 512m or a number of bytes") from None
