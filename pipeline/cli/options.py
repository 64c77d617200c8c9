"""Options that several commands share: the config, and the container images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from pipeline.config.pipeline import PipelineConfig

CONFIG_HELP = "a shipped config (see 'deep-retrieval configs') or the path of a YAML file"
SET_HELP = (
    "change a value of the config: the key is a dotted path, the value is YAML, e.g. --set "
    "train.epochs=5 or --set layer_stacks='[[32],[64,32]]'; null removes the key; repeatable"
)
RUN_HELP = (
    "a config's name (its newest run), a name and a time as 'deep-retrieval runs' prints them, the "
    "beginning of these, a folder of results, or latest"
)
RunFolder = Annotated[str, Parameter(metavar="FOLDER", help="folder with the results of runs")]
Export = Annotated[str, Parameter(metavar="FOLDER", help="the export folder of a run")]
OutputFolder = Annotated[str, Parameter(metavar="FOLDER", help="folder for results")]
Overrides = Annotated[
    tuple[str, ...],
    Parameter(name="--set", metavar="KEY=VALUE", help=SET_HELP, show_default=False),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """The options that choose a config.

    Args:
        config: A shipped config's name or the path of a YAML file.
        overrides: `KEY=VALUE` for each changed value.
    """

    config: Annotated[str, Parameter(metavar="CONFIG", help=CONFIG_HELP)] = "sample"
    overrides: Overrides = ()

    def load(self, *more: str) -> "PipelineConfig":
        """Read the config and check it.

        Args:
            more: Further overrides, applied last.

        Raises:
            InputError: If the config or an override cannot be used.
        """
        from pipeline.config.loading import load_config

        return load_config(self.config, [*self.overrides, *more])


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """The options that choose the container images.

    Args:
        registry: The prefix of the images' names; empty for images of this machine.
        gpu: Whether the model image has JAX for NVIDIA GPUs.
    """

    registry: Annotated[
        str,
        Parameter(
            metavar="PREFIX",
            help="prefix of the images' names, e.g. ghcr.io/acme",
            env_var="DEEP_RETRIEVAL_REGISTRY",
        ),
    ] = ""
    gpu: Annotated[bool, Parameter(help="use the model image with JAX for NVIDIA GPUs")] = False


# cyclopts 5.5 wants a default for an argument whose fields all have one.
DEFAULT_CONFIG = ConfigOptions()
DEFAULT_IMAGES = ImageOptions()
