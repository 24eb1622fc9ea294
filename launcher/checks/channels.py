"""A channel's source, mode and format against each other, and the channels that the image needs.

check(job, diagnostics)
"""

from __future__ import annotations

from launcher.checks.hyperparameters import image_setting
from launcher.errors import advice
from launcher.job_file.diagnostics import Diagnostics
from launcher.job_file.schema import Channel, Job

IMAGE_CHANNELS = {"train": None, "validation": "run_validation", "test": "run_test"}
"""Channel of this project's image -> the hyperparameter that does without it."""


def check(job: Job, diagnostics: Diagnostics) -> None:
    """Add what contradicts itself in the channels."""
    for name, channel in job.input_data_config.items():
        _source(f"input_data_config.{name}", job, channel, diagnostics)
        _format(f"input_data_config.{name}", job, channel, diagnostics)
        _groups(f"input_data_config.{name}", job, channel, diagnostics)
    if job.check_image_contract:
        _image_channels(job, diagnostics)


def _source(key: str, job: Job, channel: Channel, diagnostics: Diagnostics) -> None:
    if bool(channel.s3_uri) == bool(channel.file_system_id):
        both = "has both s3_uri and file_system_id" if channel.s3_uri else "has neither s3_uri nor file_system_id"
        diagnostics.error(key, f"{both}; one of them is needed")
    if not channel.file_system_id:
        return
    if not job.networking.subnets:
        diagnostics.error(
            f"{key}.file_system_id", "needs a VPC; set networking.subnets and networking.security_group_ids"
        )
    if channel.s3_data_distribution_type:
        diagnostics.error(f"{key}.s3_data_distribution_type", "is for S3; every host sees the whole file system")
    if _mode(job, channel) != "File":
        diagnostics.error(f"{key}.file_system_id", f"needs input mode File, not {_mode(job, channel)}")


def _format(key: str, job: Job, channel: Channel, diagnostics: Diagnostics) -> None:
    mode = _mode(job, channel)
    augmented = channel.s3_data_type == "AugmentedManifestFile"
    if mode == "FastFile" and channel.s3_uri and channel.s3_data_type != "S3Prefix":
        diagnostics.error(
            f"{key}.s3_data_type", f"is {channel.s3_data_type!r}; input mode FastFile takes S3Prefix only"
        )
    if augmented and mode != "Pipe":
        diagnostics.error(f"{key}.s3_data_type", f"is 'AugmentedManifestFile', which needs input mode Pipe, not {mode}")
    if augmented and not channel.attribute_names:
        diagnostics.error(f"{key}.attribute_names", "is missing: an augmented manifest needs it")
    if channel.attribute_names and not augmented:
        diagnostics.error(f"{key}.attribute_names", "is for s3_data_type AugmentedManifestFile only")
    if channel.compression_type == "Gzip" and mode != "Pipe":
        diagnostics.error(f"{key}.compression_type", f"is 'Gzip', which only input mode Pipe unpacks; it is {mode}")
    if channel.record_wrapper_type == "RecordIO" and mode != "Pipe":
        diagnostics.error(f"{key}.record_wrapper_type", f"is 'RecordIO', which needs input mode Pipe, not {mode}")
    if job.check_image_contract and mode == "Pipe":
        where = f"{key}.input_mode" if channel.input_mode else "training_input_mode"
        diagnostics.error(where, "is 'Pipe'; the image reads files: use File or FastFile")


def _groups(key: str, job: Job, channel: Channel, diagnostics: Diagnostics) -> None:
    known = [group.instance_group_name for group in job.compute.instance_groups or []]
    for name in channel.instance_group_names or []:
        if name not in known:
            which = advice(name, known) if known else "there are no compute.instance_groups"
            diagnostics.error(f"{key}.instance_group_names", f"names {name!r}; {which}")


def _image_channels(job: Job, diagnostics: Diagnostics) -> None:
    for name, switch in IMAGE_CHANNELS.items():
        if name in job.input_data_config:
            continue
        if switch is None:
            diagnostics.error(f"input_data_config.{name}", "is missing: the image trains on it")
        elif image_setting(job, switch) == "true":
            diagnostics.error(
                f"input_data_config.{name}", f"is missing: add it, or set hyperparameters.{switch} = false"
            )


def _mode(job: Job, channel: Channel) -> str:
    return channel.input_mode or job.training_input_mode
