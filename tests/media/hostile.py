"""A corpus of files that lie, swell, point elsewhere or are something else; each must be refused with a typed error."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from PIL import Image

from services.media import images
from services.sandbox import BLOCKOUT, CAMERAS, OTHER
from tests.media.conftest import numbered_picture, write_video

RNG = np.random.default_rng(6)
VIDEOS = ("mp4", "mov", "mkv", "webm", "avi", "ts", "mxf", "y4m")
PICTURES = ("png", "jpg", "jpeg", "tif", "exr", "hdr")
LAYERS = ("psd", "psb", "2p5d")
MESHES = ("glb", "gltf", "obj", "ply", "usd", "usda", "usdc", "usdz")
SOLVES = ("chan", "json")
SECRET = "../../secret.txt"


@dataclass(frozen=True)
class Hostile:
    name: str
    path: Path
    kind: str


class _Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("/owned"),))


ALIEN = {
    "nothing": b"",
    "byte": b"\0",
    "zeros": bytes(4096),
    "noise": RNG.bytes(4096),
    "page": b"<!doctype html><html><body>404</body></html>" * 20,
    "program": b"\x7fELF\x02\x01\x01" + bytes(120),
    "pickle": pickle.dumps(_Evil()),
    "pdf": b"%PDF-1.7\n" + bytes(300),
    "gzip": b"\x1f\x8b\x08" + bytes(100),
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\nfile ../../secret.txt\n",
    "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "session": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
}  # fmt: skip


def build(folder: Path) -> Iterator[Hostile]:
    """Write the corpus below ``folder``, each file in a folder of its own."""
    secret = folder / "secret.txt"
    secret.write_text("newmtl x\nKd 1 0 0\n")
    for name, kind, files in [*_alien(), *_pictures(), *_videos(folder), *_layers(), *_meshes(), *_solves(),
        *_others()]:
        place = folder / "corpus" / name.replace(" ", "_").replace("/", "_")
        for file, data in files.items():
            path = place / file if file else place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        first = next(iter(files))
        yield Hostile(name, place if first == "plate.yaml" else place / first.partition("/")[0], kind)


Files = dict[str, bytes | str]
Entry = tuple[str, str, Files]


def _alien() -> Iterator[Entry]:
    """Something else under every suffix."""
    for suffix in VIDEOS + PICTURES + LAYERS + MESHES + SOLVES:
        for what, data in ALIEN.items():
            yield f"{what} as {suffix}", CAMERAS if suffix in SOLVES else OTHER, {f"x.{suffix}": data}


def _png(wh: tuple[int, int], rows: bytes = b"", depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", *wh, depth, colour, 0, 0, 0)) + extra
            + (_chunk(b"IDAT", rows) if rows else b"") + _chunk(b"IEND", b""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _saved(picture: np.ndarray, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, **options)
    return stream.getvalue()


def _exr(wh: tuple[int, int] = (4, 4), **header: object) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.exr")
        made = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
        planes = {name: np.ones(wh[::-1], np.float32) for name in "RGB"}
        with OpenEXR.File(made, planes) as file:
            file.write(str(path))
        return path.read_bytes()


def _with_windows(exr: bytes, x: int, y: int) -> bytes:
    """The header's windows say that the picture ends at ``x``, ``y``."""
    for name in (b"dataWindow", b"displayWindow"):
        at = exr.index(name + b"\0box2i\0") + len(name) + 11
        exr = exr[:at] + struct.pack("<iiii", 0, 0, x, y) + exr[at + 16 :]
    return exr


