"""The command `deep-retrieval`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from components.ingest.config import MovieLensSource
from components.shared.runtime.errors import InputError, describe_os_error
from components.shared.runtime.files import beside
from pipeline.cli import cluster as cluster_commands
from pipeline.config.loading import load_config, shipped_configs

_CONFIG_HELP = "a shipped config (see 'deep-retrieval configs') or the path of a YAML file"
_SET_HELP = (
    "change a value of the config; the key is a path with dots, the value is YAML: "
    "--set train.epochs=5 --set layer_stacks='[[32],[64,32]]'; null takes the key away; may be "
    "repeated"
)

_LOCATION_HELP = "where models are published: a folder, s3:// or gs://"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deep-retrieval",
        description="A Kubeflow pipeline that turns a log of interactions into a two-tower "
        "retrieval model: ingest, adapt, train, export, evaluate, publish.",
        epilog="Begin with: deep-retrieval run --config sample",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run the pipeline on this machine, without a cluster",
        description="Runs the compiled pipeline's steps on this machine, each in a process of its "
        "own. Results go to OUTPUT/NAME/TIME; OUTPUT/latest points at the newest. Steps whose "
        "inputs and code have not changed since a former run are reused.",
        epilog="Examples:\n"
        "  deep-retrieval run --config sample\n"
        "  deep-retrieval run --config movielens-100k --set source.path=ml-100k.zip\n"
        "  deep-retrieval run --config my-shop.yaml --set layer_stacks='[[64]]'\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_config(run)
    run.add_argument("--output", default="runs", help="folder for results (default: runs)")
    run.add_argument(
        "--no-reuse", action="store_true", help="run every step, whatever former runs left"
    )

    run.add_argument(
        "--runner",
        choices=("subprocess", "docker"),
        default="subprocess",
        help="run steps as processes of this environment, or in containers (default: subprocess)",
    )
    run.add_argument(
        "--memory", help="with --runner docker: the most memory of a container, e.g. 8g"
    )
    _add_images(run)

    tune = commands.add_parser(
        "tune",
        help="search for the settings of train that do best on the validation part",
        description="Tries settings from the config's section 'tune': first the config's own, then "
        "others from its space. Looks at the training and the validation part only. Results go to "
        "OUTPUT/tune/NAME: trials.csv, and best.yaml, a config. A search that was stopped goes on "
        "where it was.",
        epilog="Examples:\n"
        "  deep-retrieval tune --config movielens-100k --trials 40\n"
        "  deep-retrieval tune --set 'tune.space={train.dropout: {low: 0, high: 0.5}}' --trials 5\n"
        "  deep-retrieval run --config runs/tune/movielens-100k/best.yaml\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_config(tune)
    tune.add_argument("--output", default="runs", help="folder for results (default: runs)")
    tune.add_argument("--trials", type=int, help="how many (default: the config's tune.trials)")

    compare = commands.add_parser(
        "compare",
        help="train with several seeds, beside the baselines, and print one table",
        description="Trains each layer stack of each config with several seeds, measures models "
        "and baselines on the same test part, and prints a table of means and standard deviations. "
        "It is also in OUTPUT/compare, with a plot and all numbers. What has been trained already "
        "is used again.",
        epilog="Examples:\n"
        "  deep-retrieval compare --config movielens-100k --seeds 3\n"
        "  deep-retrieval compare --config movielens-100k --config movielens-100k-temporal\n"
        "  deep-retrieval compare --change train.dropout=0 --change train.loss=mse train.l2=0\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    compare.add_argument(
        "--config", action="append", metavar="CONFIG", dest="configs",
        help=f"{_CONFIG_HELP}; may be repeated (default: sample)",
    )  # fmt: skip
    compare.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help=_SET_HELP
    )
    compare.add_argument(
        "--change", action="append", nargs="+", default=[], metavar="KEY=VALUE",
        help="also train with these values changed; may be repeated, each gives a row",
    )  # fmt: skip
    compare.add_argument(
        "--seeds", type=int, default=3, help="trainings of each model (default: 3)"
    )
    compare.add_argument(
        "--metric", action="append", metavar="METRIC", dest="metrics",
        help="a column, e.g. recall_at_50_filtered or cold_hit_rate_at_100_filtered; may be "
        "repeated (default: each config's headline, and the hit rate and NDCG of the first 10)",
    )  # fmt: skip
    compare.add_argument("--output", default="runs", help="folder for results (default: runs)")

    compile_ = commands.add_parser(
        "compile",
        help="write the pipeline as KFP IR YAML, for a cluster",
        description="Writes the pipeline as KFP v2 IR YAML. The config's values become the "
        "defaults of the pipeline's parameters, which a run can change.",
        epilog="Example:\n  deep-retrieval compile --config sample --to pipeline.yaml\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_config(compile_)
    compile_.add_argument("--to", default="pipeline.yaml", help="the file (default: pipeline.yaml)")
    compile_.add_argument(
        "--kubernetes",
        action="store_true",
        help="write the manifests Pipeline and PipelineVersion, for kubectl apply, where Kubeflow "
        "keeps pipelines as Kubernetes resources",
    )
    compile_.add_argument("--namespace", help="with --kubernetes: the namespace of the manifests")
    _add_images(compile_)

    cluster_commands.add_commands(commands, add_config=_add_config, add_images=_add_images)

    images = commands.add_parser(
        "images",
        help="build, push or list the steps' container images",
        description="Builds the images from this checkout, with docker or podman. A tag is a hash "
        "of all that goes into the image, so the same tag is the same content.",
        epilog="Examples:\n"
        "  deep-retrieval images build\n"
        "  deep-retrieval images push --registry ghcr.io/acme --gpu\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    images.add_argument("action", choices=("build", "push", "list"))
    _add_images(images)
    images.add_argument("--engine", choices=("docker", "podman"), help="default: what is there")
    images.add_argument(
        "--build-option",
        action="append",
        default=[],
        metavar="OPTION",
        help="passed on to the engine's build, e.g. --build-option=--network=host",
    )

    recommend = commands.add_parser(
        "recommend",
        help="print a user's recommendations from an export",
        description="Asks the SavedModel of a run for recommendations. Items of the user's log are "
        "left out.",
        epilog="Examples:\n"
        "  deep-retrieval recommend --user 42 -k 10\n"
        "  deep-retrieval recommend --user new --feature raw_user_age=30 --feature user_gender=1 "
        "--feature user_occupation_label=17\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recommend.add_argument("--user", required=True, help="the user's id; it may be unknown")
    recommend.add_argument("-k", type=int, default=10, help="how many items (default: 10)")
    recommend.add_argument(
        "--export",
        default="runs/latest/export",
        help="the export folder of a run (default: runs/latest/export)",
    )
    recommend.add_argument(
        "--feature",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a raw feature of the user; needed for users that the log does not have (not what "
        "ingest derives: an empty history, and the time that it is now)",
    )
    recommend.add_argument(
        "--include-seen", action="store_true", help="do not leave out items of the user's log"
    )

    published = commands.add_parser(
        "published",
        help="list what was published at a location, and when",
        description="Lists every move of the pointer 'latest' at a location, oldest first.",
        epilog="Example:\n  deep-retrieval published --location gs://acme/models\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    published.add_argument("--location", required=True, help=_LOCATION_HELP)

    rollback = commands.add_parser(
        "rollback",
        help="make an earlier published version the latest again",
        description="Moves the pointer 'latest' at a location; the versions stay as they are. The "
        "next run is compared with, and may begin from, the version that is the latest then.",
        epilog="Examples:\n"
        "  deep-retrieval rollback --location gs://acme/models\n"
        "  deep-retrieval rollback --location models --to movielens-100k-0123456789ab\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rollback.add_argument("--location", required=True, help=_LOCATION_HELP)
    rollback.add_argument(
        "--to", metavar="VERSION", help="which version (default: the one before the latest)"
    )

    configs = commands.add_parser("configs", help="list the shipped configs")
    configs.set_defaults()
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default="sample", help=f"{_CONFIG_HELP} (default: sample)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help=_SET_HELP
    )


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--registry",
        default=os.environ.get("DEEP_RETRIEVAL_REGISTRY", ""),
        help="goes before the images' names, e.g. ghcr.io/acme "
        "(default: the environment variable DEEP_RETRIEVAL_REGISTRY)",
    )
    parser.add_argument(
        "--gpu", action="store_true", help="the model image with JAX for NVIDIA GPUs"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        0; 1 where a step failed; 2 where the input cannot be used; 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        return {
            "run": _run,
            "tune": _tune,
            "compare": _compare,
            "compile": _compile,
            "submit": cluster_commands.submit,
            "schedule": cluster_commands.schedule,
            "runs": cluster_commands.runs,
            "logs": cluster_commands.logs,
            "images": _images,
            "recommend": _recommend,
            "published": _published,
            "rollback": _rollback,
            "configs": _configs,
        }[options.command](options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {describe_os_error(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    config = load_config(options.config, options.overrides)
    from pipeline.local.runner import RunFailed, run_locally
    from pipeline.local.summary import summarize

    containers = None
    if options.runner == "docker":
        from pipeline.images import step_images
        from pipeline.local.docker_runner import Containers

        containers = Containers(
            step_images(options.registry, gpu=options.gpu), gpu=options.gpu, memory=options.memory
        )
        if isinstance(config.source, MovieLensSource) and config.source.path is None:
            folder = Path(config.source.download_dir).expanduser()
            archive = containers.fetch(config.source.version, folder)
            config = load_config(options.config, [*options.overrides, f"source.path={archive}"])
    try:
        result = run_locally(
            config, options.output, reuse=not options.no_reuse, containers=containers
        )
    except RunFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(summarize(result))
    return 0


def _tune(options: argparse.Namespace) -> int:
    trials = [] if options.trials is None else [f"tune.trials={options.trials}"]
    config = load_config(options.config, [*options.overrides, *trials])
    from pipeline.experiments.tuning import tune

    found, folder = tune(config, options.output)
    best = found[0]
    print(f"\nbest: trial {best.number}, {config.train.monitor} {best.mean:.4f} on the validation "
          f"part\ntrials  {folder / 'trials.csv'}\nconfig  {folder / 'best.yaml'}")  # fmt: skip
    return 0


def _compare(options: argparse.Namespace) -> int:
    names = options.configs or ["sample"]
    from pipeline.experiments.comparison import compare, render, write

    metrics = options.metrics or ()
    comparison = compare(
        names, options.overrides, options.change, options.seeds, options.output, metrics
    )
    print("\n" + render(comparison, metrics))
    folder = Path(options.output).resolve() / "compare"
    write(comparison, metrics, folder)
    print(f"table  {folder / 'comparison.md'}\nplot   {folder / 'comparison.svg'}\n"
          f"all    {folder / 'comparison.json'}")  # fmt: skip
    return 0


def _compile(options: argparse.Namespace) -> int:
    config = load_config(options.config, options.overrides)
    from pipeline.compilation import (
        cluster_images,
        compile_pipeline,
        differences,
        kubernetes_manifests,
    )

    images = cluster_images(config, options.registry, gpu=options.gpu)
    target = Path(options.to)
    if target.suffix not in (".yaml", ".yml"):
        raise InputError(f"--to {options.to}: the name must end with .yaml.")
    text = (
        kubernetes_manifests(config, images, options.namespace)
        if options.kubernetes
        else compile_pipeline(config, images)
    )
    with beside(target) as aside:
        aside.write_text(text, encoding="utf-8")
        aside.replace(target)
    print(f"wrote {target}; its images:")
    for image in sorted(set(images.values())):
        print(f"  {image}")
    print("On a cluster, other than with 'deep-retrieval run':")
    for line in differences(config, options.registry):
        print(f"  - {line}")
    return 0


def _images(options: argparse.Namespace) -> int:
    from pipeline.images import (
        DOCKERFILES,
        build_image,
        find_engine,
        image_exists,
        image_reference,
        push_image,
    )

    engine = find_engine(options.engine)
    for name in DOCKERFILES:
        if options.action == "build":
            reference = build_image(
                engine, name, options.registry, gpu=options.gpu, options=options.build_option
            )
            print(f"built {reference}")
        elif options.action == "push":
            print(f"pushed {push_image(engine, name, options.registry, gpu=options.gpu)}")
        else:
            reference = image_reference(name, options.registry, gpu=options.gpu)
            print(f"{reference}  {'built' if image_exists(engine, reference) else 'not built'}")
    return 0


def _recommend(options: argparse.Namespace) -> int:
    from components.export.recommender import recommend

    features = {}
    for pair in options.feature:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--feature {pair}: write NAME=VALUE.")
        features[name] = value
    found = recommend(
        options.export,
        options.user,
        options.k,
        features=features,
        exclude_seen=not options.include_seen,
    )
    for place, item in enumerate(found, 1):
        print(f"{place:3d}  {item.score:8.4f}  {item.title}  ({item.id})")
    return 0


def _published(options: argparse.Namespace) -> int:
    from components.shared.registry.published_models import PublishedModels

    history = PublishedModels.at(options.location).history()
    if not history:
        print(f"nothing is published at {options.location}")
    for move in history:
        mark = "  <- latest" if move == history[-1] else ""
        print(f"{move.number:4d}  {move.time}  {move.action:8}  {move.version}{mark}")
    return 0


def _rollback(options: argparse.Namespace) -> int:
    from components.shared.registry.published_models import PublishedModels

    move = PublishedModels.at(options.location).rollback(options.to)
    print(f"{move.version} is the latest version at {options.location} now; before it was "
          f"{move.previous}")  # fmt: skip
    return 0


def _configs(options: argparse.Namespace) -> int:
    del options
    names = shipped_configs()
    for name in names:
        print(f"{name:{max(map(len, names))}}  {load_config(name).description}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
