"""The built-in sample: a small data set with planted taste and popularity."""

import numpy as np
import pyarrow as pa

from components.ingest.config import SampleSource
from components.ingest.schemas import OCCUPATIONS, SAMPLE_SCHEMA
from components.ingest.sources.log import FromTable, InteractionLog, with_origin
from components.shared.contracts.tables import TIMESTAMP

# The words of each genre's titles, so that a title is informative about its genre.
_TITLES = {
    "Action": (("Iron", "Last", "Burning"), ("Strike", "Convoy", "Pursuit")),
    "Adventure": (("Lost", "Distant", "Hidden"), ("Island", "Passage", "Summit")),
    "Animation": (("Little", "Paper", "Dancing"), ("Fox", "Lantern", "Robot")),
    "Comedy": (("Awkward", "Borrowed", "Upside"), ("Wedding", "Neighbour", "Holiday")),
    "Crime": (("Cold", "Crooked", "Second"), ("Ledger", "Alibi", "Heist")),
    "Drama": (("Quiet", "Broken", "Winter"), ("Harbor", "Letters", "Promise")),
    "Horror": (("Hollow", "Whispering", "Crimson"), ("Attic", "Orchard", "Mask")),
    "Romance": (("Tender", "Midnight", "Summer"), ("Waltz", "Train", "Garden")),
    "Sci-Fi": (("Silent", "Binary", "Orbital"), ("Signal", "Colony", "Engine")),
    "Western": (("Dusty", "Lonesome", "Copper"), ("Trail", "Rider", "Canyon")),
}
GENRES = tuple(_TITLES)
_FIRST_TIMESTAMP = 1_577_836_800  # 2020-01-01
_YEAR = 365 * 24 * 3600


def open_sample(config: SampleSource, *, seed: int, batch_rows: int) -> InteractionLog:
    """Generate the sample.

    A user's taste for a genre is the sum of the effects of age, gender and
    occupation and of an individual part. An item's appeal decreases with its rank
    (Zipf). Interactions follow taste and popularity, and ratings follow taste, so
    both a popularity baseline and a personalized model have a signal to find.

    Args:
        config: The sizes.
        seed: The seed of the random generator.
        batch_rows: Number of rows of an Arrow batch.
    """
    rng = np.random.default_rng([seed, 0x5A3B1E])
    users, items = config.users, config.items

    described, taste = _users(users, rng)
    first = rng.integers(0, len(GENRES), items)
    second = rng.integers(0, len(GENRES), items)
    has_genre = np.zeros((items, len(GENRES)))
    has_genre[np.arange(items), first] = 1
    has_genre[np.arange(items), second] = 1
    match = taste @ (has_genre / has_genre.sum(1, keepdims=True)).T  # (users, items)
    appeal = -0.9 * np.log(rng.permutation(items) + 5.0)

    # Gumbel noise added to logits and the largest kept: a draw without replacement from the
    # softmax of the logits (Kool et al., "Stochastic Beams and Where to Find Them", ICML 2019).
    noisy = appeal + 1.4 * match + rng.gumbel(size=(users, items))
    user, item = _seen(noisy, min(config.interactions / users, items), rng)
    opinion = 3.4 + 0.9 * match[user, item] + rng.normal(0, 0.7, len(user))
    rating = np.clip(opinion.round(), 1, 5)
    joined = rng.integers(0, 3 * _YEAR, users)
    timestamp = _FIRST_TIMESTAMP + joined[user] + rng.integers(0, _YEAR // 2, len(user))

    movie_id = pa.array([str(number) for number in range(1, items + 1)])
    interactions = pa.table(
        {
            **{name: column.take(pa.array(user)) for name, column in described.items()},
            "movie_id": movie_id.take(pa.array(item)),
            "user_rating": pa.array(rating, pa.float32()),
            TIMESTAMP: pa.array(timestamp, pa.int64()),
        }
    )
    genres = [sorted({GENRES[a], GENRES[b]}) for a, b in zip(first, second, strict=True)]
    titles = _titles(first, second, rng)
    candidates = pa.table({"movie_id": movie_id, "movie_title": titles, "movie_genres": genres})
    return InteractionLog(
        schema=SAMPLE_SCHEMA,
        interactions=FromTable(with_origin(interactions, "sample/interactions"), batch_rows),
        candidates=with_origin(candidates, "sample/candidates"),
    )


def _users(users: int, rng: np.random.Generator) -> tuple[dict[str, pa.Array], np.ndarray]:
    """Return the users' columns, and their tastes: `(users, genres) float64`."""
    age = np.clip(rng.normal(34, 12, users), 7, 80).round()
    gender = rng.integers(0, 2, users)
    occupation = rng.integers(0, len(OCCUPATIONS), users)
    by_age = rng.normal(0, 0.8, len(GENRES))
    by_gender = rng.normal(0, 0.5, (2, len(GENRES)))
    by_occupation = rng.normal(0, 0.5, (len(OCCUPATIONS), len(GENRES)))
    own = rng.normal(0, 1.0, (users, len(GENRES)))
    taste = own + by_gender[gender] + by_occupation[occupation] + np.outer((age - 34) / 12, by_age)
    columns = {
        "user_id": pa.array([str(number) for number in range(1, users + 1)]),
        "raw_user_age": pa.array(age, pa.float32()),
        "user_gender": pa.array(gender, pa.int64()),
        "user_occupation_label": pa.array(occupation, pa.int64()),
    }
    return columns, taste


def _seen(
    scores: np.ndarray, mean: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of user and item, the items of a user those with the highest scores.

    Args:
        scores: `(users, items) float64`.
        mean: Mean number of items per user.
        rng: The source of each user's number of items.

    Returns:
        `(pairs,) int64` users and items.
    """
    users, items = len(scores), scores.shape[1]
    seen = np.clip(rng.gamma(2.0, mean / 2.0, users).round(), min(5, items), items).astype(int)
    order = np.argsort(-scores, axis=1)
    user = np.repeat(np.arange(users), seen)
    return user, np.concatenate([order[row, :count] for row, count in enumerate(seen)])


def _titles(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> list[str]:
    titles = []
    for a, b in zip(first, second, strict=True):
        adjective = rng.choice(_TITLES[GENRES[a]][0])
        noun = rng.choice(_TITLES[GENRES[b]][1])
        titles.append(f"The {adjective} {noun} ({rng.integers(1960, 2020)})")
    return titles
