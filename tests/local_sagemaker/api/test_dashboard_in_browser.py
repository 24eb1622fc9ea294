"""The page in Chromium: what a user sees and does, on a desktop and on a phone, in the light and in the dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.browser import Browser, chromium
from tests.helpers.local_server import ApiServer, serving
from tests.helpers.made_up_jobs import COUNTS, complete, fail, train, tune

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with serving(tmp_path_factory.mktemp("state")) as api:
        yield api


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def browser(driver: Any, server: ApiServer) -> Iterator[Browser]:
    browser = Browser(driver, server.page)
    browser.emulate(1280, 900)
    browser.complaints()
    yield browser
    assert browser.complaints() == []  # scripts and styles that the policy blocks, requests that failed


def test_jobs_are_listed_and_change_while_one_looks(browser: Browser, server: ApiServer) -> None:
    browser.open()
    train(server, "appears")
    browser.sees("#jobs", "appears")
    browser.sees("#jobs", "Training")
    complete(server, "appears")
    browser.sees("#jobs", "Completed")
    browser.sees("#jobs", "1 rule fired")


def test_a_finished_job_shows_everything(browser: Browser, server: ApiServer) -> None:
    train(server, "finished")
    complete(server, "finished")
    browser.open("#training/finished")
    browser.sees("#head", "Completed")
    browser.sees("#head", "Uploading 6.4 s")
    browser.sees("#charts", "validation:accuracy 0.6975")
    assert len(browser.all("#charts svg")) == 2
    assert len(browser.all("#charts polyline")) == 4
    browser.sees("#rules", "losses did not fall by 0.1 %")
    browser.sees("#results", "accuracy 0.7285")
    cells = [int(cell.text) for cell in browser.all("#matrix td")]
    assert cells == [count for row in COUNTS for count in row]
    browser.sees("#log", "step  59")
    browser.sees("#facts", "distilbert-trainer:local")
    assert browser.all("#head button") == []


def test_what_a_job_writes_stays_text(browser: Browser, server: ApiServer) -> None:
    train(server, "hostile", {"HyperParameters": {"note": "<b id=injected>x</b>"}})
    fail(server, "hostile", "AlgorithmError: <script>document.title='run'</script><img id=injected src=x>")
    browser.open("#training/hostile")
    browser.sees(".failure", "<script>document.title='run'</script>")
    browser.sees("#log", "<img src=x onerror=alert(1)> is text, and stays text")
    browser.sees("#facts", "<b id=injected>x</b>")
    assert browser.all("#injected, pre img") == []
    assert "Local SageMaker" in browser.run("return document.title")


def test_log_and_charts_go_on_while_the_job_runs(browser: Browser, server: ApiServer) -> None:
    train(server, "running", steps=5)
    browser.open("#training/running")
    browser.sees("#log", "step   4")
    with next((server.jobs.store.folder("training", "running") / "log").glob("*.jsonl")).open("a") as file:
        file.write('{"t": 1790000900000000000, "m": "a line that came later"}\n')
    with (server.jobs.store.folder("training", "running") / "metrics.jsonl").open("a") as file:
        file.write('{"t": 1790000900, "name": "test:f1", "value": 0.625}\n')
    browser.sees("#log", "a line that came later")
    browser.sees("#charts .single", "test:f1 0.625")
    assert browser.text("#log").count("step   4") == 1


def test_stop_is_asked_for_twice_and_stops(browser: Browser, server: ApiServer) -> None:
    train(server, "to-stop")
    browser.open("#training/to-stop")
    browser.click("#head button", "Stop")
    assert not server.jobs.get("training", "to-stop").stop_requested
    browser.click("#head button", "Really stop?")
    browser.sees("#head", "Stopping")
    assert server.jobs.get("training", "to-stop").stop_requested


def test_only_a_spot_job_can_be_interrupted(browser: Browser, server: ApiServer) -> None:
    spot = {"EnableManagedSpotTraining": True, "StoppingCondition.MaxWaitTimeInSeconds": 7200}
    train(server, "spot", spot)
    train(server, "not-spot")
    browser.open("#training/spot")
    browser.sees("#head", "Interrupt")
    browser.open("#training/not-spot")
    browser.sees("#head", "Stop")
    assert [button.text for button in browser.all("#head button")] == ["Stop"]


def test_the_report_runs_in_a_sandbox(browser: Browser, server: ApiServer) -> None:
    train(server, "reported")
    complete(server, "reported")
    browser.open("#training/reported")
    browser.click("#results summary", "Profiler report")
    frame = browser.until(lambda: browser.all("iframe"), "the report")[0]
    assert frame.get_attribute("sandbox") == "allow-scripts"
    assert browser.run("return document.querySelector('iframe').contentDocument") is None


def test_a_tuning_job_shows_its_training_jobs(browser: Browser, server: ApiServer) -> None:
    train(server, "tunes-002")
    tune(server, "tunes", [0.7, 0.4, None, 0.5])
    browser.open("#tuning/tunes")
    browser.sees("#head", "3 of 12 training jobs have ended")
    assert [row.text.split()[0] for row in browser.all("#trials tbody tr")] == [
        "tunes-002",
        "tunes-004",
        "tunes-001",
        "tunes-003",
    ]
    assert [row.text.split()[0] for row in browser.all("#trials tr.best")] == ["tunes-002"]
    browser.sees("#trials", "<b>adam</b>")
    assert len(browser.all("#charts circle")) == 3
    (best,) = browser.all("#charts circle.best")
    others = browser.all("#charts circle:not(.best)")
    assert all(float(best.get_attribute("cy")) > float(other.get_attribute("cy")) for other in others)  # lower is less
    assert len(browser.all("#charts polyline")) == 1
    tune(server, "tunes", [0.7, 0.4, 0.3, 0.5], "Completed")
    browser.sees("#head", "Completed")
    browser.sees("#trials tr.best", "tunes-003")
    browser.click("#trials a", "tunes-002")
    browser.sees("#log", "step  59")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844), (320, 640)])
def test_nothing_is_wider_than_the_screen(
    browser: Browser, server: ApiServer, width: int, height: int, scheme: str
) -> None:
    if not server.jobs.store.get("training", "shown"):
        train(server, "shown", {"HyperParameters": {"model": "/opt/ml/input/data/" + "m" * 200}})
        complete(server, "shown")
    browser.emulate(width, height, scheme)
    browser.open("#training/shown")
    browser.sees("#results", "accuracy 0.7285")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    tune(server, "shown", [0.7, 0.4, None, 0.5])
    browser.open("#tuning/shown")
    browser.sees("#trials", "0.4")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    dark = browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 24)"
    assert dark == (scheme == "dark")
    assert browser.all("#jobs")[0].is_displayed() == (width > 800)
    if width < 800:
        browser.click(".back", "‹ all jobs")  # noqa: RUF001
        browser.until(browser.all("#jobs")[0].is_displayed, "the list")
