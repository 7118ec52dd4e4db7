"""``make package``: the template as plain CloudFormation, with its artifacts beside it.

SAM transforms template.yaml at each deployment; here it is transformed once, for other tools:
StackSets, service catalogs, Terraform, CDK. Service-managed StackSets refuse transforms and nested
stacks; the result has neither. The location of the artifacts is a parameter. Beside them
are the license and, under the layer's name, its bill of materials in CycloneDX's JSON.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from isodrop_local.packaging import find_files, make_layer
from isodrop_local.template import ROOT, read_template, transform
from tools.inlined_stacks import inline_stacks
from tools.sbom import make_sbom, shipped

TEMPLATE: Final = "template.json"
_BUCKET: Final = "the-artifacts"
_READABLE: Final = 0o100644 << 16
"""Permissions in a zip. Lambda keeps them when it unpacks: without them it cannot read the code."""
_PARAMETERS: Final = {
    "ArtifactBucket": {
        "Type": "String",
        "Description": "The bucket with this template's artifacts, in the Region of the stack.",
        "AllowedPattern": "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
    },
    "ArtifactPrefix": {
        "Type": "String",
        "Description": "The prefix of the artifacts' keys.",
        "Default": "isodrop/",
        "AllowedPattern": "^$|^[A-Za-z0-9!_.*'()/-]+/$",
    },
}


def package(folder: Path, *settings: str) -> list[Path]:
    """Write the template and its artifacts into a folder.

    Parameters
    ----------
    folder : pathlib.Path
        It is emptied first.
    *settings : str
        Variables of the layer's Makefile, as ``NAME=value``.

    Returns
    -------
    list of pathlib.Path
        The files to upload.

    Raises
    ------
    isodrop_local.packaging.PackageError
        The layer could not be built.
    tools.sbom.SbomError
        The layer and the locked requirements differ.
    tools.licenses.LicenseError
        The license of a library in the layer is not known.
    """
    folder = folder.resolve()  # make runs elsewhere
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    template = inline_stacks(read_template(), lambda name: read_template(ROOT / name))
    artifacts = []
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::Serverless::Function":
                found = find_files(ROOT / properties["CodeUri"])
                artifacts.append(_zip(folder, name, found))
                properties["CodeUri"] = {"Bucket": _BUCKET, "Key": artifacts[-1].name}
            case "AWS::Serverless::LayerVersion":
                with tempfile.TemporaryDirectory(dir=folder) as built:
                    layer = ROOT / properties["ContentUri"]
                    print(make_layer(layer, f"build-{name}", Path(built), *settings))
                    libraries = shipped(Path(built))
                    archive = _zip(folder, name, find_files(Path(built), compiled=True))
                bill = archive.with_suffix(".cdx.json")
                bill.write_bytes(make_sbom(libraries, archive.read_bytes()))
                artifacts += [archive, bill]
                properties["ContentUri"] = {"Bucket": _BUCKET, "Key": archive.name}
                del resource["Metadata"]
            case "AWS::Serverless::StateMachine":
                artifacts.append(_copy(folder, name, ROOT / properties["DefinitionUri"]))
                properties["DefinitionUri"] = {"Bucket": _BUCKET, "Key": artifacts[-1].name}
    artifacts.append(Path(shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")))
    plain = _replace_artifacts(transform(template))
    plain["Parameters"] |= _PARAMETERS
    group = {"Label": {"default": "Where the artifacts are"}, "Parameters": list(_PARAMETERS)}
    plain["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"].append(group)
    text = json.dumps(plain, default=str, separators=(",", ":"))
    (folder / TEMPLATE).write_text(text + "\n")
    return artifacts


def _replace_artifacts(node: Any) -> Any:
    """Replace the location of each artifact with the parameters."""
    if isinstance(node, list):
        return [_replace_artifacts(each) for each in node]
    if not isinstance(node, dict):
        return node
    for bucket, key in (("S3Bucket", "S3Key"), ("Bucket", "Key")):
        if node.get(bucket) == _BUCKET:
            prefixed_key = {"Fn::Sub": f"${{ArtifactPrefix}}{node[key]}"}
            return {bucket: {"Ref": "ArtifactBucket"}, key: prefixed_key}
    return {name: _replace_artifacts(value) for name, value in node.items()}


def _copy(folder: Path, name: str, path: Path) -> Path:
    """Copy a file under a name that has a digest of its contents."""
    content = path.read_bytes()
    target = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}{path.suffix}"
    target.write_bytes(content)
    return target


def _zip(folder: Path, name: str, found: Mapping[str, Path]) -> Path:
    """Zip files under a name that has a digest of their contents; the result is reproducible."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, path in found.items():
            entry = zipfile.ZipInfo(inside)
            entry.external_attr = _READABLE
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    content = buffer.getvalue()
    target = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.zip"
    target.write_bytes(content)
    return target


def main() -> int:
    """Package, and print how to deploy the package."""
    parser = argparse.ArgumentParser(prog="python -m tools.package", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "settings", nargs="*", metavar="NAME=value", help="for the layer's Makefile"
    )
    options = parser.parse_args()
    artifacts = package(options.folder, f"PYTHON={sys.executable}", *options.settings)
    for name in (TEMPLATE, *(path.name for path in artifacts)):
        path = options.folder / name
        print(f"{path.stat().st_size:>10,} bytes  {path}")
    print(f"\nUpload the folder: aws s3 cp --recursive {options.folder} s3://BUCKET/isodrop/")
    print("Next: docs/deploying.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
