"""A local SageMaker for tests: its clients, and requests for jobs that are a line of shell.

    job = sagemaker.run("echo loss=0.5")
    job["TrainingJobStatus"]

`image` is made of the base image: `train` runs what the job's environment has as SCRIPT, `rules` finds an issue as soon
as there is a tensor file named `bad`, or runs its parameter `hostile` where it would write statuses.json. `serve` runs
its environment's BEFORE, then answers each request with what was asked: method, path, types, the model's file
`weights`, body; the body `fail` is answered with 400.
"""

from __future__ import annotations

import functools
import io
import itertools
import tarfile
import time
from typing import Any

import boto3
import docker

from local_sagemaker.client import control
from local_sagemaker.server import LocalServer
from local_sagemaker.state import Server

BUCKET = "bucket"
IMAGE = "distilbert-trainer-local-test:job"
ROLE = "arn:aws:iam::123456789012:role/Local"

_DOCKERFILE = """\
FROM {base}
LABEL distilbert-trainer=local-test
COPY job.sh serve.pl /
ENTRYPOINT ["sh", "/job.sh"]
"""

_JOB = """\
if [ "$1" = train ]; then eval "$SCRIPT"; exit; fi
if [ "$1" = serve ]; then eval "$BEFORE"; exec perl /serve.pl; fi
# rules TENSORS --profiler DIR --config FILE --output FILE --rule-output DIR --follow
tensors=$2 output=$8 files=${10}
hostile=$(sed -n 's/.*"hostile": "\\([^"]*\\)".*/\\1/p' "$6")
if [ "$hostile" ]; then cd "${output%/*}"; eval "$hostile"; exit; fi
say() {
    printf '[{"RuleConfigurationName": "Rule", "RuleEvaluationStatus": "%s", "StatusDetails": "%s"}]' \\
        "$1" "$2" > "$output.new"
    mv "$output.new" "$output"
}
say InProgress ""
until [ -e "$tensors/training_job_end.ts" ]; do
    if [ -e "$tensors/bad" ]; then say IssuesFound "step 3"; fi
    sleep 0.1
done
mkdir -p "$files/Rule" && echo report > "$files/Rule/report.html"
if [ -e "$tensors/bad" ]; then say IssuesFound "step 3"; else say NoIssuesFound ""; fi
"""

_SERVE = r"""
use IO::Socket::INET;
$| = 1;
$SIG{TERM} = sub { print "drained\n"; exit 0 };
my $server = IO::Socket::INET->new(LocalPort => 8080, Listen => 64, ReuseAddr => 1) or die;
my $weights = `cat /opt/ml/model/weights 2>/dev/null`;
while (my $client = $server->accept) {
    my ($request, %header) = (scalar <$client>);
    while (defined(my $line = <$client>)) {
        last if $line =~ /^\r?$/;
        $header{lc $1} = $2 if $line =~ /^(.*?): (.*?)\r?$/;
    }
    my $body = "";
    read $client, $body, $header{"content-length"} if $header{"content-length"};
    my ($method, $path) = split / /, $request;
    my $status = $body eq "fail" ? "400 Bad Request" : "200 OK";
    my $answer = "$method $path $header{'content-type'} $header{accept} $weights$body";
    if ($path eq "/ping") { $answer = "" } else { print "$method $path ", length $body, "\n" }
    if ($header{"content-type"} eq "application/json") {
        $answer = '{"predictions": [{"stars": 1, "probabilities": {"1": 0.75, "2": 0.25}, "truncated": false}]}';
    }
    if ($path eq "/execution-parameters") { $answer = $ENV{PARAMETERS} || "{}" }
    if ($ENV{SAGEMAKER_BATCH} && $path eq "/invocations") { $answer = uc $body; $answer =~ s/\n$// }
    print $client "HTTP/1.1 $status\r\nContent-Type: text/plain\r\nContent-Length: ", length $answer,
        "\r\nX-Amzn-SageMaker-Custom-Attributes: seen\r\nConnection: close\r\n\r\n$answer";
    close $client;
}
"""

_numbers = itertools.count(1)


