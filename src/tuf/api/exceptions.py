"""The errors of this package.

Every failure that leaves a public function is one of these, or a ``ValueError`` or
``TypeError`` for a wrong argument::

    RepositoryError                      the repository's metadata or files are not acceptable
     ├── UnsignedMetadataError           fewer good signatures than the threshold
     ├── BadVersionNumberError           a version went back, or is not the one that was named
     │    └── EqualVersionNumberError    the version is the one already trusted
     ├── ExpiredMetadataError            metadata is past its expiry
     ├── LengthOrHashMismatchError       content is not what the metadata names
     ├── DelegationLimitError            a search visited too many delegations
     ├── SerializationError              an object cannot be written
     └── DeserializationError            bytes are not valid metadata
    DownloadError                        bytes could not be had
     ├── DownloadLengthMismatchError     the server sent more than was allowed
     ├── DownloadHTTPError               the server answered with an HTTP error status
     ├── SlowRetrievalError              the server is slower than the floor, or past the limit
     ├── DownloadCancelledError          the application cancelled the download
     └── OfflineError                    a download is needed, but the client is offline
    StorageError                         a file cannot be read or written
     └── LocalFileError                  the same, of the client's own files; also an OSError
          └── LocalFileNotFoundError     it is not there; also a FileNotFoundError
"""

from securesystemslib.exceptions import StorageError as StorageError


class RepositoryError(Exception):
    """The repository's metadata or target files are not acceptable."""


class UnsignedMetadataError(RepositoryError):
    """Metadata has fewer good signatures than the role's threshold."""


class BadVersionNumberError(RepositoryError):
    """A version number went back, or is not the one that was expected."""


class EqualVersionNumberError(BadVersionNumberError):
    """The version number is the one that is already trusted: there is nothing new."""


class ExpiredMetadataError(RepositoryError):
    """Metadata is past its expiry."""


class LengthOrHashMismatchError(RepositoryError):
    """Length or hashes of content differ from what the metadata says."""


class DelegationLimitError(RepositoryError):
    """A search for a target visited more delegated roles than the configuration allows."""


class DownloadError(Exception):
    """A file could not be downloaded."""


class DownloadLengthMismatchError(DownloadError):
    """The server sent more bytes than were allowed."""


class DownloadHTTPError(DownloadError):
    """The server answered with an HTTP error status.

    Args:
        message: what failed.
        status_code: the HTTP status.
    """

    def __init__(self, message: str, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code

    def __reduce__(self) -> tuple[type["DownloadHTTPError"], tuple[str, int]]:
        return type(self), (self.args[0], self.status_code)


class SlowRetrievalError(DownloadError):
    """A download fell below the floor on the transfer rate, or passed its time limit."""


class DownloadCancelledError(DownloadError):
    """The application cancelled the download."""


class OfflineError(DownloadError):
    """A download is needed, but the client was configured to work offline."""


class LocalFileError(StorageError, OSError):
    """A file of the client's own cannot be read or written: disk full, no permission, a link.

    It is an ``OSError`` too (with its ``errno``): that is what clients have always raised here.
    """


class LocalFileNotFoundError(LocalFileError, FileNotFoundError):
    """A file of the client's own is needed, and is not there."""
