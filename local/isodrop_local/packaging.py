"""Does what ``sam build`` and ``sam package`` do: archives, and a template that refers to them.

Template, code and state machine are those that are deployed to AWS. Only
the layer differs: its wheels are those of this machine's Python, which runs it.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from samtranslator.yaml_helper import yaml_parse

from isodrop_local.interpreter import interpreter

ROOT: Final = Path(__file__).resolve().parents[2]
BUILD: Final = ROOT / "build" / "emulator"

Upload = Callable[[bytes, str], str]
"""Stores bytes under a name with a suffix, and returns its ``s3://`` URI."""


class PackageError(Exception):
    """The artifacts cannot be made."""


def package(template: Path, upload: Upload) -> dict[str, Any]:
    """Upload the files that a template refers to by path, and replace the paths.

    Parameters
    ----------
    template : pathlib.Path
        A SAM template; paths in it are relative to its folder.
    upload : callable
        Stores an artifact.

    Returns
    -------
    dict
        The template, which can be sent as JSON.
    """
    packaged: dict[str, Any] = yaml_parse(template.read_text())
    for name, resource in packaged["Resources"].items():
        properties = resource.get("Properties", {})
        folder = template.parent
        match resource["Type"]:
            case "AWS::Serverless::Function":
                code = make_zip(find_files(folder / properties["CodeUri"]))
                properties["CodeUri"] = upload(code, ".zip")
            case "AWS::Serverless::LayerVersion":
                layer = built_layer(folder / properties["ContentUri"], f"build-{name}")
                properties["ContentUri"] = upload(layer, ".zip")
            case "AWS::CloudFormation::Stack":
                nested = (folder / properties["TemplateURL"]).read_bytes()
                # CloudFormation accepts a nested template by https only.
                address = upload(nested, ".template")
                properties["TemplateURL"] = address.replace("s3://", "https://s3.amazonaws.com/")
            case "AWS::Serverless::StateMachine" if "DefinitionUri" in properties:
                definition = (folder / properties["DefinitionUri"]).read_bytes()
                properties["DefinitionUri"] = upload(definition, ".json")
    return packaged


def built_layer(folder: Path, target: str) -> bytes:
    """Build the layer as ``sam build`` does, with its Makefile; its dependencies only once.

    The dependencies are cached under ``build/``, by their requirements; the package itself is
    read from the folder each time.
    """
    archive = BytesIO(_dependencies(folder, target).read_bytes())
    package = folder / "isodrop"
    with zipfile.ZipFile(archive, "a") as layer:
        for name, path in find_files(package).items():
            _write(layer, f"python/{package.name}/{name}", path)
    return archive.getvalue()


def cached_dependencies(folder: Path = ROOT / "layers" / "isodrop") -> Path:
    """Return where the layer's dependencies are cached."""
    recipe = [*(folder.glob("requirements*.txt")), folder / "Makefile"]
    contents = b"".join(part.read_bytes() for part in sorted(recipe))
    platform_id = f"{interpreter().version}{platform.machine()}".encode()
    return BUILD / f"layer-{hashlib.sha256(contents + platform_id).hexdigest()[:16]}.zip"


def _dependencies(folder: Path, target: str) -> Path:
    """Zip what the layer's Makefile installs, without the package; cached if possible."""
    cached = cached_dependencies(folder)
    if cached.exists():
        return cached
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="layer-") as artifacts:
        make_layer(folder, target, Path(artifacts), *interpreter().layer_settings)
        shutil.rmtree(Path(artifacts, "python", "isodrop"))
        new_archive = Path(artifacts, "layer.zip")
        new_archive.write_bytes(make_zip(find_files(Path(artifacts), compiled=True)))
        new_archive.replace(cached)
    return cached


def make_layer(folder: Path, target: str, artifacts: Path, *settings: str) -> str:
    """Run the layer's Makefile, as ``sam build`` does.

    Parameters
    ----------
    folder : pathlib.Path
        The folder of the Makefile.
    target : str
        ``build-`` and the layer's logical id.
    artifacts : pathlib.Path
        The folder for the layer.
    *settings : str
        Variables of the Makefile, as ``NAME=value``.

    Returns
    -------
    str
        The last line of make's output: whether the layer has bytecode.

    Raises
    ------
    PackageError
        The message has the end of make's output.
    """
    built = subprocess.run(
        [
            "make",
            "--no-print-directory",
            "-C",
            str(folder),
            target,
            f"ARTIFACTS_DIR={artifacts}",
            *settings,
        ],
        capture_output=True,
        text=True,
        check=False,
        env=_environ(),
    )
    if built.returncode:
        raise PackageError(f"the layer could not be built:\n{built.stderr[-3000:]}")
    return built.stdout.strip().rpartition("\n")[2]


def _environ() -> Mapping[str, str]:
    """Return the environment without the variables that an outer make passes to an inner one."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


def find_files(folder: Path, *, compiled: bool = False) -> dict[str, Path]:
    """Find all files below a folder, by name in the archive; compiled ones only on request."""
    if not folder.is_dir():
        raise PackageError(f"there is no folder {folder}")
    return {
        str(path.relative_to(folder)): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (compiled or path.suffix != ".pyc")
    }


def make_zip(found: Mapping[str, Path]) -> bytes:
    """Zip files; the same files result in the same bytes."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, path in found.items():
            _write(archive, name, path)
    return buffer.getvalue()


def _write(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    """Store a file uncompressed: it stays on this machine, where time matters more than space."""
    archive.writestr(zipfile.ZipInfo(name), path.read_bytes())
