"""Paths, URIs and names of assets that try to get out of what a server shows."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.artifacts.access import Access
from services.artifacts.assets import AssetStore
from services.errors import BacklotError, InvalidRequest, NotFound


@dataclass(frozen=True)
class Place:
    """``media`` and ``more`` are shown, ``secret`` is beside them."""

    access: Access
    media: Path
    secret: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    top = tmp_path_factory.mktemp("access")
    media, more, secret = top / "media", top / "more", top / "secret"
    for folder in (media / "shot" / "deep", more, secret, top / "media-2"):
        folder.mkdir(parents=True)
    for file in (media / "shot" / "0001.png", media / "a b%2e.png", secret / "key.png", top / "media-2" / "0001.png"):
        file.write_bytes(b"x")
    for name, target in (
        ("out", secret), ("out.png", secret / "key.png"), ("relative", Path("../secret")), ("chain", media / "out"),
        ("root", Path("/")), ("gone", Path("/nowhere")), ("self", media / "self"), ("fine", media / "shot"),
        ("across", more),
    ):  # fmt: skip
        (media / name).symlink_to(target)
    (media / "shot" / "deep" / "0001.png").symlink_to(secret / "key.png")
    (media / "clean").mkdir()
    (media / "clean" / "0001.png").write_bytes(b"x")
    os.mkfifo(media / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as listening:
        cwd = Path.cwd()
        os.chdir(media)  # the name of a socket may only be short
        listening.bind("socket.mp4")
        os.chdir(cwd)

    def no_result(asset: str, tenant: str) -> Path:
        raise NotFound("no result")

    return Place(Access([media, more], AssetStore(top / "assets"), no_result), media, secret)


ATTACKS = [
    # outside, named plainly
    "{secret}", "{secret}/key.png", "{secret}/*.png", "{secret}/%04d.png", "/", "/etc/passwd", "/etc/*", "/root",
    "/proc/self/environ", "/proc/self/root/etc/passwd", "/proc/self/cwd", "/proc/self/fd/0", "/dev/stdin", "/dev/zero",
    "/sys/kernel", "{media}-2/0001.png", "{media}-2", "{media}/..", "{media}/../media-2/%04d.png",
    # up and out
    "{media}/../secret/key.png", "{media}/shot/../../secret/key.png", "{media}/./../secret", "{media}//../secret",
    "{media}/shot/../../secret/*.png", "{media}/nothing/../../secret/key.png", "{media}/../../../../../../etc/passwd",
    "{media}/../secret/", "{media}/shot/deep/../../../secret/key.png", "{media}/..;/secret",
    # links
    "{media}/out", "{media}/out/", "{media}/out/key.png", "{media}/out/*.png", "{media}/out/%04d.png",
    "{media}/out.png", "{media}/relative/key.png", "{media}/chain/key.png", "{media}/root/etc/passwd",
    "{media}/root", "{media}/gone",
    "{media}/self", "{media}/self/x", "{media}/fine/../secret/key.png", "{media}/out/../secret/key.png",
    "{media}/shot/deep/0001.png", "{media}/shot/deep", "{media}/shot", "{media}", "{media}/shot/deep/*.png",
    "{media}/*.png", "{media}/%04d.png", "{media}/####.png", "{media}/fine",
    # not files
    "{media}/pipe.mp4", "{media}/socket.mp4",
    # URIs
    "file://{secret}/key.png", "file://localhost{secret}/key.png", "file://{media}/../secret/key.png",
    "file://{media}/%2e%2e/secret/key.png", "file://{media}/%2E%2E%2Fsecret%2Fkey.png", "file://{media}/shot%00.png",
    "file://{media}/..%2fsecret/key.png", "file://evil.example{media}/shot/0001.png", "file://127.0.0.1{media}/shot",
    "file://user@localhost{media}/clean", "file:{media}/clean", "file:///{media}/../secret", "FILE://{secret}/key.png",
    "http://127.0.0.1/x.mp4", "https://example.com/x.mp4", "ftp://example.com/x", "s3://bucket/x.mp4", "gs://bucket/x",
    "rtsp://127.0.0.1/x", "data://text/plain,x", "concat:{secret}/key.png", "subfile,,start,0,end,1,,:{secret}/key.png",
    "pipe:0", "crypto://{secret}/key.png", "gopher://x", "jar:file://{secret}!/x", "http://[::1", "://", "//",
    "smb://x/y",
    "file://[bad/x", "http://169.254.169.254/latest/meta-data/",
    # not absolute, or no path at all
    "", ".", "..", "secret/key.png", "~/.ssh/id_rsa", "~root/x", "C:\\Windows\\win.ini", "\\\\server\\share\\x", "-",
    "{media}/shot/0001.png\0.mp4", "\0", "{media}/\0", "$HOME/x", "{{media}}/x", "nul",
    "{media}/clean/0001.png/../../../secret/key.png", "{media}/" + "a" * 300, "{media}/" + "a/" * 3000, "\n{secret}",
    " {secret}/key.png", "{media}/clean\n", "{media}/missing.mp4", "{media}/nowhere/%04d.png",
    "\ud800", "{media}/\udcff",
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_path_and_no_uri_leads_out(place: Place, attack: str) -> None:
    uri = attack.replace("{media}", str(place.media)).replace("{secret}", str(place.secret))
    with pytest.raises(InvalidRequest) as caught:
        place.access.local(uri, "clip.path")
    assert caught.value.field == "clip.path"


def test_there_are_enough_attacks() -> None:
    assert len(set(ATTACKS)) == len(ATTACKS) >= 100


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("{media}/clean", "clean"),
        ("{media}/clean/", "clean"),
        ("file://{media}/clean", "clean"),
        ("file://localhost{media}/clean/0001.png", "clean/0001.png"),
        ("{media}/clean/%04d.png", "clean/%04d.png"),
        ("{media}/shot/../clean/*.png", "clean/*.png"),
        ("{media}/a b%2e.png", "a b%2e.png"),
        ("file://{media}/a%20b%252e.png", "a b%2e.png"),
        ("{media}/fine/0001.png", "shot/0001.png"),
        ("{media}/across", "../more"),
    ],
)
def test_what_lies_below_a_root_is_found(place: Place, uri: str, found: str) -> None:
    got = place.access.local(uri.replace("{media}", str(place.media)), "clip.path")
    assert got == os.path.normpath(place.media / found)


def test_nobody_learns_what_lies_elsewhere(place: Place) -> None:
    """A file outside and one that is not there get the same answer."""
    answers = set()
    for name in ("key.png", "nothing.png"):
        with pytest.raises(InvalidRequest) as caught:
            place.access.local(str(place.secret / name), "clip.path")
        answers.add(caught.value.expected)
    assert len(answers) == 1


NAMES = ["", ".", "..", "../x", "of_anna", "a/b", "UPPER-CASE", "short", "a" * 81, "asset-1/", "-\0-------"]
PATHS = ["..", "../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a\\..\\b", "a/\0", "x" * 1025, "a/.", "\n", "\u202e"]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_an_asset_leads_out(place: Place, name: str) -> None:
    with pytest.raises((InvalidRequest, NotFound)):
        place.access.asset(name, "x.png", "clip.path")


@pytest.mark.parametrize("path", PATHS)
def test_no_path_in_an_asset_leads_out(place: Place, path: str) -> None:
    place.access.assets.begin("asset-0001", "x.png", "0" * 64, 3, 0).close()
    with pytest.raises(BacklotError):
        place.access.asset("asset-0001", path, "clip.path")


ABC = hashlib.sha256(b"abc").hexdigest()


def test_a_tenant_cannot_name_the_folder_of_another(place: Place) -> None:
    theirs = place.access.of("anna").assets.of("anna")
    with theirs.begin("asset-0002", "x.png", ABC, 3, 0) as up:
        up.write(b"abc")
    assert Path(place.access.of("anna").asset("asset-0002", "x.png", "f")).read_bytes() == b"abc"
    for access in (place.access, place.access.of("ben")):
        with pytest.raises((InvalidRequest, NotFound)):
            access.asset("asset-0002", "x.png", "f")


@pytest.mark.parametrize(
    "name",
    ["/uploads/evil", "../../uploads/evil", "..", ".", "a/b", "~/evil", "evil.yaml", "/x/evil.yml", "a\\b", "\0",
    "x y", "x\n"],
)
def test_no_request_names_a_manifest_of_its_own(name: str) -> None:
    from services.config import ModelsSettings
    from services.pipelines.painters import choose

    with pytest.raises(InvalidRequest) as caught:
        choose("anchors", "anchors_backend", name, "embedded", ModelsSettings())
    assert caught.value.field == "anchors_backend"