class LocalSageMaker:
    """The clients of one server."""

    def __init__(self, server: LocalServer | Server) -> None:
        self.address = server.address
        self.page = server.page
        self.token = server.token

    @functools.cache  # noqa: B019 - as long as the server
    def client(self, service: str, region: str = "us-east-1") -> Any:
        return boto3.client(
            service,
            endpoint_url=self.address,
            region_name=region,
            aws_access_key_id=self.token,
            aws_secret_access_key=self.token,
        )

    def request(self, script: str = "true", **fields: Any) -> dict[str, Any]:
        """Return a job's request; a field that is given stands above the usual one."""
        name = f"job-{next(_numbers)}-{time.time_ns() // 1_000_000}"
        return {
            "TrainingJobName": name,
            "RoleArn": ROLE,
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
            },
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/output"},
            "ResourceConfig": {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 900},
            "EnableNetworkIsolation": True,
            "Environment": {"SCRIPT": script},
        } | fields

    def create(self, script: str = "true", **fields: Any) -> str:
        request = self.request(script, **fields)
        self.client("sagemaker").create_training_job(**request)
        return str(request["TrainingJobName"])

    def run(self, script: str = "true", **fields: Any) -> dict[str, Any]:
        """Run a job to its end and return its description."""
        return self.wait(self.create(script, **fields))

    def describe(self, name: str) -> dict[str, Any]:
        description: dict[str, Any] = self.client("sagemaker").describe_training_job(TrainingJobName=name)
        return description

    def wait(self, name: str, timeout: float = 240.0) -> dict[str, Any]:
        """Wait for a job's end."""
        return self.wait_until(name, lambda job: job["TrainingJobStatus"] not in ("InProgress", "Stopping"), timeout)

    def wait_for(self, name: str, text: str, timeout: float = 240.0) -> None:
        """Wait for a line of a job's log."""
        self.wait_until(name, lambda _: any(text in line for line in self.lines(name)), timeout)

    def wait_until(self, name: str, condition: Any, timeout: float = 240.0) -> dict[str, Any]:
        give_up = time.monotonic() + timeout
        while not condition(description := self.describe(name)):
            assert time.monotonic() < give_up, f"{name} is {description}"
            time.sleep(0.05)
        return description

    def streams(self, name: str, group: str = "/aws/sagemaker/TrainingJobs") -> dict[str, list[str]]:
        """Return host -> lines, of all attempts."""
        logs = self.client("logs")
        lines: dict[str, list[str]] = {}
        groups = {entry["logGroupName"] for entry in logs.describe_log_groups()["logGroups"]}
        if group not in groups:
            return {}
        for stream in logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]:
            host = stream["logStreamName"].rpartition("/")[2].rpartition("-")[0]
            events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)[
                "events"
            ]
            lines[host] = [*lines.get(host, []), *(event["message"] for event in events)]
        return lines

    def lines(self, name: str) -> list[str]:
        return [line for of_host in self.streams(name).values() for line in of_host]

    def put(self, key: str, content: bytes | str = b"") -> None:
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=content)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def read(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        content: bytes = self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def archive(self, uri: str) -> dict[str, bytes]:
        """Return name -> content of a tar.gz's files."""
        with tarfile.open(fileobj=io.BytesIO(self.read(uri))) as tar:
            found = ((member.name, tar.extractfile(member)) for member in tar if member.isfile())
            return {name: file.read() for name, file in found if file is not None}


def channel(name: str, prefix: str, *, sharded: bool = False, kind: str = "S3Prefix", **fields: Any) -> dict[str, Any]:
    """Return a channel of the test's bucket."""
    source = {
        "S3DataType": kind,
        "S3Uri": f"s3://{BUCKET}/{prefix}",
        "S3DataDistributionType": "ShardedByS3Key" if sharded else "FullyReplicated",
    }
    attributes = {"AttributeNames": fields.pop("AttributeNames")} if "AttributeNames" in fields else {}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source | attributes}} | fields


def hosts(count: int) -> dict[str, Any]:
    """Return a ResourceConfig."""
    return {"InstanceType": "ml.c5.xlarge", "InstanceCount": count, "VolumeSizeInGB": 1}


def ask(sagemaker: LocalSageMaker, path: str, body: dict[str, object]) -> None:
    """Ask the control API for something."""
    control(Server(0, int(sagemaker.address.rpartition(":")[2]), sagemaker.token), "POST", path, body)


def build_image(base: str) -> None:
    """Make the image of the tests' jobs."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, text in (("Dockerfile", _DOCKERFILE.format(base=base)), ("job.sh", _JOB), ("serve.pl", _SERVE)):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    context.seek(0)
    engine = docker.from_env()
    engine.images.build(fileobj=context, custom_context=True, tag=IMAGE, rm=True)
    engine.close()
