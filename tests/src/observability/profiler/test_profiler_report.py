"""The profiler's report: a file that needs nothing else, whole for any profile, and says what the profile says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from observability.profiler import operations
from observability.profiler.profile_reader import Profile
from observability.profiler.report import write_report
from observability.profiler.report.contents import duration, parts, size
from tests.helpers.profile_files import Reading, write_profile, write_steps

HTML = "{http://www.w3.org/1999/xhtml}"
BUSY: list[Reading] = [{"cpu": [90.0 + number % 5, 40.0], "memory": [20.0]} for number in range(300)]
STEPS = [5.0] + [0.25] * 150 + [2.0] * 12
SLOW_DISK: list[Reading] = [{"cpu": [5.0, 5.0], "io_wait": [90.0, 80.0], "memory": [20.0]}] * 1100


def report_on(folder: Path, title: str = "a job") -> str:
    path = folder / "output" / "data" / "profiler-report.html"
    write_report([folder], path, title)
    return path.read_text(encoding="utf-8")


def profiles(folder: Path, kind: str) -> Path:
    match kind:
        case "everything":
            write_profile(folder, BUSY, STEPS)
            write_steps(folder, [0.1] * 20, node="algo-1", start=1_600_000_100, mode="EVAL")
        case "a slow disk":
            write_profile(folder, SLOW_DISK, STEPS)
        case "steps alone":
            write_profile(folder, steps=STEPS)
        case "one step":
            write_profile(folder, steps=[3.0])
        case "readings alone":
            write_profile(folder, BUSY)
        case "one reading":
            write_profile(folder, BUSY[:1])
        case "a GPU":
            write_profile(folder, [{"gpu": [50.0], "gpu_memory": [20.0]}] * 50, STEPS)
    return folder


KINDS = ["everything", "a slow disk", "steps alone", "one step", "readings alone", "one reading", "a GPU"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_one_well_formed_file_without_scripts_or_references(tmp_path: Path, kind: str) -> None:
    html = report_on(profiles(tmp_path, kind))
    page = ET.fromstring(html)
    assert html.startswith("<!DOCTYPE html>\n")
    assert page.tag == f"{HTML}html"
    assert page.find(f".//{HTML}script") is None
    assert page.find(f".//{HTML}link") is None
    assert page.find(f".//{HTML}img") is None
    attributes = [(name, value) for element in page.iter() for name, value in element.attrib.items()]
    assert [pair for pair in attributes if pair[0] in ("src", "href", "action") or pair[0].startswith("on")] == []
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/1999/xhtml)", html)
    assert "nan" not in re.sub(r"<style>.*</style>", "", html, flags=re.DOTALL).lower().replace("finance", "")


@pytest.mark.parametrize("kind", KINDS)
def test_every_chart_has_a_text_alternative(tmp_path: Path, kind: str) -> None:
    page = ET.fromstring(report_on(profiles(tmp_path, kind)))
    charts = page.findall(f".//{HTML}svg")
    assert charts
    for chart in charts:
        assert chart.get("role") == "img"
        texts = {element.get("id"): element.text or "" for element in chart.findall("*") if element.get("id")}
        assert list(texts) == (chart.get("aria-labelledby") or "").split()
        assert all(len(text) > 2 for text in texts.values())


def test_it_says_where_the_time_went_and_marks_outliers(tmp_path: Path) -> None:
    html = report_on(profiles(tmp_path, "everything"))
    text = " ".join("".join(ET.fromstring(html).itertext()).split())
    assert "median step250 ms" in text
    assert "12 took more than three standard deviations longer" in text
    assert "step 151, 2 s (8.0 times the median); step 152, 2 s" in text
    assert html.count('class="dot outlier"') == 12
    assert "StepOutlier found an issue" in text
    assert "12 of 162 TRAIN steps of algo-1" in text
    assert "there is no GPU in the profile" in text
    assert "Tinted: validation." in text


def test_the_parts_of_the_time_add_up(tmp_path: Path) -> None:
    profile = Profile(profiles(tmp_path, "everything"))
    profile.refresh()
    found = {part.key: part.seconds for part in parts(profile.nodes["algo-1"])}
    assert sum(found.values()) == pytest.approx(149.5, abs=0.1)
    assert found["start"] == pytest.approx(10.0, abs=0.01)
    assert found["first"] == pytest.approx(5.0)
    assert found["eval"] == pytest.approx(2.0)


def test_a_finding_comes_first_and_with_what_to_change(tmp_path: Path) -> None:
    page = ET.fromstring(report_on(profiles(tmp_path, "a slow disk")))
    first = page.find(f".//{HTML}ul[@class='rules']/{HTML}li")
    assert first is not None
    assert first.get("class") == "IssuesFound"
    text = "".join(first.itertext())
    assert "BatchSize" in text
    assert "Raise train_batch_size" in text


def test_texts_from_outside_are_escaped(tmp_path: Path) -> None:
    write_profile(tmp_path, BUSY, STEPS, node="algo-1<b>")
    html = report_on(tmp_path, title="</title><script>alert(1)</script>")
    assert "<script" not in html
    assert "algo-1&lt;b&gt;" in html


def test_without_a_profile_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no profile in"):
        report_on(tmp_path)
    assert list(tmp_path.rglob("*.html")) == []


def test_own_times_leave_out_what_runs_within() -> None:
    events = [
        ("outer", 0.0, 10.0),
        ("inner", 1.0, 4.0),
        ("innermost", 2.0, 3.0),
        ("inner", 5.0, 6.0),
        ("next", 10.0, 11.0),
    ]
    totals: dict[str, float] = {}
    for name, seconds in operations.own_times(events):
        totals[name] = totals.get(name, 0.0) + seconds
    assert totals == {"outer": 6.0, "inner": 3.0, "innermost": 1.0, "next": 1.0}


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("distilbert/layer_0/ffn/MatMul:_MklNativeFusedMatMul", "FusedMatMul (oneDNN)"),
        ("Adam/ResourceApplyAdam_27:ResourceApplyAdam", "ResourceApplyAdam"),
        ("ThreadpoolListener::Record", ""),
        ("EagerLocalExecute: IsFinite", ""),
        ("train", ""),
    ],
)
def test_operations_are_told_from_other_events(event: str, kind: str) -> None:
    assert operations.kind(event) == kind


def test_numbers_as_people_say_them() -> None:
    assert [duration(seconds) for seconds in (8.87e-5, 0.0123, 0.2504, 1.5, 99.0, 100.0, 3725.0)] == [
        *("88.7 µs", "12.3 ms", "250 ms", "1.5 s", "99 s", "1 min 40 s", "1 h 02 min")
    ]
    assert [size(number) for number in (12, 3400, 5.6e6, 1.234e9)] == ["12 B", "3.4 kB", "5.6 MB", "1.23 GB"]
