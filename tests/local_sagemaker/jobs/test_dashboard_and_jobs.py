"""The page's buttons on jobs that run: Chromium clicks, containers obey."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.browser import Browser, chromium
from tests.helpers.emulator import BUCKET, LocalSageMaker

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not shutil.which("chromedriver"), reason="scripts/browser.sh says what is missing"),
]

COUNTER = """\
cd /opt/ml/checkpoints; echo begins with $(cat seen 2> /dev/null || echo nothing)
if [ -e seen ]; then exit 0; fi
echo a checkpoint > seen; while :; do sleep 0.05; done"""


@pytest.fixture
def browser(sagemaker: LocalSageMaker, tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path) as driver:
        yield Browser(driver, sagemaker.page)


def test_a_spot_job_is_interrupted_and_goes_on(browser: Browser, sagemaker: LocalSageMaker) -> None:
    name = sagemaker.create(
        COUNTER,
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 900, "MaxWaitTimeInSeconds": 900},
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/checkpoints/page"},
    )
    sagemaker.wait_for(name, "begins with nothing")
    browser.open(f"#training/{name}")
    browser.click("#head button", "Interrupt")
    assert sagemaker.describe(name)["SecondaryStatus"] == "Training"
    browser.click("#head button", "Really interrupt?")
    browser.sees("#log", "begins with a checkpoint")
    browser.sees("#head", "Completed")
    transitions = sagemaker.wait(name)["SecondaryStatusTransitions"]
    assert [transition["Status"] for transition in transitions].count("Interrupted") == 1
    assert browser.complaints() == []
