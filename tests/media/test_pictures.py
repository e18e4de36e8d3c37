"""Still pictures, EXR layers, light probes, video out and contact sheets: written, read again, compared."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from services.errors import InvalidRequest
from services.media import exr, images
from services.media.clip import open_clip
from services.media.contact_sheet import BACKGROUND, Tile, contact_sheet, evenly
from services.media.encode import VideoWriter
from tests.media.conftest import number_of, numbered_picture

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 1])
def test_png_is_lossless(tmp_path: Path, dtype: type, channels: int) -> None:
    picture = RNG.integers(0, np.iinfo(dtype).max, (9, 7, channels), dtype)
    images.write_picture(tmp_path / "a" / "p.png", picture[..., 0] if channels == 1 else picture)
    read = images.read_picture(tmp_path / "a" / "p.png")
    assert read.dtype == dtype
    assert np.array_equal(read, np.broadcast_to(picture, (9, 7, 3)))


def test_rgba_keeps_straight_alpha(tmp_path: Path) -> None:
    picture = RNG.integers(0, 255, (5, 6, 4), np.uint8)
    images.write_picture(tmp_path / "p.png", picture)
    assert np.array_equal(images.read_rgba(tmp_path / "p.png"), picture)
    assert np.array_equal(images.read_picture(tmp_path / "p.png"), picture[..., :3])


def test_png_refuses_floats(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="uint8 or uint16, got float64"):
        images.write_picture(tmp_path / "p.png", np.zeros((2, 2, 3)))


def test_mask_by_hand(tmp_path: Path) -> None:
    images.write_mask(tmp_path / "m.png", np.array([[0.0, 0.5, 1.0, 2.0]]))
    mask = images.read_mask(tmp_path / "m.png")
    assert mask.dtype == np.float32
    assert mask[0].tolist() == pytest.approx([0, 128 / 255, 1, 1])


def test_exif_orientation(tmp_path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    Image.fromarray(numbered_picture(3)).save(tmp_path / "p.jpg", exif=exif, quality=95)
    assert images.read_header(tmp_path / "p.jpg").wh == (64, 96)
    picture = images.read_picture(tmp_path / "p.jpg")
    assert picture.shape == (96, 64, 3)
    assert picture[5, -5, 0] > 180  # the red corner is now on the right


def test_a_picture_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"GIF89a" + bytes(64))
    with pytest.raises(InvalidRequest, match="objects.image: .* got p.png, damaged or something else"):
        images.read_picture(tmp_path / "p.png", "objects.image")


def test_layers_have_their_names_and_types(tmp_path: Path) -> None:
    h, w = 6, 9
    layers = exr.CompositeLayers(
        composite=RNG.random((h, w, 4)), plate=RNG.random((h, w, 3)), object=RNG.random((h, w, 4)),
        ratio=RNG.random((h, w, 3)), occlusion=RNG.random((h, w)), normal=RNG.random((h, w, 3)),
        motion=RNG.normal(0, 9, (h, w, 2)), depth=RNG.random((h, w)) * 1e5, object_id=RNG.integers(0, 70000, (h, w)),
    )
    exr.write_layers(tmp_path / "0001.exr", layers)
    channels = exr.read_channels(tmp_path / "0001.exr")
    assert set(channels) == {
        "R", "G", "B", "A", "plate.R", "plate.G", "plate.B", "object.R", "object.G", "object.B", "object.A",
        "ratio.R", "ratio.G", "ratio.B", "occlusion.A", "N.X", "N.Y", "N.Z", "motion.X", "motion.Y", "depth.Z", "id",
    }
    assert channels["plate.G"].dtype == np.float16
    assert np.array_equal(channels["plate.G"], layers.plate[..., 1].astype(np.float16))
    assert np.array_equal(channels["motion.Y"], layers.motion[..., 1].astype(np.float16))
    assert np.array_equal(channels["depth.Z"], layers.depth.astype(np.float32))
    assert channels["id"].dtype == np.uint32
    assert np.array_equal(channels["id"], layers.object_id)
    assert np.array_equal(exr.read_rgb(tmp_path / "0001.exr")[..., 0], channels["R"].astype(np.float32))


def test_half_floats_never_become_infinite(tmp_path: Path) -> None:
    exr.write_rgb(tmp_path / "sun.exr", np.full((2, 2, 3), 1e6))
    assert exr.read_rgb(tmp_path / "sun.exr").max() == 65504


def test_depth(tmp_path: Path) -> None:
    depth = RNG.random((5, 4)).astype(np.float32)
    exr.write_depth(tmp_path / "d.exr", depth)
    assert np.array_equal(exr.read_depth(tmp_path / "d.exr"), depth)
    with pytest.raises(InvalidRequest, match="channels that are needed, got d.exr with Z"):
        exr.read_rgb(tmp_path / "d.exr")


def test_data_window_lies_on_the_display_window(tmp_path: Path) -> None:
    """Pixels inside keep their place, those outside the picture are cut off, the rest is 0."""
    plane = np.arange(12, dtype=np.float32).reshape(3, 4) + 1
    header = {"dataWindow": ((-1, 2), (2, 4)), "displayWindow": ((0, 0), (5, 3)),
              "compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"Z": plane}) as file:
        file.write(str(tmp_path / "w.exr"))
    expected = np.zeros((4, 6), np.float32)
    expected[2:4, 0:3] = plane[:2, 1:]
    assert np.array_equal(exr.read_depth(tmp_path / "w.exr"), expected)


@pytest.mark.parametrize(("suffix", "relative"), [(".hdr", 0.01), (".exr", 1e-7)])
def test_latlong_round_trip(tmp_path: Path, suffix: str, relative: float) -> None:
    radiance = RNG.uniform(0.5, 1.0, (8, 16, 3)).astype(np.float32) * 100
    images.write_latlong(tmp_path / f"sky{suffix}", radiance)
    assert images.read_latlong(tmp_path / f"sky{suffix}") == pytest.approx(radiance, rel=relative)


def test_latlong_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "sky.hdr").write_bytes(b"#?RADIANCE\n\n-Y 99999999 +X 99999999\n")
    with pytest.raises(InvalidRequest, match="lighting.hdri: expected a picture of"):
        images.read_latlong(tmp_path / "sky.hdr")
    with pytest.raises(InvalidRequest, match="a .hdr or .exr file"):
        images.read_latlong(_touched(tmp_path / "sky.jpg"))


@pytest.mark.parametrize(("name", "codec", "wh", "stored"), [
    ("a.mp4", "h264", (96, 64), (96, 64)), ("odd.mp4", "h264", (95, 63), (96, 64)),
    ("a.mov", "prores4444", (96, 64), (96, 64)), ("a.mkv", "ffv1", (95, 63), (95, 63)),
])
def test_video_reads_as_written(
    tmp_path: Path, name: str, codec: str, wh: tuple[int, int], stored: tuple[int, int]
) -> None:
    pictures = [numbered_picture(i, wh) for i in range(6)]
    with VideoWriter(tmp_path / name, wh, Fraction(30000, 1001), codec) as video:
        for picture in pictures:
            video.write(picture)
    with open_clip(tmp_path / name) as clip:
        assert clip.info.wh == stored
        assert clip.rate == Fraction(30000, 1001)
        assert clip.info.matrix == ("" if codec == "ffv1" else "bt709")
        assert [number_of(clip.read(n)[: wh[1], : wh[0]]) for n in clip.numbers] == list(range(6))
        error = np.abs(clip.display(4)[: wh[1], : wh[0]].astype(int) - pictures[4])
    assert error.max() == 0 if codec == "ffv1" else np.median(error) <= 2 and error.mean() < 4
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_mp4_starts_with_its_index(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (64, 64), Fraction(25)) as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_failed_video_leaves_nothing(tmp_path: Path) -> None:
    def write(*pictures: np.ndarray) -> None:
        with VideoWriter(tmp_path / "a.mp4", (64, 64), Fraction(25)) as video:
            for picture in pictures:
                video.write(picture)

    with pytest.raises(ValueError, match=r"picture: expected \(64, 64, 3\)"):
        write(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 63, 3), np.uint8))
    with pytest.raises(ValueError, match="at least one picture"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_contact_sheet_fits_all_pictures() -> None:
    tiles = [Tile("red", np.full((30, 40, 3), (255, 0, 0), np.uint8)), Tile("half", np.full((30, 40), 0.5)),
             Tile("tall", np.full((80, 40, 3), 200, np.uint8)), Tile("x" * 200, np.full((30, 40), 9, np.uint8))]
    sheet = contact_sheet(tiles, "title", columns=2, tile_width_px=80)
    assert sheet.shape == (46 + 2 * (60 + 26 + 12), 12 + 2 * 92, 3)
    assert sheet.dtype == np.uint8
    assert sheet[46 + 30, 12 + 40].tolist() == [255, 0, 0]
    assert sheet[46 + 30, 12 + 92 + 40].tolist() == [128] * 3
    tall = sheet[46 + 98 + 30, 12 : 12 + 80]
    assert tall[40].tolist() == [200] * 3
    assert tall[2].tolist() == list(BACKGROUND)
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], "title")


def test_evenly_by_hand() -> None:
    assert evenly(10, 4) == [0, 3, 6, 9]
    assert evenly(2, 9) == [0, 1]
    assert evenly(1, 3) == [0]


def _touched(path: Path) -> Path:
    path.write_bytes(b"x")
    return path


def test_prores_keeps_alpha(tmp_path: Path) -> None:
    import av

    picture = np.dstack([numbered_picture(7), np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))])
    with VideoWriter(tmp_path / "a.mov", (96, 64), Fraction(24), "prores4444_alpha") as video:
        video.write(picture)
        video.write(picture.astype(np.uint16) * 257)
        with pytest.raises(ValueError, match=r"picture: expected \(64, 96, 4\)"):
            video.write(picture[..., :3])
    with av.open(str(tmp_path / "a.mov")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("prores", "yuva444p12le")
        frames = [frame.to_ndarray(format="rgba") for frame in container.decode(stream)]
    assert len(frames) == 2
    for frame in frames:
        assert np.abs(frame[..., 3].astype(int) - picture[..., 3]).max() <= 1
        assert np.abs(frame[..., :3].astype(int) - picture[..., :3]).mean() < 3
