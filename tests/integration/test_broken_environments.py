"""The command in broken environments: each gives one sentence with a remedy, and no traceback.

Each was reported for some AWS command-line tool. The command runs in its own process, with a server
on the loopback address or none.
"""

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from isodrop_local.stack import BYTECODE

ISODROP = (sys.executable, "-m", "isodrop_cli")
SIGN_IN = "sign in"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
EXPIRED = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
OUTPUTS = {
    "UploadBucketName": "uploads",
    "ImportStateMachineArn": "arn:aws:states:::x",
    "LedgerTableName": "ledger",
    "UploadUri": "s3://uploads/",
    "ImportIsoFunctionName": "import-iso",
}

HttpResponse = tuple[int, str, str]
"""HTTP status, content type, body."""


def error(code: str, message: str = "as reported", status: int = 400) -> HttpResponse:
    """An error of a service with an XML protocol."""
    inner = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return status, "text/xml", f"<ErrorResponse>{inner}<RequestId>1</RequestId></ErrorResponse>"


def stack(outputs: Mapping[str, str] = OUTPUTS) -> HttpResponse:
    """CloudFormation's description of a stack."""
    described = "".join(
        f"<member><OutputKey>{name}</OutputKey><OutputValue>{value}</OutputValue></member>"
        for name, value in outputs.items()
    )
    member = (
        "<member><StackName>isodrop</StackName><StackStatus>CREATE_COMPLETE</StackStatus>"
        f"<CreationTime>2026-11-24T09:00:00Z</CreationTime><Outputs>{described}</Outputs></member>"
    )
    body = (
        '<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">'
        f"<DescribeStacksResult><Stacks>{member}</Stacks></DescribeStacksResult>"
        "</DescribeStacksResponse>"
    )
    return 200, "text/xml", body


def undecryptable() -> HttpResponse:
    """A function's settings if the caller may not use its key."""
    denied = {"ErrorCode": "AccessDeniedException", "Message": "not allowed to kms:Decrypt"}
    described = {"FunctionName": "import-iso", "Environment": {"Error": denied}}
    return 200, "application/json", json.dumps(described)


DENIED = (403, "application/json", '{"__type": "AccessDeniedException", "Message": "no"}')
PORTAL = (200, "text/html", "<html><title>Welcome</title><p>Sign in<br></html>")
CUT_OFF = (200, "text/xml", "<DescribeStacksResponse><DescribeStacksRes")


@dataclass(frozen=True)
class Broken:
    """A broken environment.

    Attributes
    ----------
    message : str
        A part of the reported sentence.
    arguments : tuple of str
    environ, config
        Environment variables, and AWS's config file; ``{home}`` is the home folder.
    responses : tuple
        The server's responses, one for each request; the last one is repeated.
    redirect : str
        The shell's redirection of the output.
    """

    message: str
    arguments: tuple[str, ...] = ("list",)
    environ: Mapping[str, str] = field(default_factory=lambda: KEYS)
    config: str = ""
    responses: tuple[HttpResponse, ...] = ()
    redirect: str = ""
    tls: bool = False


def profile(*lines: str) -> str:
    return "\n".join(("[default]", *lines, ""))


