"""What the container makes of the folders and config files that it is given."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import toolkit
from configuration import read_configuration
from contract import make_output_folders, toolkit_base
from failure import ContainerError, ExitCode, failure_file

RESOURCES = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"], "network_interface_name": "eth0"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "input" / "config").mkdir(parents=True)
    return tmp_path


def write(root: Path, name: str, content: object) -> Path:
    file = root / "input" / "config" / name
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def failure_of(root: Path) -> ContainerError:
    with pytest.raises(ContainerError) as caught:
        read_configuration(root)
    return caught.value


def test_missing_config_files_get_defaults(tmp_path: Path) -> None:
    for name in ("validation", "train", ".hidden", "lost+found"):
        (tmp_path / "input" / "data" / name).mkdir(parents=True)
    (tmp_path / "input" / "data" / "train-manifest").write_text("[]")

    configuration = read_configuration(tmp_path)

    assert configuration.hyperparameters == {}
    assert list(configuration.input_data) == ["train", "validation"]
    assert configuration.hosts == ["algo-1"]
    assert configuration.resources["current_host"] == "algo-1"
    assert "no inputdataconfig.json: the channels are train, validation" in configuration.notes


def test_config_files_are_taken_as_they_are(root: Path) -> None:
    write(root, "hyperparameters.json", {"epochs": "3", "learning_rate": 3e-5, "run_test": True})
    write(root, "inputdataconfig.json", {"train": {"TrainingInputMode": "File"}})
    write(root, "resourceconfig.json", RESOURCES)

    configuration = read_configuration(root)

    assert configuration.hyperparameters == {"epochs": "3", "learning_rate": 3e-5, "run_test": True}
    assert configuration.input_data == {"train": {"TrainingInputMode": "File"}}
    assert configuration.resources == RESOURCES
    assert configuration.notes == ()


def test_what_an_estimator_tells_the_toolkit_does_not_lead_away_from_the_images_program(root: Path) -> None:
    write(
        root,
        "hyperparameters.json",
        {
            "epochs": "3",
            "sagemaker_program": '"tf_bert_reviews.py"',
            "sagemaker_submit_directory": '"s3://bucket/sourcedir.tar.gz"',
            "sagemaker_mpi_enabled": "true",
        },
    )
    configuration = read_configuration(root)
    assert configuration.hyperparameters == {"epochs": "3"}
    assert "hyperparameters.json names a program to run: not used, this image trains with its own" in (
        configuration.notes
    )


def test_a_file_that_no_program_can_be_passed_is_refused(root: Path) -> None:
    write(root, "hyperparameters.json", {"epochs": "9" * 20_000})
    assert "hyperparameters.json is 20,014 characters long; a program can be passed 20,000" in str(failure_of(root))


def test_a_byte_order_mark_is_no_damage(root: Path) -> None:
    write(root, "hyperparameters.json", '\ufeff{"epochs": "3"}')
    assert read_configuration(root).hyperparameters == {"epochs": "3"}


@pytest.mark.parametrize("name", ["hyperparameters.json", "inputdataconfig.json", "resourceconfig.json"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is not JSON"),
        ('{"epochs": ', "is not JSON"),
        ("[" * 100_000, "is not JSON: it is nested too deeply"),
        ("[]", "holds a list; a JSON object is needed"),
        ("null", "holds null"),
        ("true", "holds true or false"),
    ],
)
def test_a_damaged_file_is_named(root: Path, name: str, content: str, problem: str) -> None:
    file = write(root, name, content)
    error = failure_of(root)
    assert error.exit_code == ExitCode.CONFIGURATION
    assert str(error).startswith(f"{file} {problem}")


def test_bytes_that_are_not_text_are_damage(root: Path) -> None:
    (root / "input" / "config" / "hyperparameters.json").write_bytes(b"\xff\xfe{")
    assert "hyperparameters.json is not JSON" in str(failure_of(root))


def test_a_folder_in_a_config_files_place_is_named(root: Path) -> None:
    (root / "input" / "config" / "resourceconfig.json").mkdir()
    assert "resourceconfig.json cannot be read" in str(failure_of(root))


@pytest.mark.parametrize(("value", "kind"), [(None, "null"), ([1], "a list"), ({"a": 1}, "an object")])
def test_a_hyperparameter_that_is_no_text_or_number_is_named(root: Path, value: object, kind: str) -> None:
    write(root, "hyperparameters.json", {"epochs": value})
    error = failure_of(root)
    assert error.exit_code == ExitCode.CONFIGURATION
    assert f"epochs is {kind}; a text, a number or true/false is needed" in str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "a\0b"),
        ("model", '"a\\u0000b"'),
        ("model", '{"a\\u0000": 1}'),
        ("model", '"\\ud800"'),
        ("model", "[" * 5000),
        ("mod=el", "a"),
        ("mod\0el", "a"),
    ],
)
def test_a_hyperparameter_that_no_program_can_be_given_is_refused(root: Path, name: str, value: str) -> None:
    write(root, "hyperparameters.json", {name: value})
    error = failure_of(root)
    assert error.exit_code == ExitCode.HYPERPARAMETER
    assert "cannot be passed to a program" in str(error)
    assert len(str(error)) < 1024


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"../train": {}}, "'../train' is not a channel's name"),
        ({"": {}}, "'' is not a channel's name"),
        ({"train": "File"}, "channel train is a text; a JSON object is needed"),
    ],
)
def test_a_damaged_channel_is_named(root: Path, content: object, problem: str) -> None:
    write(root, "inputdataconfig.json", content)
    assert problem in str(failure_of(root))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"hosts": None}, "hosts must be a list of host names"),
        ({"hosts": []}, "hosts must be a list of host names"),
        ({"hosts": ["algo-1", 2]}, "hosts must be a list of host names"),
        ({"current_host": "algo-3"}, "current_host ('algo-3') must be one of hosts"),
        ({"network_interface_name": 1}, "network_interface_name must be a text"),
        ({"current_instance_type": None}, "current_instance_type must be a text"),
        ({"instance_groups": {}}, "instance_groups must be a list"),
        ({"instance_groups": [{"hosts": ["algo-1"]}]}, "each of instance_groups must have an instance_group_name"),
    ],
)
def test_a_damaged_resource_config_is_named(root: Path, change: dict[str, object], problem: str) -> None:
    write(root, "resourceconfig.json", {**RESOURCES, **change})
    error = failure_of(root)
    assert error.exit_code == ExitCode.CONFIGURATION
    assert problem in str(error)


@pytest.fixture
def job(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A root with one config file the toolkit reads and one it does not, and the base folder made for it."""
    write(root, "hyperparameters.json", {"epochs": "3", "sagemaker_container_log_level": "20"})
    write(root, "debughookconfig.json", {"LocalPath": "/opt/ml/output/tensors"})
    make_output_folders(root)
    program = tmp_path_factory.mktemp("program")
    (program / "train.py").touch()
    with toolkit_base(root, program, read_configuration(root)) as base:
        yield root, base


