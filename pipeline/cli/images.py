"""The command `deep-retrieval images`."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from components.shared.runtime.errors import InputError
from pipeline.cli.options import DEFAULT_IMAGES, ImageOptions
from pipeline.cli.output import Json, print_json, print_table

images_app = App(
    name="images",
    help_epilogue="""\
Examples:
  deep-retrieval images build
  deep-retrieval images push --registry ghcr.io/acme --gpu
  deep-retrieval images list --json""",
)


@images_app.default
def images(
    action: Annotated[Literal["build", "push", "list"], Parameter(help="what to do")],
    /,
    *,
    images: ImageOptions = DEFAULT_IMAGES,
    engine: Annotated[
        Literal["docker", "podman"] | None,
        Parameter(help="the container engine (default: the one that is installed)"),
    ] = None,
    build_option: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="OPTION",
            allow_leading_hyphen=True,
            help="pass an option to the engine's build, e.g. --build-option=--network=host; "
            "repeatable",
            show_default=False,
        ),
    ] = (),
    as_json: Json = False,
) -> int:
    """Build, push or list the images."""
    from pipeline.images import DOCKERFILES, build_image, find_engine, push_image

    if as_json and action != "list":
        raise InputError("--json goes with images list.")
    found = find_engine(engine)
    if action == "list":
        _list(found, images, as_json)
        return 0
    for name in DOCKERFILES:
        if action == "build":
            for reference in build_image(
                found, name, images.registry, gpu=images.gpu, options=build_option
            ):
                print(f"built {reference}")
        else:
            for reference in push_image(found, name, images.registry, gpu=images.gpu):
                print(f"pushed {reference}")
    return 0


def _list(engine: str, images: ImageOptions, as_json: bool) -> None:
    from pipeline.images import image_exists, step_images

    references = step_images(images.registry, gpu=images.gpu).values()
    built = {reference: image_exists(engine, reference) for reference in references}
    if as_json:
        print_json([{"image": image, "built": is_built} for image, is_built in built.items()])
        return
    rows = [(image, "built" if is_built else "not built") for image, is_built in built.items()]
    print_table(("image", "state"), rows, map("  ".join, rows))
