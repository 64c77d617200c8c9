"""The container image of each step: one image for each set of dependencies."""

DATA = "deep-retrieval-data"
MODEL = "deep-retrieval-model"

STEP_IMAGES = {
    "resolve": MODEL,
    "fetch_published": MODEL,
    "ingest": DATA,
    "adapt": DATA,
    "encode_for_published": DATA,
    "train": MODEL,
    "select_model": MODEL,
    "export": DATA,
    "evaluate": MODEL,
    "publish": MODEL,
    "notify": MODEL,
}
