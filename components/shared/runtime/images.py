"""The container image of each step: one image for each set of dependencies."""

DATA = "deep-retrieval-data"
MODEL = "deep-retrieval-model"

STEP_IMAGES = {
    "resolve": MODEL,
    "fetch_published": MODEL,
    "ingest": DATA,
    "check_data": DATA,
    "adapt": DATA,
    "encode_for_published": DATA,
    "train": MODEL,
    "select_model": MODEL,
    "export": DATA,
    "evaluate": MODEL,
    "publish": MODEL,
    "notify": MODEL,
}

# The version in pyproject.toml, which the images do not contain.
VERSION = "0.1.0"
# The images in what `kfp dsl compile` makes of a component or of pipeline/definition.py.
# `deep-retrieval compile` and `submit` replace them with images tagged by content.
DATA_IMAGE = f"{DATA}:{VERSION}"
MODEL_IMAGE = f"{MODEL}:{VERSION}"
