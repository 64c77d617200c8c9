"""The command `deep-retrieval configs`."""

from cyclopts import App

from pipeline.cli.output import Json, print_json, print_table

configs_app = App(
    name="configs",
    help_epilogue="""\
Examples:
  deep-retrieval configs
  deep-retrieval configs --json
  deep-retrieval run --config movielens-100k""",
)


@configs_app.default
def configs(*, as_json: Json = False) -> int:
    """List the names and descriptions of the shipped configs."""
    from pipeline.config.loading import load_config, shipped_configs

    rows = [(name, load_config(name).description) for name in shipped_configs()]
    if as_json:
        print_json([{"name": name, "description": text} for name, text in rows])
        return 0
    width = max(len(name) for name, _ in rows)
    print_table(("name", "description"), rows, (f"{name:{width}}  {text}" for name, text in rows))
    return 0
