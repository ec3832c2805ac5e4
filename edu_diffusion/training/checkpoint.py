"""Checkpoints: written whole or not at all, read with no code execution, and only into what they came from."""

import hashlib
import io
import os
import pickle
import tempfile
from pathlib import Path

import torch

DIGEST = hashlib.sha256().digest_size  # bytes of the checksum behind the state


class Checkpoint:
    """One file that holds the state of a training.

    `system` names what is being trained; a file of another system is refused. A save goes to a new file beside the old
    one, which it replaces only once it is safely on disk: an interrupted save or a full disk loses nothing. With
    `every` seconds between saves, the loop saves as it goes, and once more at the end.
    """

    def __init__(self, path: str | os.PathLike, system: str, every: float = 60.0):
        self.path, self.system, self.every = Path(path), system, every

    def exists(self) -> bool:
        """Whether there is something to resume from."""
        return self.path.exists()

    def save(self, state: dict) -> None:
        """Write the state, atomically, with a checksum behind it.

        Raises: OSError, saying so, if it could not be written; the last good checkpoint is still there.
        """
        buffer = io.BytesIO()
        torch.save({"system": self.system, "state": state}, buffer)
        data = buffer.getvalue()
        write_atomically(self.path, lambda file: file.write(data + hashlib.sha256(data).digest()))

    def load(self) -> dict:
        """The state that was saved last. Weights are read with `weights_only=True`, so the file can run no code.

        Raises: FileNotFoundError if there is none; ValueError if it is damaged or of another system; OSError if the
        file is there and cannot be read.
        """
        try:
            whole = self.path.read_bytes()
        except FileNotFoundError:
            raise FileNotFoundError(f"no checkpoint at {self.path}: train first, or give its right path") from None
        data, digest = whole[:-DIGEST], whole[-DIGEST:]
        if hashlib.sha256(data).digest() != digest:
            raise ValueError(f"{self.path} is damaged or is no checkpoint: delete it and train again")
        try:
            whole = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise ValueError(f"{self.path} is no checkpoint of this course: delete it and train again") from error
        if not isinstance(whole, dict) or set(whole) != {"system", "state"}:
            raise ValueError(f"{self.path} is no checkpoint of this course: delete it and train again")
        if whole["system"] != self.system:
            raise ValueError(
                f"{self.path} is a checkpoint of {whole['system']!r}, not of {self.system!r}: give another path"
            )
        return whole["state"]


def write_atomically(path: Path, write) -> None:
    """Have `write(file)` fill a new file, and put it in the place of `path` once it is safely on disk.

    Raises: OSError, naming the path, if that failed; whatever was at `path` is still there, and nothing else is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # a temporary file is its owner's alone
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        # torch reports a full disk as a RuntimeError of its zip writer.
        if isinstance(error, OSError | RuntimeError):
            raise OSError(
                f"could not write {path} ({error}): free some space; the file that was there is kept"
            ) from error
        raise
