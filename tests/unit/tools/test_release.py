"""The files of a release: their tag and their contents."""

import hashlib
import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from tools import release as releasing
from tools.release import ReleaseError, check_version, checksums, release


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository with a version, a changelog and its own packager."""
    root = tmp_path / "repository"
    files = {
        "layers/isodrop/isodrop/__init__.py": '__version__ = "1.2.3"\n',
        "CHANGELOG.md": "# Changelog\n\n## [1.2.3]\n",
        "tools/__init__.py": "",
        "tools/package.py": (
            "import pathlib, sys\n"
            "folder = pathlib.Path(sys.argv[1])\n"
            "folder.mkdir()\n"
            "(folder / 'template.json').write_text('{}')\n"
            "(folder / 'Layer-0.cdx.json').write_text('{\"bomFormat\": \"CycloneDX\"}')\n"
        ),
        "pyproject.toml": (
            '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            '[project]\nname = "isodrop"\nversion = "1.2.3"\nrequires-python = ">=3.11"\n'
            '[tool.hatch.build.targets.wheel]\npackages = ["layers/isodrop/isodrop"]\n'
        ),
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    git(root, "init", "--quiet")
    commit(root)
    git(root, "tag", "v1.2.3")
    return root


def git(root: Path, *arguments: str) -> None:
    person = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com"]
    subprocess.run(["git", "-C", str(root), *person, *arguments], check=True)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "Change it")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_release_has_four_files_and_their_checksums(repository: Path, tmp_path: Path) -> None:
    made = release("v1.2.3", tmp_path / "release", repository)
    assert [path.name for path in made] == [
        "isodrop-1.2.3-package.zip",
        "isodrop-1.2.3-py3-none-any.whl",
        "isodrop-1.2.3.cdx.json",
        "SHA256SUMS",
    ]
    for line in made[-1].read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((tmp_path / "release" / name).read_bytes()).hexdigest() == digest
    with zipfile.ZipFile(made[0]) as package:
        assert package.namelist() == ["Layer-0.cdx.json", "template.json"]
    assert json.loads(made[2].read_text())["bomFormat"] == "CycloneDX"


def test_a_tag_makes_the_same_bytes_after_later_changes(repository: Path, tmp_path: Path) -> None:
    release("v1.2.3", tmp_path / "first", repository)
    (repository / "layers/isodrop/isodrop/later.py").write_text("x = 1\n")
    commit(repository)
    (repository / "layers/isodrop/isodrop/uncommitted.py").write_text("y = 2\n")
    release("v1.2.3", tmp_path / "second", repository)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_an_unknown_tag_is_refused(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"no tag v9\.9\.9"):
        release("v9.9.9", tmp_path / "release", repository)


def test_a_tag_of_another_version_is_refused(repository: Path, tmp_path: Path) -> None:
    git(repository, "tag", "v2.0.0")
    with pytest.raises(ReleaseError, match=r"v2\.0\.0 has the version 1\.2\.3"):
        release("v2.0.0", tmp_path / "release", repository)


def test_a_version_missing_in_the_changelog_is_refused(repository: Path) -> None:
    (repository / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n")
    with pytest.raises(ReleaseError, match=r"no section \[1\.2\.3\]"):
        check_version("v1.2.3", repository)


def test_the_error_of_a_failed_build_has_its_output(repository: Path, tmp_path: Path) -> None:
    (repository / "tools/package.py").write_text("raise SystemExit('no wheels for arm64')\n")
    commit(repository)
    git(repository, "tag", "--force", "v1.2.3")
    with pytest.raises(ReleaseError, match="no wheels for arm64"):
        release("v1.2.3", tmp_path / "release", repository)


def test_the_checksums_have_the_form_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert checksums([tmp_path / "empty"]) == f"{empty}  empty\n"
    assert releasing.SUMS == "SHA256SUMS"
