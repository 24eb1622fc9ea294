"""A channel's source, mode and format against each other, and the channels that the image needs.

check(job, findings)
"""

from __future__ import annotations

from launcher.checks.findings import Findings
from launcher.checks.hyperparameters import image_setting
from launcher.errors import advice
from launcher.job_file.schema import Channel, Job

IMAGE_CHANNELS = {"train": None, "validation": "run_validation", "test": "run_test"}
"""Channel of this project's image -> the hyperparameter that does without it."""


def check(job: Job, findings: Findings) -> None:
    """Add what contradicts itself in the channels."""
    for name, channel in job.input_data_config.items():
        _source(f"input_data_config.{name}", job, channel, findings)
        _format(f"input_data_config.{name}", job, channel, findings)
        _groups(f"input_data_config.{name}", job, channel, findings)
    if job.check_image_contract:
        _image_channels(job, findings)


def _source(key: str, job: Job, channel: Channel, findings: Findings) -> None:
    if bool(channel.s3_uri) == bool(channel.file_system_id):
        both = "has both s3_uri and file_system_id" if channel.s3_uri else "has neither s3_uri nor file_system_id"
        findings.error(key, f"{both}; one of them is needed")
    if not channel.file_system_id:
        return
    if not job.networking.subnets:
        findings.error(f"{key}.file_system_id", "needs a VPC; set networking.subnets and networking.security_group_ids")
    if channel.s3_data_distribution_type:
        findings.error(f"{key}.s3_data_distribution_type", "is for S3; every host sees the whole file system")
    if _mode(job, channel) != "File":
        findings.error(f"{key}.file_system_id", f"needs input mode File, not {_mode(job, channel)}")


def _format(key: str, job: Job, channel: Channel, findings: Findings) -> None:
    mode = _mode(job, channel)
    augmented = channel.s3_data_type == "AugmentedManifestFile"
    if mode == "FastFile" and channel.s3_uri and channel.s3_data_type != "S3Prefix":
        findings.error(f"{key}.s3_data_type", f"is {channel.s3_data_type!r}; input mode FastFile takes S3Prefix only")
    if augmented and mode != "Pipe":
        findings.error(f"{key}.s3_data_type", f"is 'AugmentedManifestFile', which needs input mode Pipe, not {mode}")
    if augmented and not channel.attribute_names:
        findings.error(f"{key}.attribute_names", "is missing: an augmented manifest needs it")
    if channel.attribute_names and not augmented:
        findings.error(f"{key}.attribute_names", "is for s3_data_type AugmentedManifestFile only")
    if channel.compression_type == "Gzip" and mode != "Pipe":
        findings.error(f"{key}.compression_type", f"is 'Gzip', which input mode Pipe alone unpacks; it is {mode}")
    if channel.record_wrapper_type == "RecordIO" and mode != "Pipe":
        findings.error(f"{key}.record_wrapper_type", f"is 'RecordIO', which needs input mode Pipe, not {mode}")
    if job.check_image_contract and mode == "Pipe":
        where = f"{key}.input_mode" if channel.input_mode else "training_input_mode"
        findings.error(where, "is 'Pipe'; the image reads files: use File or FastFile")


def _groups(key: str, job: Job, channel: Channel, findings: Findings) -> None:
    known = [group.instance_group_name for group in job.compute.instance_groups or []]
    for name in channel.instance_group_names or []:
        if name not in known:
            which = advice(name, known) if known else "there are no compute.instance_groups"
            findings.error(f"{key}.instance_group_names", f"names {name!r}; {which}")


def _image_channels(job: Job, findings: Findings) -> None:
    for name, switch in IMAGE_CHANNELS.items():
        if name in job.input_data_config:
            continue
        if switch is None:
            findings.error(f"input_data_config.{name}", "is missing: the image trains on it")
        elif image_setting(job, switch) == "true":
            findings.error(f"input_data_config.{name}", f"is missing: add it, or set hyperparameters.{switch} = false")


def _mode(job: Job, channel: Channel) -> str:
    return channel.input_mode or job.training_input_mode