BROKEN = {
    # Credentials
    "no credentials": Broken(SIGN_IN, environ={}),
    "half of the credentials": Broken(SIGN_IN, environ={"AWS_ACCESS_KEY_ID": "half"}),
    "a profile that is not there": Broken("list-profiles", environ={"AWS_PROFILE": "nobody"}),
    "a token that has expired": Broken(SIGN_IN, responses=(error("ExpiredToken", status=403),)),
    "a key that nobody knows": Broken(
        SIGN_IN, responses=(error("InvalidClientTokenId", status=403),)
    ),
    "a wrong secret": Broken(SIGN_IN, responses=(error("SignatureDoesNotMatch", status=403),)),
    "a clock that is off": Broken(
        "set this machine's clock",
        responses=(error("SignatureDoesNotMatch", "Signature expired: 2026 is now", 403),),
    ),
    "a login that has expired": Broken(
        SIGN_IN,
        environ={},
        config=profile("sso_session = corp", "sso_account_id = 1", "sso_role_name = r")
        + "[sso-session corp]\nsso_region = eu-central-1\nsso_start_url = https://corp.invalid\n",
    ),
    "MFA without a terminal": Broken(
        "MFA",
        environ={},
        config=profile(
            "role_arn = arn:aws:iam::123456789012:role/admin",
            "source_profile = me",
            "mfa_serial = arn:aws:iam::123456789012:mfa/me",
        )
        + "[profile me]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n",
    ),
    "a credential process that is not there": Broken(
        "credential_process", environ={}, config=profile("credential_process = no-such-program")
    ),
    "a credential process that prints no JSON": Broken(
        "credential_process", environ={}, config=profile("credential_process = echo hello")
    ),
    "a credential process that fails": Broken(
        "credential_process", environ={}, config=profile("credential_process = false")
    ),
    "credentials that are expired when they are refreshed": Broken(
        SIGN_IN, environ={}, config=profile("credential_process = cat {home}/expired.json")
    ),
    "a web identity token file that is missing": Broken(
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        environ={
            "AWS_WEB_IDENTITY_TOKEN_FILE": "{home}/missing",
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r",
        },
    ),
    "a role whose source profile is missing": Broken(
        "correct the profile",
        environ={},
        config=profile("role_arn = arn:aws:iam::123456789012:role/r", "source_profile = gone"),
    ),
    "container credentials that no server provides": Broken(
        SIGN_IN, environ={"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/"}
    ),
    # Regions
    "an invalid config file": Broken("correct that file", config="[default\nregion"),
    "no Region": Broken("--region", environ={**KEYS, "AWS_DEFAULT_REGION": ""}),
    "an invalid Region": Broken("--region", ("list", "--region", "eu central!")),
    "another stack": Broken("it is not an isodrop stack", responses=(stack({"Other": "1"}),)),
    "no stack": Broken("there is no stack", responses=(error("ValidationError"),)),
    # The network
    "an invalid endpoint": Broken(
        "AWS_ENDPOINT_URL", environ={**KEYS, "AWS_ENDPOINT_URL": "nowhere"}
    ),
    "an endpoint where no server listens": Broken(
        "check the network", environ={**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    ),
    "a host without an address": Broken(
        "check the network", environ={**KEYS, "AWS_ENDPOINT_URL": "http://nobody.invalid"}
    ),
    "a proxy where no server listens": Broken(
        "HTTPS_PROXY", environ={**KEYS, "HTTPS_PROXY": "http://127.0.0.1:9"}
    ),
    "a portal that responds with a page": Broken(
        "the response is not from AWS", responses=(PORTAL,)
    ),
    "a portal that responds to S3's HEAD": Broken(
        "the response is not from AWS", ("event", "s3://uploads/a.iso"), responses=(PORTAL,)
    ),
    "a portal that responds to S3's GET": Broken(
        "the response is not from AWS", ("inspect", "s3://uploads/a.iso"), responses=(PORTAL,)
    ),
    "a response that is cut off": Broken("the response is not from AWS", responses=(CUT_OFF,)),
    "a proxy that inspects TLS": Broken("AWS_CA_BUNDLE", tls=True, responses=(stack(),)),
    "a bundle that is not there": Broken(
        "AWS_CA_BUNDLE",
        environ={**KEYS, "AWS_CA_BUNDLE": "{home}/missing.pem"},
        tls=True,
        responses=(stack(),),
    ),
    # Responses of AWS
    "HEAD's bare 400": Broken(
        "the token has expired", ("event", "s3://uploads/a.iso"), responses=((400, "", ""),)
    ),
    "HEAD's bare 403": Broken(
        "s3:GetObject", ("event", "s3://uploads/a.iso"), responses=((403, "", ""),)
    ),
    "a right that is missing": Broken(
        "request that permission", responses=(error("AccessDenied", status=403),)
    ),
    "a throttle": Broken("try again in a minute", responses=(error("Throttling"),)),
    "a service that is broken": Broken("try again in a minute", responses=((500, "", ""),)),
    "settings that cannot be decrypted": Broken(
        "kms:Decrypt",
        ("inspect", "{home}/a.iso", "--stack", "isodrop"),
        responses=(stack(), undecryptable()),
    ),
    # The machine
    "a standard output that is closed": Broken(
        "standard output is closed", ("names", "a.iso"), redirect=">&-"
    ),
    "a standard output that is full": Broken(
        "no space left on device", ("names", "a.iso"), redirect="> /dev/full"
    ),
    "a key that is not UTF-8": Broken("is not UTF-8", ("status", os.fsdecode(b"win\xff.iso"))),
    "a file name that is not UTF-8": Broken(
        "--key", ("upload", "{home}/" + os.fsdecode(b"win\xff.iso")), responses=(stack(),)
    ),
    "a file that is not there": Broken(
        "no such file", ("upload", "{home}/missing.iso"), responses=(stack(), DENIED)
    ),
    "a folder instead of a file": Broken("this is a directory", ("inspect", "{home}")),
}


def serve(responses: tuple[HttpResponse, ...], certificate: Path | None) -> ThreadingHTTPServer:
    """HttpResponse requests on the loopback address, one at a time."""
    left = list(responses)

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, kind, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response_only(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_GET = do_HEAD = do_POST = respond  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Ignore clients that distrust the certificate and close the connection."""

    server = Quiet(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"),
            *("-keyout", path, "-out", f"{path}.crt"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


Run = Callable[[Broken], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path, certificate: Path) -> Iterator[Run]:
    servers: list[ThreadingHTTPServer] = []
    expired = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c"}
    (tmp_path / "expired.json").write_text(json.dumps({**expired, "Expiration": EXPIRED}))
    for name in (b"a.iso", b"win\xff.iso"):
        (tmp_path / os.fsdecode(name)).write_bytes(bytes(4096))

    def at_home(text: str) -> str:
        return text.replace("{home}", str(tmp_path))

    def run(broken: Broken) -> "subprocess.CompletedProcess[str]":
        (tmp_path / "config").write_text(at_home(broken.config))
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "eu-central-1",
            **BYTECODE,
            **{name: at_home(value) for name, value in broken.environ.items()},
        }
        if broken.responses:
            servers.append(serve(broken.responses, certificate if broken.tls else None))
            scheme = "https" if broken.tls else "http"
            environ["AWS_ENDPOINT_URL"] = f"{scheme}://127.0.0.1:{servers[-1].server_port}"
        command: Any = [*ISODROP, *map(at_home, broken.arguments)]
        if broken.redirect:
            command = ["sh", "-c", f'exec "$@" {broken.redirect}', "sh", *command]
        return subprocess.run(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            start_new_session=True,  # and so without a terminal
            timeout=60,
            check=False,
        )

    yield run
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_environment_is_reported_in_one_sentence(run: Run, name: str) -> None:
    ended = run(BROKEN[name])

    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("isodrop: ")
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert BROKEN[name].message in ended.stderr
    assert (ended.returncode, ended.stdout) == (1, "")


def test_there_are_at_least_thirty_broken_environments() -> None:
    assert len(BROKEN) >= 30


def test_debug_shows_where_it_went_wrong(run: Run) -> None:
    ended = run(Broken("", ("list", "--debug"), responses=(PORTAL,)))

    assert "Traceback" in ended.stderr
    assert "ResponseParserError" in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("isodrop: ")
