"""MovieLens: the archive from GroupLens, or the data set that TFDS has prepared.

Both give the same rows; the columns' names are those of TFDS.
"""

import shutil
import zipfile
from pathlib import Path

import pyarrow as pa

from components.ingest.config import MovieLensSource
from components.ingest.schemas import movielens_schema
from components.ingest.sources.log import InteractionLog
from components.ingest.sources.movielens_layouts import layout_of
from components.ingest.sources.movielens_prepared import is_prepared, open_prepared
from components.ingest.sources.text import ReadText, parse_file, split_blocks
from components.shared.runtime.errors import InputError
from components.shared.storage.names import checked


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
        if other != version and set(layout_of(other).files) <= names:
            known = "20m, 25m or latest-small" if other == "25m" else other
            return f" It looks like version {known}: set source.version to it."
    return ""


def _unpack(archive: Path, version: str, workdir: Path) -> Path:
    wanted = layout_of(version).files
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
                with zipped.open(members[name]) as source, open(workdir / name, "wb") as target:
                    shutil.copyfileobj(source, target)
    except zipfile.BadZipFile as error:
        raise InputError(
            f"source.path: {archive} is not a zip archive ({error}). Download it again, or set "
            "source.path to the unpacked folder."
        ) from error
    return workdir


def _find_files(folder: Path, version: str, given: Path) -> dict[str, Path]:
    wanted = layout_of(version).files
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
    layout = layout_of(version)
    ratings, ratings_format = layout.ratings
    movies, movies_format = layout.movies
    blocks = split_blocks(str(files[ratings]), ratings, header=ratings_format.header)
    if not blocks:
        raise InputError(
            f"source.path: {files[ratings]} is empty: there are no interactions to learn from. "
            "Download the archive again."
        )
    candidates, rejects = parse_file(str(files[movies]), movies, movies_format)
    users = None
    if layout.users and layout.parse_users:
        name, users_format = layout.users
        rows, bad_users = parse_file(str(files[name]), name, users_format)
        users = layout.parse_users(rows)
        rejects = pa.concat_tables([rejects, bad_users])
    return InteractionLog(
        schema=movielens_schema(version),
        interactions=ReadText(blocks, ratings_format, batch_rows),
        candidates=layout.parse_movies(candidates),
        users=users,
        rejects=rejects,
    )
