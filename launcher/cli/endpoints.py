"""Commands that serve a training job's model: deploy, predict, delete-endpoint, transform."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from launcher.cli import options
from launcher.errors import UsageError
from launcher.request.hosting import TRANSFORM_INSTANCE, Instances, Serverless
from launcher.terminal import Output, Terminal

if TYPE_CHECKING:
    from launcher.aws.endpoint import Endpoint
    from launcher.aws.session import Session

_NAME = 63
"""Characters of an endpoint's name."""


@click.command()
@options.job_name
@options.region
@options.local
@click.option("--endpoint-name", help="Name of endpoint, configuration and model; by default the job's.")
@click.option("--instance-type", default=Instances.instance_type, show_default=True, help="Of a real-time endpoint.")
@click.option("--serverless", is_flag=True, help="A serverless endpoint instead: no instance, billed by the request.")
@click.option(
    "--memory", type=int, default=Serverless.memory_size_in_mb, show_default=True, help="MB of a serverless endpoint."
)
@click.option(
    "--max-concurrency",
    type=int,
    default=Serverless.max_concurrency,
    show_default=True,
    help="Of a serverless endpoint.",
)
@click.option(
    "--dry-run", "only_show", is_flag=True, help="Describe the job, print the three requests; create nothing."
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the endpoint serves.")
@options.timeout
@options.poll_interval
@options.output
def deploy(  # noqa: PLR0913 - one an option
    job: str,
    region: str | None,
    session: Session,
    *,
    endpoint_name: str | None,
    instance_type: str,
    serverless: bool,
    memory: int,
    max_concurrency: int,
    only_show: bool,
    wait: bool,
    timeout: float | None,
    poll_interval: float,
    output: Output,
) -> None:
    """Serve a job's model: model, endpoint configuration, endpoint."""
    from launcher.aws.endpoint import Endpoint
    from launcher.aws.training_job import TrainingJob
    from launcher.request.hosting import hosting_requests

    terminal = Terminal(output)
    training_job = TrainingJob.attach(job, region, session=session)
    name = endpoint_name or training_job.name[:_NAME]
    capacity = Serverless(memory, max_concurrency) if serverless else Instances(instance_type)
    requests = hosting_requests(training_job.describe(), name, capacity)
    if only_show:
        terminal.document(requests)
        return
    terminal.say(f"cost {capacity.cost(training_job.region)}")
    endpoint = Endpoint(name, training_job.region, session=session)
    endpoint.create(requests)
    if wait:
        endpoint.wait(timeout=timeout, poll_interval=poll_interval, say=terminal.progress)
    terminal.record({"endpoint": name, "status": endpoint.describe()["EndpointStatus"]})
    terminal.say(f"next: {session.cli_hint(f'predict {name} TEXT')}")
    terminal.say(f"next: {session.cli_hint(f'delete-endpoint {name}')}")


@click.command()
@click.argument("endpoint")
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@options.region
@options.local
@options.output
def predict(endpoint: str, texts: tuple[str, ...], region: str | None, session: Session, output: Output) -> None:
    """Predict the stars of reviews by an endpoint."""
    predictions = _endpoint(endpoint, region, session).predict(texts)
    rows = [
        {
            "stars": prediction.get("stars"),
            "probability": max(prediction.get("probabilities", {}).values(), default=None),
            "truncated": prediction.get("truncated"),
            "review": text,
        }
        for text, prediction in zip(texts, predictions, strict=False)
    ]
    Terminal(output).rows(rows)


@click.command("delete-endpoint")
@click.argument("endpoint")
@options.region
@options.local
def delete_endpoint(endpoint: str, region: str | None, session: Session) -> None:
    """Delete an endpoint, its configuration and its model."""
    _endpoint(endpoint, region, session).delete()
    Terminal().say(f"{endpoint} is being deleted")


@click.command()
@options.job_name
@click.argument("s3_input")
@click.argument("s3_output")
@options.region
@options.local
@click.option("--job-name", "name", help="Name of the transform job; by default the training job's and the time.")
@click.option("--instance-type", default=TRANSFORM_INSTANCE, show_default=True, help="Of the transform job.")
@click.option("--dry-run", "only_show", is_flag=True, help="Describe the job, print the requests; create nothing.")
@options.timeout
@options.poll_interval
def transform(  # noqa: PLR0913 - one an option
    job: str,
    s3_input: str,
    s3_output: str,
    region: str | None,
    session: Session,
    *,
    name: str | None,
    instance_type: str,
    only_show: bool,
    timeout: float | None,
    poll_interval: float,
) -> None:
    """Predict reviews in S3, one per line, by a batch transform job."""
    from launcher.aws.endpoint import transform as run
    from launcher.aws.training_job import TrainingJob
    from launcher.request.hosting import cost_per_hour, transform_requests
    from launcher.request.training import new_job_name

    terminal = Terminal()
    training_job = TrainingJob.attach(job, region, session=session)
    requests = transform_requests(
        training_job.describe(), name or new_job_name(training_job.name), s3_input, s3_output, instance_type
    )
    if only_show:
        terminal.document(requests)
        return
    terminal.say(f"cost {cost_per_hour(training_job.region, instance_type)}, while it runs")
    run(
        requests,
        training_job.region,
        session=session,
        timeout=timeout,
        poll_interval=poll_interval,
        say=terminal.progress,
    )
    terminal.say(f"{requests['CreateTransformJob']['TransformJobName']} Completed: predictions below {s3_output}")


def _endpoint(name: str, region: str | None, session: Session) -> Endpoint:
    from launcher.aws.endpoint import Endpoint

    found = region or session.region
    if found is None:
        raise UsageError("no region is set; add --region, or set AWS_REGION")
    return Endpoint(name, found, session=session)


COMMANDS = (deploy, predict, delete_endpoint, transform)
