"""MovieLens: the archive from GroupLens, or the data set that TFDS has prepared.

Both give the same rows; the columns' names are those of TFDS.
"""

import logging
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from components.ingest.config import MovieLensSource
from components.ingest.schemas import movielens_schema
from components.ingest.sources.file_search import FoundFile
from components.ingest.sources.layout import Layout, TableLayout
from components.ingest.sources.log import InteractionLog
from components.ingest.sources.movielens_layouts import TextFormat, archive_of
from components.ingest.sources.movielens_prepared import is_prepared, open_prepared
from components.ingest.sources.reading import ReadFiles
from components.ingest.sources.text_encoding import find_encoding
from components.ingest.sources.text_layout import TextLayout
from components.ingest.sources.whole_tables import read_all
from components.shared.runtime.errors import InputError
from components.shared.storage.names import checked

logger = logging.getLogger(__name__)

# GroupLens's archives unpack to three to five times their size.
_MAX_RATIO = 100
_RATIO_FROM_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # encrypted
    NotImplementedError,  # an unknown compression method
)


def open_movielens(config: MovieLensSource, *, batch_rows: int, workdir: str) -> InteractionLog:
    """Open MovieLens from an archive, a folder, or a TFDS data directory.

    Args:
        config: The version and its path.
        batch_rows: Number of rows of an Arrow batch.
        workdir: The folder for the files of an archive.

    Raises:
        InputError: If the path does not exist or is not that version of MovieLens,
            or the name of a file in it is not allowed.
    """
    path = Path(config.path).expanduser() if config.path else download(config)
    if not path.exists():
        raise InputError(
            f"source.path: {path} does not exist. Give the MovieLens archive, its folder, or a "
            "TFDS data directory; or leave source.path out to download it."
        )
    if is_prepared(config.version, path):
        return open_prepared(config.version, path, batch_rows)
    folder = path if path.is_dir() else _unpack(path, config.version, Path(workdir))
    return _open_folder(config.version, _find_files(folder, config.version, path), batch_rows)


def download(config: MovieLensSource) -> Path:
    """Download the archive with TFDS, which verifies its registered checksum.

    Args:
        config: The version, and the folder for downloads.

    Returns:
        The path of the archive.

    Raises:
        InputError: If it cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    folder = Path(config.download_dir).expanduser()
    builder = tfds.builder(f"movielens/{config.version}-ratings")
    manager = tfds.download.DownloadManager(
        download_dir=folder,
        url_infos=builder.url_infos,
        register_checksums=False,
        force_checksums_validation=True,
        dataset_name="movielens",
    )
    url = builder.builder_config.download_url
    try:
        return Path(manager.download(url))
    except Exception as error:  # requests, urllib3 and TFDS raise many types
        raise InputError(
            f"{url} could not be downloaded ({type(error).__name__}: {error}). Download it "
            "yourself, and set source.path to the file."
        ) from error


def _other_version(names: set[str], version: str) -> str:
    for other in ("100k", "1m", "25m"):
        if other != version and set(archive_of(other).files) <= names:
            known = "20m, 25m or latest-small" if other == "25m" else other
            return f" It looks like version {known}: set source.version to it."
    return ""


def _unpack(archive: Path, version: str, workdir: Path) -> Path:
    wanted = archive_of(version).files
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = {Path(name).name: name for name in zipped.namelist()}
            for name in members.keys() & wanted:
                checked(
                    members[name],
                    f"source.path: {archive}",
                    "This is not GroupLens's archive: download it again.",
                )
            missing = [name for name in wanted if name not in members]
            if missing:
                raise InputError(
                    f"source.path: {archive} is not MovieLens {version}: {', '.join(missing)} "
                    f"missing.{_other_version(set(members), version)}"
                )
            for name in wanted:
                _unpack_file(zipped, members[name], archive, workdir / name)
    except (zipfile.BadZipFile, NotImplementedError, struct.error, UnicodeError) as error:
        raise InputError(
            f"source.path: {archive} is not a zip archive ({str(error)[:200]}). Download it again, "
            "or set source.path to the unpacked folder."
        ) from error
    return workdir


def _unpack_file(zipped: zipfile.ZipFile, member: str, archive: Path, target: Path) -> None:
    """Unpack a file of an archive; stop if it is damaged or unpacks to far too much."""
    packed = max(1, zipped.getinfo(member).compress_size)
    size = 0
    with open(target, "wb") as file:
        for data in _unpacked(zipped, member, archive):
            size += len(data)
            if size > _RATIO_FROM_BYTES and size > _MAX_RATIO * packed:
                raise InputError(
                    f"source.path: {member} in {archive} unpacks to more than {_MAX_RATIO} times "
                    f"its {packed:,} bytes: this is not GroupLens's archive. Download it again."
                )
            file.write(data)


def _unpacked(zipped: zipfile.ZipFile, member: str, archive: Path) -> Iterator[bytes]:
    try:
        with zipped.open(member) as source:
            while data := source.read(_CHUNK_BYTES):
                yield data
    except zipfile.BadZipFile:
        raise
    except _DAMAGE as error:
        raise InputError(
            f"source.path: {member} in {archive} cannot be unpacked ({str(error)[:200]}). Download "
            "the archive again, or set source.path to the unpacked folder."
        ) from error


def _find_files(folder: Path, version: str, given: Path) -> dict[str, Path]:
    wanted = archive_of(version).files
    for place in (folder, folder / f"ml-{version}"):
        if all((place / name).is_file() for name in wanted):
            return {name: place / name for name in wanted}
    names = {path.name for path in folder.iterdir()}
    missing = [name for name in wanted if name not in names]
    raise InputError(
        f"source.path: {given} is neither a folder of MovieLens {version} ({', '.join(missing)} "
        f"missing) nor a TFDS data directory (movielens/{version}-ratings missing)."
        f"{_other_version(names, version)}"
    )


def _open_folder(version: str, files: dict[str, Path], batch_rows: int) -> InteractionLog:
    archive = archive_of(version)
    name, text_format = archive.ratings
    ratings = _table(files[name], name, text_format)
    with open(files[name], "rb") as file:
        empty = not file.readline() or (text_format.header and not file.readline())
    if empty:
        raise InputError(
            f"source.path: {files[name]} is empty: there are no interactions to learn from. "
            "Download the archive again."
        )
    candidates, rejects = _read(files, archive.movies)
    users = None
    if archive.users and archive.parse_users:
        rows, bad_users = _read(files, archive.users)
        users = archive.parse_users(rows)
        rejects = pa.concat_tables([rejects, bad_users])
    return InteractionLog(
        schema=movielens_schema(version),
        interactions=ReadFiles(ratings, dict.fromkeys(text_format.columns), {}, batch_rows),
        candidates=archive.parse_movies(candidates),
        users=users,
        rejects=rejects,
    )


def _read(files: dict[str, Path], named: tuple[str, TextFormat]) -> tuple[pa.Table, pa.Table]:
    name, text_format = named
    return read_all(_table(files[name], name, text_format), dict.fromkeys(text_format.columns))


def _table(path: Path, name: str, text_format: TextFormat) -> TableLayout:
    encoding, note = find_encoding(str(path), name, None, text_format.encoding)
    if note:
        logger.info(f"{name}: {note}")
    text = TextLayout(encoding, text_format.delimiter, text_format.quoted, int(text_format.header))
    columns = dict.fromkeys(text_format.columns, pa.string())
    found = FoundFile(str(path), name)
    return TableLayout("source.path", [Layout(found, "csv", columns, text_format.columns, text)])
