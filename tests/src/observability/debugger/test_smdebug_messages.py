"""smdebug's protobuf messages, made from its own descriptors by the protobuf that is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from observability.debugger import smdebug_messages


def test_smdebugs_messages_are_made_by_the_installed_protobuf() -> None:
    smdebug_messages.install()
    from smdebug.core.tfevent.proto import types_pb2
    from smdebug.core.tfevent.proto.event_pb2 import Event

    event = Event(step=3)
    event.summary.value.add(tag="loss", simple_value=0.5)
    again = Event.FromString(event.SerializeToString())
    assert (again.step, again.summary.value[0].tag, again.summary.value[0].simple_value) == (3, "loss", 0.5)
    assert (types_pb2.DT_FLOAT, types_pb2.DataType.Name(1)) == (1, "DT_FLOAT")
    assert type(event).__module__ != "google.protobuf.pyext"


def test_smdebugs_events_are_tensorflows_on_the_wire() -> None:
    smdebug_messages.install()
    from smdebug.core.tfevent.proto.event_pb2 import Event

    event = Event(step=7, wall_time=1.5)
    event.summary.value.add(tag="accuracy", simple_value=0.25)
    read = tf.compat.v1.Event.FromString(event.SerializeToString())
    assert (read.step, read.wall_time, read.summary.value[0].tag) == (7, 1.5, "accuracy")


def test_a_module_without_its_descriptor_is_named(tmp_path: Path) -> None:
    (tmp_path / "event_pb2.py").write_text("DESCRIPTOR = None\n")
    with pytest.raises(RuntimeError, match=r"event_pb2\.py has no serialized_pb"):
        smdebug_messages._file_descriptors(tmp_path)
