"""The index of the commands: their modules, which are imported on use, and their help."""

from dataclasses import dataclass

from cyclopts import Group

LOCAL = Group("On this machine", sort_key=1)
CLUSTER = Group("On a cluster", sort_key=2)
IMAGES = Group("Container images", sort_key=3)
REGISTRY = Group("Published models", sort_key=4)
OTHER = Group("Other", sort_key=5)


@dataclass(frozen=True)
class Command:
    """A command.

    Args:
        name: Its name.
        module: Its module below `pipeline.cli`, which defines `<name>_app`.
        group: Its group in the list of commands.
        summary: One line for the list.
        description: What else its own help says before the options.
    """

    name: str
    module: str
    group: Group
    summary: str
    description: str = ""

    @property
    def target(self) -> str:
        """Where it is defined, as `module:name`."""
        return f"pipeline.cli.{self.module}:{self.name}_app"

    @property
    def help(self) -> str:
        """The summary and the description."""
        return f"{self.summary}\n\n{self.description}".strip()


COMMANDS = (
    Command(
        "run",
        "run",
        LOCAL,
        "Run the pipeline on this machine, without a cluster.",
        "Each step of the compiled pipeline runs in its own process. Results go to "
        "OUTPUT/NAME/TIME; OUTPUT/latest points at the newest. Steps whose inputs and code have "
        "not changed since a previous run are reused.",
    ),
    Command(
        "runs",
        "runs",
        LOCAL,
        "List the latest runs, of this machine or of a cluster.",
        "Newest first: what ran, the headline metric of the model and its lead over most-popular, "
        "the verdict, the published version and the wall time. With --host or --cluster, the runs "
        "on a cluster: id, name, state, start (UTC) and duration.",
    ),
    Command(
        "show",
        "show",
        LOCAL,
        "Print the results of a run.",
        "Data, metrics beside the baselines, the time of each step, the verdict with its reasons, "
        "what was published, and where the files are.",
    ),
    Command(
        "diff",
        "diff",
        LOCAL,
        "Compare the metrics and configs of two runs.",
        "Prints the exported models' metrics side by side, their differences (second minus "
        "first), and the config keys whose values differ. To repeat runs over several seeds, see "
        "'deep-retrieval compare'.",
    ),
    Command(
        "report",
        "show",
        LOCAL,
        "Print the path of a run's report, or open it.",
    ),
    Command(
        "recommend",
        "recommend",
        LOCAL,
        "Print recommendations from an export, for a user or for liked items.",
        "Asks a run's SavedModel. Items in the user's log are excluded. A user who is not in the "
        "log is described by --feature or by --liked: a model with a history or a profile gets "
        "the liked items as those of the user, without a new training; with another model, the "
        "items that are nearest to the mean of the liked items' embeddings are printed.",
    ),
    Command(
        "similar",
        "similar",
        LOCAL,
        "Print the items that are nearest to an item.",
        "Nearest by the cosine of the candidate embeddings of an export.",
    ),
    Command(
        "init",
        "init",
        LOCAL,
        "Look at your data, and write a config that runs on it.",
        "Profiles every column, and guesses what it means. The config says in comments what was "
        "seen, what was left out and why, and what to check.",
    ),
    Command(
        "tune",
        "tune",
        LOCAL,
        "Search for better train settings on the validation split.",
        "Tries the config's own settings first, then others from the search space in its section "
        "'tune'. Uses the training and validation splits only. Results go to OUTPUT/tune/NAME: "
        "trials.csv, and best.yaml, a config. An interrupted search resumes.",
    ),
    Command(
        "compare",
        "compare",
        LOCAL,
        "Compare models and baselines over several seeds.",
        "Trains each layer stack of each config with several seeds, measures the models and the "
        "baselines on the same test split, and prints a table of means and standard deviations. "
        "The table, a plot and all numbers are also written to OUTPUT/compare. Models that are "
        "already trained are reused.",
    ),
    Command("configs", "configs", LOCAL, "List the shipped configs."),
    Command(
        "doctor",
        "doctor",
        LOCAL,
        "Check this machine, and say how to get what is missing.",
        "Checks Python, packages, the output folder, disk space, memory, GPUs, the container "
        "engine and its images and, with --host or KF_PIPELINES_ENDPOINT, the cluster. Takes a few "
        "seconds, and returns 1 if something is missing that every run needs.",
    ),
    Command(
        "prune",
        "prune",
        LOCAL,
        "Delete caches, work folders and leftovers of runs.",
        "Without --yes, prints what would be deleted and its size. Results of runs stay, unless "
        "--keep says how many runs of each config to keep. Symbolic links are not followed.",
    ),
    Command(
        "compile",
        "compile",
        CLUSTER,
        "Write the pipeline as KFP IR YAML.",
        "The config's values become the defaults of the pipeline's parameters, which a run can "
        "change.",
    ),
    Command(
        "submit",
        "cluster.submit",
        CLUSTER,
        "Run the pipeline on a Kubeflow cluster.",
        "Compiles the pipeline, uploads it and starts a run. A version is named by its content, "
        "so the same pipeline is uploaded once.",
    ),
    Command(
        "schedule",
        "cluster.schedule",
        CLUSTER,
        "Run the pipeline on a cluster periodically.",
        "Manages schedules (KFP's recurring runs) by name.",
    ),
    Command(
        "logs",
        "cluster.logs",
        CLUSTER,
        "Print the log of a step of a cluster run.",
        "The log is available while the step runs and as long as Kubeflow keeps it. Without a "
        "step: the log of the step that failed; if none failed, the steps and their states.",
    ),
    Command(
        "images",
        "images",
        IMAGES,
        "Build, push or list the steps' container images.",
        "Builds from this checkout with docker or podman. An image's tag is a hash of its content.",
    ),
    Command(
        "published",
        "published",
        REGISTRY,
        "List the history of published versions.",
        "Every change of the latest version at a location, oldest first.",
    ),
    Command(
        "rollback",
        "published",
        REGISTRY,
        "Make an earlier published version the latest again.",
        "The versions themselves do not change. The next run is compared with, and may start "
        "from, the version that is then the latest.",
    ),
)
