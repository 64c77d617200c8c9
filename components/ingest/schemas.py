"""The columns of the built-in sources.

Names, types and label numbers are from `tensorflow_datasets.structured.movielens`
(4.9.10), which merges labels that differ between versions.
"""

from components.ingest.config import FilesSource, IngestConfig, MovieLensSource, SampleSource
from components.ingest.context import with_context
from components.shared.contracts.tables import TIMESTAMP, Column, Schema

OCCUPATIONS = (
    "academic/educator",
    "artist",
    "clerical/admin",
    "customer service",
    "doctor/health care",
    "entertainment",
    "executive/managerial",
    "farmer",
    "homemaker",
    "lawyer",
    "librarian",
    "other/not specified",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "student",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)
GENDERS = ("female", "male")

_GENDER = Column(
    name="user_gender",
    dtype="int64",
    labels={str(value): name for value, name in enumerate(GENDERS)},
)
_OCCUPATION = Column(
    name="user_occupation_label",
    dtype="int64",
    labels={str(value): name for value, name in enumerate(OCCUPATIONS)},
)
_INTERACTION = [
    Column(name="user_rating", dtype="float32", role="rating"),
    Column(name=TIMESTAMP, dtype="int64", role="timestamp"),
]
_CANDIDATE = [
    Column(name="movie_id", dtype="string", role="candidate_id"),
    Column(name="movie_title", dtype="string", role="title"),
    Column(name="movie_genres", dtype="list<string>"),
]

SAMPLE_SCHEMA = Schema(
    query=[
        Column(name="user_id", dtype="string", role="query_id"),
        Column(name="raw_user_age", dtype="float32"),
        _GENDER,
        _OCCUPATION,
    ],
    interaction=_INTERACTION,
    candidate=_CANDIDATE,
)


def movielens_schema(version: str) -> Schema:
    """Return the columns of a version; only 100k and 1m describe their users."""
    query = [Column(name="user_id", dtype="string", role="query_id")]
    if version == "100k":
        query.append(Column(name="raw_user_age", dtype="float32"))
    if version in ("100k", "1m"):
        query += [
            Column(name="bucketized_user_age", dtype="float32"),
            _GENDER,
            _OCCUPATION,
            Column(name="user_occupation_text", dtype="string"),
            Column(name="user_zip_code", dtype="string"),
        ]
    return Schema(query=query, interaction=_INTERACTION, candidate=_CANDIDATE)


def known_schema(
    source: SampleSource | MovieLensSource | FilesSource, config: IngestConfig
) -> Schema | None:
    """Return the columns of the tables that ingest will write for a source.

    Args:
        source: The source.
        config: The derived columns.

    Returns:
        The columns; None if they are unknown until the source is read.
    """
    if isinstance(source, SampleSource):
        return with_context(SAMPLE_SCHEMA, config)
    if isinstance(source, MovieLensSource):
        return with_context(movielens_schema(source.version), config)
    return None
