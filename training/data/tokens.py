"""Counts tokens with the tokenizer of the model to train."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from core.errors import AskdocsError
from training.artefacts.convert import ConversionError, tokenizer_files


class Tokens:
    """A model's tokenizer, for counting only."""

    def __init__(self, file: Path) -> None:
        """`file` is a tokenizer.json or a GGUF model. Raises AskdocsError: it is neither."""
        from tokenizers import Tokenizer

        self.name = file.name
        try:
            data = file.read_bytes()
            if data[:4] == b"GGUF":
                data = tokenizer_files(file)["tokenizer.json"].encode()
            self._tokenizer = Tokenizer.from_str(data.decode())
        except OSError as error:
            raise AskdocsError(
                f"{file}: cannot be read ({error.strerror}): name a tokenizer.json, --tokenizer"
            ) from None
        except ConversionError as error:
            raise AskdocsError(f"{error}; or name the model's tokenizer.json") from None
        except Exception as error:  # the library raises plain Exception
            raise AskdocsError(
                f"{file}: is not a tokenizer ({error}): name a tokenizer.json or a GGUF model"
            ) from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.sha256 = hashlib.sha256(data).hexdigest()
        """SHA-256 of the tokenizer.json."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without those added by a chat template."""
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding.ids) for encoding in encoded]

    async def counts(self, texts: Sequence[str]) -> list[int]:
        """Implements `gateway.answering.grounding.ground.Count`."""
        return self.count(texts)
