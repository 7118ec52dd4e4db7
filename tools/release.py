"""``make release``: the files of a release, built only from its tag.

Into build/release go the wheel, the CloudFormation package as a zip, the layer's bill of materials
and ``SHA256SUMS``. They are built from an export of the tag ``v<version>``, so uncommitted files
and later commits are not included. The same tag results in the same bytes on the same version of
Python, whose bytecode is in the layer.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Final

from isodrop import __version__
from isodrop_local.template import ROOT

SUMS: Final = "SHA256SUMS"
_READABLE: Final = 0o100644 << 16
_SOURCES: Final = (".", "layers/isodrop", "cli", "local")
"""Folders of an export that its own programs import from."""


class ReleaseError(Exception):
    """The tag cannot be released, or a part of it could not be built."""


def release(tag: str, folder: Path, root: Path = ROOT) -> list[Path]:
    """Build all files of a release.

    Parameters
    ----------
    tag : str
        Such as ``v0.1.0``.
    folder : pathlib.Path
        It is emptied first.
    root : pathlib.Path
        The repository.

    Returns
    -------
    list of pathlib.Path
        The files, ``SHA256SUMS`` last.

    Raises
    ------
    ReleaseError
        There is no such tag, its sources have another version, their changelog does not have that
        version, or a build failed.
    """
    if not _git(root, "tag", "--list", tag).strip():
        raise ReleaseError(f"there is no tag {tag}; create it: git tag -a {tag}")
    seconds = _git(root, "log", "-1", "--format=%ct", tag).decode().strip()
    folder = folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="isodrop-release-") as temporary:
        export = Path(temporary, "source")
        with tarfile.open(fileobj=BytesIO(_git(root, "archive", "--format=tar", tag))) as archive:
            archive.extractall(export, filter="data")
        version = check_version(tag, export)
        environment = {
            **os.environ,
            "SOURCE_DATE_EPOCH": seconds,
            "PYTHONPATH": os.pathsep.join(str(export / source) for source in _SOURCES),
        }
        wheel = ("pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
        _run(export, environment, *wheel, "--wheel-dir", str(folder), ".")
        package = Path(temporary, "package")
        _run(export, environment, "tools.package", str(package))
        bills = list(package.glob("*.cdx.json"))
        if len(bills) != 1:
            raise ReleaseError(f"the package has {len(bills)} bills of materials instead of one")
        shutil.copyfile(bills[0], folder / f"isodrop-{version}.cdx.json")
        _zip(folder / f"isodrop-{version}-package.zip", sorted(package.iterdir()))
    files = sorted(folder.iterdir())
    sums = folder / SUMS
    sums.write_text(checksums(files))
    return [*files, sums]


def check_version(tag: str, export: Path) -> str:
    """Return the version of exported sources, which must be the tag's and in the changelog.

    Raises
    ------
    ReleaseError
        The tag's version differs, or is not in the changelog.
    """
    code = (export / "layers/isodrop/isodrop/__init__.py").read_text(encoding="utf-8")
    version = code.partition('__version__ = "')[2].partition('"')[0]
    if tag != f"v{version}":
        raise ReleaseError(f"{tag} has the version {version or 'none'} in its sources")
    if f"\n## [{version}]" not in (export / "CHANGELOG.md").read_text(encoding="utf-8"):
        raise ReleaseError(f"the CHANGELOG.md of {tag} has no section [{version}]")
    return version


def checksums(files: Iterable[Path]) -> str:
    """Write the SHA-256 of each file, as ``sha256sum --check`` reads it."""
    return "".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in files)


def _zip(path: Path, files: Iterable[Path]) -> None:
    """Zip files without times and owners, so that the same files make the same zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.name)
            entry.external_attr = _READABLE
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


def _git(root: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], check=True, capture_output=True
        ).stdout
    except subprocess.CalledProcessError as error:
        raise ReleaseError(error.stderr.decode(errors="replace").strip()) from error


def _run(folder: Path, environment: dict[str, str], module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ReleaseError(f"python -m {module} failed:\n{done.stdout}{done.stderr}".rstrip())


def main() -> None:
    """Build a release, and print its checksums."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("--tag", default=f"v{__version__}", help="default: %(default)s")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    try:
        files = release(options.tag, options.folder)
    except ReleaseError as error:
        sys.exit(str(error))
    print(files[-1].read_text(), end="")


if __name__ == "__main__":
    main()
