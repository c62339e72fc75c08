from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter

from training.artefacts import convert


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """With a list of each kind."""
    writer = GGUFWriter(tmp_path / "some.gguf", "llama")
    writer.add_array("texts", ["", "é", "a long text" * 50])
    writer.add_array("numbers", [1, -2, 3])
    writer.add_array("shares", [0.5, 0.25])
    writer.add_array("flags", [True, False])
    writer.add_uint32("number", 7)
    writer.add_tensor("weights", np.arange(64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "some.gguf"


def test_a_file_is_read_as_the_library_reads_it(file: Path) -> None:
    ours, theirs = convert.reader(file), GGUFReader(file)
    assert list(ours.fields) == list(theirs.fields)
    for name, field in theirs.fields.items():
        assert ours.fields[name].contents() == field.contents(), name
        assert ours.fields[name].types == field.types, name
    assert [each.name for each in ours.tensors] == ["weights"]
    assert ours.tensors[0].data.tolist() == theirs.tensors[0].data.tolist()


def test_a_file_that_ends_within_a_list_is_not_readable(file: Path) -> None:
    data = file.read_bytes()
    at = data.index(b"texts") + len("texts") + 8  # behind the kinds of field and item
    endless = data[:at] + (2**60).to_bytes(8, "little") + data[at + 8 :]
    for broken in (
        data[: data.index(b"a long text") + 5],
        data[: data.index(b"numbers") + 5],
        endless,
    ):
        file.write_bytes(broken)
        with pytest.raises(convert.ConversionError, match="not a readable GGUF file"):
            convert.config_json(file)
