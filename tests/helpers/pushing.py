"""build_and_push.sh as a user runs it, and small images that stand for the trainer: they have Python, and a smoke test.

result = push("--image", images.build(content="1"), "--repository", "star-rating")
result.exit_code, result.stdout, result.stderr
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "scripts" / "build_and_push.sh"
PASSWORD = "123456789012-auth-token"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

DOCKERFILE = """
FROM {base}
LABEL distilbert-trainer=test org.opencontainers.image.version=1.2.3 org.opencontainers.image.revision={revision}
RUN ln -s python3.11 /usr/bin/python3 && printf '#!/bin/sh\\necho smoke: checks\\nexit {smoke}\\n' > /usr/bin/smoke \
 && chmod 755 /usr/bin/smoke
RUN head -c {random_bytes} /dev/urandom > /noise && echo {content} > /content
ENV PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["env"]
"""


@dataclass(frozen=True)
class Result:
    """How the script ended."""

    exit_code: int
    stdout: str
    stderr: str


def inspect(image: str) -> dict[str, Any]:
    """Return the engine's record of an image."""
    result = subprocess.run(["docker", "image", "inspect", image], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(result.stdout)[0]
    return found


def forget_registry(prefix: str) -> None:
    """Take the names away that images have got by being pushed to a registry."""
    listing = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"]
    names = subprocess.run(listing, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    ours = [name for name in names if name.startswith(prefix) and "<none>" not in name]
    if ours:
        subprocess.run(["docker", "image", "rm", *ours], check=True, stdout=subprocess.DEVNULL)


class Images:
    """Builds images on the trainer's own stage with Debian and Python."""

    def __init__(self) -> None:
        self.name = f"distilbert-trainer-test:{uuid.uuid4().hex[:12]}"
        self._base = f"{self.name}-base"
        self.names = [self._base]
        subprocess.run([REPOSITORY / "scripts" / "build_image.sh", self._base, "base"], check=True)

    def build(self, content: str, revision: str = COMMIT, smoke: int = 0, random_bytes: int = 0) -> str:
        """Return the id of an image with this content, whose smoke test exits with `smoke`."""
        return self._build(
            DOCKERFILE.format(
                base=self._base, revision=revision, smoke=smoke, content=content, random_bytes=random_bytes
            )
        )

    def again(self, image: str) -> str:
        """Return an image with the layers and settings of another, and another time of building."""
        return self._build(f'FROM {image}\nENTRYPOINT ["env"]\n', "--no-cache")

    def add(self, image: str, *commands: str) -> str:
        """Return an image with a layer more for each command."""
        return self._build("\n".join([f"FROM {image}", *(f"RUN {command}" for command in commands)]))

    def _build(self, dockerfile: str, *options: str) -> str:
        name = f"{self.name}-{len(self.names)}"
        command = ["docker", "build", "--quiet", *options, "--tag", name, "-"]
        subprocess.run(command, input=dockerfile, text=True, check=True)
        self.names.append(name)
        return name

    def forget(self, uri: str) -> None:
        """Take an image's names in a repository away; the engine then pulls it from there."""
        repository = uri.partition("@")[0]
        # With a repository's last tag goes its digest; one that was pulled by digest has no tag.
        tags = [name for name in inspect(uri)["RepoTags"] if name.startswith(repository)]
        subprocess.run(["docker", "image", "rm", *(tags or [uri])], check=True, stdout=subprocess.DEVNULL)

    def remove_all(self) -> None:
        subprocess.run(["docker", "image", "rm", *reversed(self.names)], check=True, stdout=subprocess.DEVNULL)


class Push:
    """Runs the script with an account on loopback and nothing else of this machine's AWS or Docker logins."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.output = folder / "output"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(self.temporary),
            "DOCKER_CONFIG": str(folder / "docker"),
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        }
        if "DOCKER_HOST" in os.environ:
            self.environment["DOCKER_HOST"] = os.environ["DOCKER_HOST"]

    def start(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        """Start the script in the background."""
        return subprocess.Popen(
            [SCRIPT, "--output", self.output, *options],
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self, process: subprocess.Popen[str]) -> Result:
        stdout, stderr = process.communicate(timeout=600)
        return Result(process.returncode, stdout, stderr)

    def log_in(self, uri: str) -> None:
        """Log in to an image's registry, as a user does; the engine's clients then pull from there."""
        command = ["docker", "login", "--username", "AWS", "--password-stdin", uri.partition("/")[0]]
        subprocess.run(command, env=self.environment, input=PASSWORD, text=True, check=True, capture_output=True)

    def pull(self, uri: str) -> None:
        """Pull an image as somebody who has logged in."""
        self.log_in(uri)
        subprocess.run(["docker", "pull", "--quiet", uri], env=self.environment, check=True, capture_output=True)

    def __call__(self, *options: str, **environment: str) -> Result:
        return self.wait(self.start(*options, **environment))


@dataclass(frozen=True)
class CutOff:
    """A push that is losing its registry."""

    push: Push
    image: str
    process: subprocess.Popen[str]