def _pictures() -> Iterator[Entry]:
    picture = numbered_picture(1)
    squeezed = zlib.compress(bytes(3 * 96 * 64 + 64))
    yield "png asks for 30 gigapixels", OTHER, {"x.png": _png((200_000, 150_000), squeezed)}
    yield "png of no width", OTHER, {"x.png": _png((0, 5), squeezed)}
    yield "png of the largest size", OTHER, {"x.png": _png((2**31 - 1, 2**31 - 1), squeezed)}
    yield "png that swells", OTHER, {"x.png": _png((30_000, 30_000), zlib.compress(bytes(30_000 * 1000), 9))}
    yield "png without pixels", OTHER, {"x.png": _png((9, 9))}
    yield "png of unknown depth", OTHER, {"x.png": _png((96, 64), squeezed, depth=3)}
    yield "png of unknown colour", OTHER, {"x.png": _png((96, 64), squeezed, colour=5)}
    bomb = _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 * 2**20), 9))
    yield "png with a text that swells", OTHER, {"x.png": _png((96, 64), squeezed, extra=bomb)}
    yield "16-bit png asks for much", OTHER, {"x.png": _png((60_000, 60_000), squeezed, depth=16)}
    whole = {"png": _saved(picture, "PNG"), "jpg": _saved(picture, "JPEG"), "tif": _saved(picture, "TIFF"),
             "exr": _exr((96, 64))}
    for suffix, data in whole.items():
        for share in (0.02, 0.1, 0.3, 0.6, 0.85):
            yield f"{suffix} cut at {share}", OTHER, {f"x.{suffix}": data[: int(len(data) * share)]}
    flipped = bytearray(whole["png"])
    flipped[len(flipped) // 2] ^= 0xFF
    yield "png with a wrong checksum", OTHER, {"x.png": bytes(flipped)}
    jpeg = whole["jpg"]
    frame = jpeg.index(b"\xff\xc0") + 5
    yield "jpeg asks for 4 gigapixels", OTHER, {"x.jpg": jpeg[:frame] + b"\xff\xff\xff\xff" + jpeg[frame + 4 :]}
    yield "jpeg of no height", OTHER, {"x.jpg": jpeg[:frame] + b"\0\0\0\0" + jpeg[frame + 4 :]}
    tiff = struct.pack("<2sHI", b"II", 42, 8)
    tags = [(256, 4, 1, 2**31 - 1), (257, 4, 1, 2**31 - 1), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8),
            (279, 4, 1, 100)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    yield "tiff asks for much", OTHER, {"x.tif": tiff + struct.pack("<H", 6) + entries + struct.pack("<I", 0)}
    yield "tiff with 65535 tags", OTHER, {"x.tif": tiff + struct.pack("<H", 65535) + entries}
    yield "tiff that points outside", OTHER, {"x.tif": struct.pack("<2sHI", b"II", 42, 2**31)}
    small = _exr()
    for x, y in ((99_999, 85_899), (2**30, 0), (2**31 - 2, 2**31 - 2), (-5, -5), (8192, 8192), (2**16, 2**10)):
        yield f"exr asks for {x} x {y}", OTHER, {"x.exr": _with_windows(small, x, y)}
    yield "exr of another version", OTHER, {"x.exr": small[:4] + b"\xff" + small[5:]}
    yield "exr with broken offsets", OTHER, {"x.exr": small[:-150] + b"\xff" * 150}
    for line in (b"-Y 100000 +X 100000", b"-Y -5 +X 7", b"-Y 0 +X 0", b"+X 4 -Y 4", b"-Y 1e9 +X 1",
        b"-Y 9999999999 +X 1"):
        data = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n" + line + b"\n\0\0"
        yield f"hdr with {line.decode()}", OTHER, {"x.hdr": data}
    two: Files = {"shot/0001.png": whole["png"], "shot/0002.png": _saved(numbered_picture(1, (48, 32)), "PNG")}
    yield "sequence of two sizes", OTHER, two
    yield "sequence with a gap", OTHER, {"shot/0001.png": whole["png"], "shot/0003.png": whole["png"]}
    yield "sequence of two kinds", OTHER, {"shot/0001.png": whole["png"], "shot/0002.jpg": jpeg}
    yield "sequence with a bomb", OTHER, {"shot/0001.png": whole["png"], "shot/0002.png": _png((200_000, 150_000))}


def _videos(folder: Path) -> Iterator[Entry]:
    frames = [numbered_picture(i) for i in range(12)]
    for suffix, codec in (("mp4", "libx264"), ("mkv", "libx264"), ("mov", "mjpeg"), ("avi", "mjpeg")):
        pixels = "yuv420p" if codec == "libx264" else "yuvj420p"
        options: dict[str, str] | None = None if codec == "libx264" else {}
        path = write_video(folder / f"whole.{suffix}", frames, codec=codec, pix_fmt=pixels, options=options)
        data = path.read_bytes()
        path.unlink()
        for share in (0.01, 0.2, 0.5):
            yield f"{suffix} cut at {share}", OTHER, {f"x.{suffix}": data[: int(len(data) * share)]}
        if suffix in ("mp4", "mov"):
            box = data.index(b"stsz") + 12
            lie = data[:box] + b"\x3b\x9a\xca\0" + data[box + 4 :]
            yield f"{suffix} of a billion samples", OTHER, {f"x.{suffix}": lie}
            yield f"{suffix} without an index", OTHER, {f"x.{suffix}": data.replace(b"moov", b"xxxx")}
            yield f"{suffix} without pictures", OTHER, {f"x.{suffix}": data.replace(b"vide", b"soun")}
            middle = data.index(b"mdat") + 8
            noise = RNG.bytes(data.index(b"moov") - middle if data.index(b"moov") > middle else 2000)
            yield f"{suffix} of noise", OTHER, {f"x.{suffix}": data[:middle] + noise + data[middle + len(noise) :]}
    for text in ("W100000 H100000 F25:1", "W0 H0 F25:1", "W-4 H4 F25:1", "W16384 H16384 F25:1"):
        yield f"y4m of {text}", OTHER, {"x.y4m": f"YUV4MPEG2 {text} C420\nFRAME\n".encode() + bytes(64)}
    manifest = '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>file:///etc/passwd</BaseURL></Period></MPD>'
    yield "dash manifest as mp4", OTHER, {"x.mp4": manifest}
    wave = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data"
    yield "wav as mov", OTHER, {"x.mov": wave}
    yield "mp4 of one endless box", OTHER, {"x.mp4": struct.pack(">I4sQ", 1, b"ftyp", 2**63 - 1) + bytes(100)}
    yield "mp4 of boxes without end", OTHER, {"x.mp4": struct.pack(">I4s", 16, b"moov") * 4000}
    yield "mkv with a broken length", OTHER, {"x.mkv": b"\x1aE\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xfe" + bytes(300)}


def _zip(files: Files) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _asset(plate: dict | None = None, **asset: object) -> str:
    one = {"name": "sky", "filename": "sky.png", "z": 1.0, **(plate or {})}
    return json.dumps({"asset": {"field_of_view": 60, "max_depth": 10, **asset}, "plates": [one]})


def _layers() -> Iterator[Entry]:
    def psd(version: int = 1, channels: int = 3, hw: tuple[int, int] = (8, 8), bits: int = 8, mode: int = 3,
            rest: bytes = b"") -> bytes:  # fmt: skip
        return struct.pack(">4sH6xHIIHH", b"8BPS", version, channels, *hw, bits, mode) + rest

    sections = struct.pack(">II", 0, 0)
    for name, data in {
        "of 900 megapixels": psd(hw=(30_000, 30_000)), "of 300000 px": psd(hw=(300_000, 1)), "of nothing": psd(hw=(0,
        0)),
        "of 32 bits": psd(bits=32), "of 7 bits": psd(bits=7), "in CMYK": psd(mode=4),
        "in an unknown mode": psd(mode=99),
        "of version 9": psd(version=9, rest=sections), "that ends": psd(),
        "without layers": psd(rest=sections + bytes(8)),
        "with a long section": psd(rest=struct.pack(">I", 2**31)),
        "with 30000 layers": psd(rest=sections + struct.pack(">IIh", 1000, 900, 30_000) + bytes(900)),
        "with a vast layer": psd(rest=sections + struct.pack(
            ">IIhiiiiH", 400, 300, 1, 0, 0, 2**30, 2**30, 3) + bytes(300)),
    }.items():  # fmt: skip
        yield f"psd {name}", OTHER, {"x.psd": data}
    sky = images.encode_png(np.full((8, 8, 4), 255, np.uint8))
    good: Files = {"data.json": _asset(), "sky.png": sky}
    for name in ("../sky.png", "/etc/passwd", "a/../../b", "C:\\x.png", "..\\..\\x"):
        yield f"2p5d holds {name}", OTHER, {"x.2p5d": _zip({**good, name: b"x"})}
    for name, document in {
        "text": "hello", "a list": "[]", "no plates": "{}", "plates of a mapping": '{"plates": {"a": 1}}',
        "deep lists": "[" * 100_000, "a long text": " " * (2**20 + 1) + "{}", "numbers of plates": '{"plates": [1]}',
        "a missing file": _asset({"filename": "none.png"}), "a file outside": _asset({"filename": "../../secret.txt"}),
        "a wide view": _asset(field_of_view=180), "no view": _asset(field_of_view="x"), "no depth": _asset(max_depth=0),
        "endless depth": _asset(max_depth=float("inf")), "a nan": _asset(min_depth=float("nan")),
        "a vast canvas": _asset({"scale_x": 1e-9}), "a flat plate": _asset({"scale_y": 0}), "behind": _asset({"z": -1}),
        "a script": _asset({"filename": "data.json"}), "a number as name": _asset({"filename": 7}),
        "a huge number": _asset({"z": 10**400}),
    }.items():  # fmt: skip
        yield f"2p5d says {name}", OTHER, {"x.2p5d": _zip({**good, "data.json": document})}
    archive = _zip(good)
    entry = archive.index(b"PK\x01\x02")
    yield "2p5d announces 4 GiB", OTHER, {"x.2p5d": archive[: entry + 24] + b"\xff" * 4 + archive[entry + 28 :]}
    yield "2p5d with a password", OTHER, {"x.2p5d": archive[: entry + 8] + b"\1\0" + archive[entry + 10 :]}
    yield "2p5d cut", OTHER, {"x.2p5d": archive[:-30]}
    yield "2p5d of 5000 files", OTHER, {"x.2p5d": _zip({**good, **{f"{i}": b"" for i in range(5000)}})}
    yield "2p5d with a swelling picture", OTHER, {"x.2p5d": _zip({**good, "sky.png": bytes(64 * 2**20)})}
    yield "2p5d without a document", OTHER, {"x.2p5d": _zip({"sky.png": sky})}
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(20))
    for name, text in {
        "laughs": laughs, "runs code": "layers: !!python/object/apply:os.system ['touch /owned']", "is a list": "- 1",
        "is nothing": "", "has no layers": "layers: []", "is not yaml": "layers: [",
        "is deep": "layers: " + "[" * 50_000,
        "is long": "#" * (2**20 + 1), "names /etc": "layers: [{file: /etc/passwd}]",
        "names up": f"layers: [{{file: {SECRET}}}]",
        "names itself": "layers: [{file: plate.yaml}]", "has strange keys": "layers: [{file: a.png, eval: x}]",
        "names nothing": "layers: [{file: none.png}]", "names a number": "layers: [{file: 7}]",
        "is vast": "size: [1000000, 1000000]\nlayers: [{file: a.png}]",
        "has a bad size": "size: [a, b]\nlayers: [{file: a.png}]",
        "has a bad depth": "layers: [{file: a.png, depth: .nan}]", "is behind": "layers: [{file: a.png, depth: -1}]",
        "has a bad map": "layers: [{file: a.png, depth: {file: a.png, near: 5, far: 1}}]",
        "is a bomb": "layers: [{file: b.png}]",
        "has a bad video": "layers: [{file: a.png, video: plate.yaml}]",
        "has a bad motion": "layers: [{file: a.png, motion: a.png}]",
        "has a bad lens": "lens_px: [0, 0, .inf, 1]\nlayers: [{file: a.png}]",
        "has dates": "layers: [{file: 2026-01-01}]",
    }.items():  # fmt: skip
        yield f"plate.yaml {name}", OTHER, {"plate.yaml": text, "a.png": sky, "b.png": _png((200_000, 150_000))}
    yield "plate.yaml in no text", OTHER, {"plate.yaml": RNG.bytes(500)}