def test_the_base_folder_leads_to_the_real_ones(job: tuple[Path, Path]) -> None:
    root, base = job
    for name in ("model", "output", "checkpoints", "input/data", "input/config/debughookconfig.json"):
        assert (base / name).resolve() == (root / name).resolve()
    assert (base / "code" / "train.py").is_file()


def test_the_toolkit_gets_all_three_config_files(job: tuple[Path, Path]) -> None:
    _, base = job
    assert json.loads((base / "input/config/resourceconfig.json").read_text())["hosts"] == ["algo-1"]
    assert json.loads((base / "input/config/inputdataconfig.json").read_text()) == {}
    assert json.loads((base / "input/config/hyperparameters.json").read_text())["epochs"] == "3"


def test_the_toolkit_is_silenced_whatever_the_sdk_asks_for(job: tuple[Path, Path]) -> None:
    _, base = job
    written = json.loads((base / "input/config/hyperparameters.json").read_text())
    assert written["sagemaker_container_log_level"] == "50"


def test_the_callers_input_is_not_written_to(job: tuple[Path, Path]) -> None:
    root, _ = job
    files = sorted(path.name for path in (root / "input").rglob("*") if path.is_file())
    assert files == ["debughookconfig.json", "hyperparameters.json"]


def test_a_relative_root_works(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_output_folders(root)
    monkeypatch.chdir(root.parent)
    with toolkit_base(Path(root.name), tmp_path, read_configuration(root)) as base:
        assert (base / "model").is_dir()


def test_the_base_folder_is_removed_and_the_callers_is_not(root: Path, tmp_path: Path) -> None:
    make_output_folders(root)
    (root / "model" / "kept").touch()
    with toolkit_base(root, tmp_path, read_configuration(root)) as base:
        pass
    assert not base.exists()
    assert (root / "model" / "kept").exists()


def test_what_an_earlier_run_said_about_its_end_is_removed(root: Path) -> None:
    (root / "output").mkdir()
    for name in ("failure", "success"):
        (root / "output" / name).write_text("old")
    make_output_folders(root)
    assert [path.name for path in (root / "output").iterdir()] == ["data"]


def test_an_output_folder_that_cannot_be_made_is_named(root: Path) -> None:
    (root / "model").write_text("a file in the folder's place")
    with pytest.raises(ContainerError, match=f"{root}/model cannot be written by user") as caught:
        make_output_folders(root)
    assert caught.value.exit_code == ExitCode.CONFIGURATION


def test_no_place_for_temporary_files_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(root / "nonexistent"))
    with (
        pytest.raises(ContainerError, match="docker run --tmpfs /tmp"),
        toolkit_base(root, root, read_configuration(root)),
    ):
        pass


def test_a_damaged_config_file_ends_the_job_with_its_code_and_the_failure_file(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, "hyperparameters.json", "{")
    assert toolkit.train(root) == 13
    message = failure_file(root).read_text()
    assert message.startswith(f"{root}/input/config/hyperparameters.json is not JSON")
    assert capsys.readouterr().err == f"error: {message}\n"
