"""Why a learned backend cannot be used, and what to do about it.

    ModelError
      UnknownName         no kind, backend or checkpoint of that name: lists those there are
      BadManifest         a checkpoint's manifest does not say what it must
      PackageMissing      torch or a library beside it is not installed
      DeviceMissing       the configuration wants a device or a kernel that this machine does not have
      MemoryExhausted     the device has too little memory
      CheckpointAbsent    no weights where they should lie: says what to put where
      CheckpointRefused   weights are there, but must not or cannot be used
        LicenceRefused      not for commercial work, and the configuration does not allow such weights
        PickleRefused       weights as a pickle, which can run code
        ChecksumMismatch    not the file that the manifest names
        WrongClass          weights of another architecture
        TensorsMissing      tensors missing, or of other shapes
        NotTrainedFor       weights that would ignore what this backend shows them
      InputRefused        a size, a length or a wish that the model cannot serve
      AlignmentFailed     a prediction does not agree with the scene
"""

from __future__ import annotations


class ModelError(Exception):
    """``hint`` says what the user can do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(f"{message}. {hint}" if hint else message)


class UnknownName(ModelError):
    pass


class BadManifest(ModelError):
    pass


class PackageMissing(ModelError):
    pass


class DeviceMissing(ModelError):
    pass


class MemoryExhausted(ModelError):
    pass


class CheckpointAbsent(ModelError):
    pass


class CheckpointRefused(ModelError):
    pass


class LicenceRefused(CheckpointRefused):
    pass


class PickleRefused(CheckpointRefused):
    pass


class ChecksumMismatch(CheckpointRefused):
    pass


class WrongClass(CheckpointRefused):
    pass


class TensorsMissing(CheckpointRefused):
    pass


class NotTrainedFor(CheckpointRefused):
    pass


class InputRefused(ModelError):
    pass


class AlignmentFailed(ModelError):
    pass