def _gltf(**changes: object) -> dict:
    data = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32).tobytes()
    import base64

    document: dict = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"byteLength": 36, "uri": "data:;base64," + base64.b64encode(data).decode()}],
    }  # fmt: skip
    return document | changes


def _accessor(**changes: object) -> dict:
    return _gltf(accessors=[{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", **changes}])


def _meshes() -> Iterator[Entry]:
    for name, document in {
        "of a billion vertices": _accessor(count=10**9), "of negative count": _accessor(count=-3),
        "that starts outside": _accessor(byteOffset=10**9), "of an unknown type": _accessor(type="VEC9"),
        "of an unknown component": _accessor(componentType=7), "that names no view": _accessor(bufferView=99),
        "without an asset": {"nodes": []}, "of a list": [], "of nothing": {"asset": {"version": "2.0"}},
        "that names /etc": _gltf(buffers=[{"byteLength": 36, "uri": "/etc/passwd"}]),
        "that names up": _gltf(buffers=[{"byteLength": 36, "uri": SECRET}]),
        "that names the network": _gltf(buffers=[{"byteLength": 36, "uri": "http://127.0.0.1/x"}]),
        "of broken base64": _gltf(buffers=[{"byteLength": 36, "uri": "data:;base64,@@@"}]),
        "with a mesh that is not there": _gltf(nodes=[{"mesh": 5}]),
        "with a texture up": _gltf(images=[{"uri": SECRET}]),
        "with a texture of the system": _gltf(images=[{"uri": "file:///etc/passwd"}], buffers=[{"byteLength": 36,
        "uri": "/x"}]),
    }.items():  # fmt: skip
        yield f"gltf {name}", OTHER, {"x.gltf": json.dumps(document)}
        if "count" in name or "vertices" in name or "outside" in name:
            yield f"blockout {name}", BLOCKOUT, {"x.gltf": json.dumps(document)}
    loop = json.dumps(_gltf(nodes=[{"mesh": 0, "children": [0]}]))
    yield "blockout with a node of itself", BLOCKOUT, {"x.gltf": loop}
    yield "gltf of deep lists", OTHER, {"x.gltf": "[" * 100_000}
    yield "glb announces 4 GiB", OTHER, {"x.glb": struct.pack("<4sIIII", b"glTF", 2, 2**32 - 1, 2**31, 0x4E4F534A)}
    yield "glb with an empty chunk", OTHER, {"x.glb": struct.pack("<4sIIII", b"glTF", 2, 20, 0, 0x4E4F534A)}
    for name, text in {
        "names a secret": f"mtllib {SECRET}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "names no vertex": "v 0 0 0\nf 1 2 3\n",
        "is not finite": "v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "has no faces": "v 0 0 0\n" * 100,
        "counts backwards": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -9 -8 -7\n",
        "is infinite": "v inf 1e999 0\nv 1 0 0\nv 0 1 0\nf 1 2 3",
        "names the system": "mtllib /etc/passwd\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    }.items():  # fmt: skip
        yield f"obj {name}", OTHER, {"x.obj": text}
    head = "ply\nformat {0} 1.0\nelement vertex {1}\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element face {2}\n"
    head += "property list uchar int vertex_indices\nend_header\n"
    for form in ("ascii", "binary_little_endian"):
        for vertices, faces in ((10**12, 1), (3, 10**12), (-1, 1), (3, 1)):
            yield f"{form} ply of {vertices} and {faces}", OTHER, {"x.ply": head.format(form, vertices, faces)}
    mesh = '#usda 1.0\ndef Mesh "m" {{\nint[] faceVertexCounts = [{0}]\nint[] faceVertexIndices = [{1}]\n'
    mesh += "point3f[] points = [{2}]\n}}"
    points = "(0,0,0), (1,0,0), (0,1,0)"
    for name, text in {
        "names no point": mesh.format(3, "0, 1, 9", points), "counts backwards": mesh.format(-3, "0, 1, 2", points),
        "names points backwards": mesh.format(3, "0, 1, -2", points), "has few indices": mesh.format(300, "0, 1, 2",
        points),
        "is not finite": mesh.format(3, "0, 1, 2", "(0,0,0), (1,0,nan), (0,1,0)"), "has no mesh": "#usda 1.0\n",
        "names a secret": f'#usda 1.0\n(subLayers = [@{SECRET}@])\n' + mesh.format(3, "0, 1, 2", points)[10:],
        "names the system": '#usda 1.0\n(subLayers = [@/etc/passwd@])\n' + mesh.format(3, "0, 1, 2", points)[10:],
        "is not closed": mesh.format(3, "0, 1, 2", points)[:-1], "is deep": "#usda 1.0\n" + 'def Xform "a" {' * 3000,
        "names itself": '#usda 1.0\n(subLayers = [@x.usda@])\n',
    }.items():  # fmt: skip
        yield f"usda {name}", OTHER, {"x.usda": text}
    yield "usdc with a broken table", OTHER, {"x.usdc": b"PXR-USDC\0\x08\0\0\0\0\0\0" + b"\xff" * 8 + bytes(60)}
    yield "usdz with a way out", OTHER, {"x.usdz": _zip({"../../x.usda": "#usda 1.0\n"})}
    yield "usdz of nothing", OTHER, {"x.usdz": _zip({})}


def _solves() -> Iterator[Entry]:
    row = "1 0 0 0 0 0 0 {0}\n"
    for name, text in {
        "of nothing": "", "of few columns": "1 2 3\n", "of words": "a b c d e f g h\n",
        "of nan": "1 nan 0 0 0 0 0 40\n",
        "of infinity": "1 0 1e999 0 0 0 0 40\n", "of a closed lens": row.format(0), "of an open lens": row.format(180),
        "of a bad lens": row.format("nan"), "of the same frame twice": row.format(40) * 2,
        "of no frame": "nan 0 0 0 0 0 0 40\n",
        "of a huge frame": "1e300 0 0 0 0 0 0 40\n",
    }.items():  # fmt: skip
        yield f"chan {name}", CAMERAS, {"x.chan": text}
    for name, sidecar in {
        "broken": "{", "a list": "[]  1", "of no raster": '{"wh": [0, 0]}',
        "of few lenses": '{"wh": [9, 9], "lenses": []}',
        "of an order": '{"wh": [9, 9], "rotation_order": "QQQ"}', "of text": '{"wh": "ab"}', "deep": "[" * 100_000,
        "of infinity": '{"wh": [9, 9], "lenses": [{"cx": 1e999}]}',
    }.items():  # fmt: skip
        yield f"chan with a sidecar {name}", CAMERAS, {"x.chan": row.format(40), "x.chan.json": sidecar}
    pose = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    good: dict[str, Any] = {"w": 64, "h": 48, "fl_x": 50, "fl_y": 50, "cx": 32, "cy": 24,
            "frames": [{"file_path": "0001.png", "transform_matrix": pose}]}
    lies: dict[str, dict[str, Any]] = {
        "no frames": {"frames": []}, "frames of text": {"frames": "abc"}, "no width": {"w": 0},
        "a width below": {"w": -64},
        "no focal length": {"fl_x": 0}, "a nan": {"fl_x": float("nan")}, "an infinity": {"cx": float("inf")},
        "a small matrix": {"frames": [{"file_path": "0001.png", "transform_matrix": [[1]]}]},
        "a matrix of text": {"frames": [{"file_path": "0001.png", "transform_matrix": [["x"] * 4] * 4}]},
        "a matrix of nan": {"frames": [{"file_path": "0001.png", "transform_matrix": [[float("nan")] * 4] * 4}]},
        "a matrix of zeros": {"frames": [{"file_path": "0001.png", "transform_matrix": [[0] * 4] * 4}]},
        "no matrix": {"frames": [{"file_path": "0001.png"}]}, "no number": {"frames": [{"transform_matrix": pose}]},
        "one frame twice": {"frames": good["frames"] * 2}, "a width of text": {"w": "wide"},
    }  # fmt: skip
    for name, change in lies.items():
        yield f"cameras.json with {name}", CAMERAS, {"x.json": json.dumps({**good, **change})}
    yield "cameras.json of deep lists", CAMERAS, {"x.json": '{"frames": ' + "[" * 100_000}
    lens, image = struct.pack("<QiiQQ4d", 1, 1, 1, 64, 48, 50, 50, 32, 24), struct.pack("<Qi7di", 1, 1, *[1.0] * 7, 1)
    for name, cameras, pictures in (
        ("counts to 2^63", struct.pack("<Q", 2**63), b""), ("has no lens", struct.pack("<Q", 0),
        image + b"1.png\0" + bytes(8)),
        ("has a strange lens", struct.pack("<QiiQQ", 1, 1, 77, 64, 48), image), ("ends", lens, image),
        ("skips far", lens, struct.pack("<Qi7di", 2, 1, *[1.0] * 7, 1) + b"1.png\0" + b"\xff" * 8),
        ("has no numbers", lens, image + b"a.png\0" + bytes(8)), ("has no text", lens,
        image + b"\xff\xfe\0" + bytes(8)),
    ):  # fmt: skip
        yield f"colmap {name}", CAMERAS, {"model/cameras.bin": cameras, "model/images.bin": pictures}
    for name, lenses, poses in (
        ("is empty", "", ""), ("is broken", "1 PINHOLE 64\n", ""), ("names no lens", "1 PINHOLE 64 48 50 50 32 24\n",
         "1 1 0 0 0 0 0 0 9 0001.png\n\n"), ("has nan", "1 PINHOLE 64 48 nan 50 32 24\n",
         "1 1 0 0 0 0 0 0 1 0001.png\n\n"),
    ):  # fmt: skip
        yield f"colmap text {name}", CAMERAS, {"model/cameras.txt": lenses, "model/images.txt": poses}


def _others() -> Iterator[Entry]:
    """Weights of a style: pickles under the name of safetensors, and headers that lie."""
    for name, data in {
        "a pickle": ALIEN["pickle"], "a zip": _zip({"data.pkl": ALIEN["pickle"]}), "nothing": b"", "zeros": bytes(64),
        "a long header": struct.pack("<Q", 2**60) + b"{}", "no header": struct.pack("<Q", 4) + b"abcd",
        "a list": struct.pack("<Q", 2) + b"[]", "a cut header": struct.pack("<Q", 100) + b"{",
    }.items():  # fmt: skip
        yield f"safetensors is {name}", OTHER, {"style/pytorch_lora_weights.safetensors": data}
