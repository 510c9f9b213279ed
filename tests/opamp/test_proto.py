"""Generated code is what the .proto files say, and both agree with a client that is not ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from opentelemetry._opamp.proto import opamp_pb2 as theirs

from opamp.proto.opamp.v1 import opamp_pb2 as ours

PROTO = Path(__file__).resolve().parents[2] / "opamp" / "proto"


def test_generated_code_is_fresh(tmp_path: Path) -> None:
    subprocess.run([str(PROTO / "regenerate.sh"), sys.executable, str(tmp_path)], check=True, capture_output=True)
    for made in sorted((tmp_path / "opamp" / "v1").iterdir()):
        assert made.read_text() == (PROTO / "opamp" / "v1" / made.name).read_text(), made.name


def test_every_field_of_the_public_client_has_our_number_and_type() -> None:
    for name, message in theirs.DESCRIPTOR.message_types_by_name.items():
        known = ours.DESCRIPTOR.message_types_by_name[name].fields_by_name
        for field in message.fields:
            assert (known[field.name].number, known[field.name].type) == (field.number, field.type), f"{name}.{field.name}"


def test_what_the_public_client_lacks_is_there() -> None:
    assert ours.DESCRIPTOR.message_types_by_name["AgentToServer"].fields_by_name["connection_settings_status"].number == 15
    assert ours.AgentCapabilities.AgentCapabilities_ReportsConnectionSettingsStatus == 0x8000
