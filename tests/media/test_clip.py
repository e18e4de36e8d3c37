"""Contract of clips: exact frame numbers, exact colour, exact shape, whatever the container and the backend."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from services.errors import InvalidRequest
from services.media import exr, images
from services.media.clip import open_clip
from tests.media.conftest import COUNT, WH, number_of, numbered_picture, write_video

BACKENDS = [
    "pyav",
    pytest.param("decord", marks=pytest.mark.skipif(not find_spec("decord"), reason="not installed")),
]


@pytest.mark.parametrize("backend", BACKENDS)
class TestEveryBackend:
    def test_counts_and_describes(self, video: Path, backend: str) -> None:
        with open_clip(video, backend=backend) as clip:
            assert list(clip.numbers) == list(range(COUNT))
            assert clip.rate == 25
            assert clip.hw == (WH[1], WH[0])
            assert clip.bit_depth == 8
            assert clip.info.codec == "h264"
            assert not clip.info.variable_rate

    def test_frames_have_their_numbers_in_any_order(self, video: Path, backend: str) -> None:
        with open_clip(video, backend=backend) as clip:
            clip._cache.clear()
            for number in [0, 1, 2, 23, 5, 4, 16, 15, 8, 7, 22, 0]:
                assert number_of(clip.read(number)) == number

    def test_pixels_are_the_encoded_ones(self, video: Path, backend: str) -> None:
        with open_clip(video, backend=backend) as clip:
            error = np.abs(clip.read(11).astype(int) - numbered_picture(11))
        assert error.mean() < 2.5  # chroma is subsampled, so edges differ

    @pytest.mark.parametrize("rotation_deg", [90, 180, 270])
    def test_rotation(self, tmp_path: Path, backend: str, rotation_deg: int) -> None:
        path = write_video(tmp_path / "r.mp4", [numbered_picture(i) for i in range(3)], rotation_deg=rotation_deg)
        with open_clip(path, backend=backend) as clip:
            picture = clip.read(1)
            assert clip.hw == picture.shape[:2] == ((WH[0], WH[1]) if rotation_deg != 180 else (WH[1], WH[0]))
        # Counter-clockwise: a quarter turn brings the top-left corner to the bottom left.
        row, column = {90: (-6, 6), 180: (-6, -6), 270: (6, -6)}[rotation_deg]
        assert picture[row, column, 0] > 180
        assert picture[row, column, 1] < 60

    def test_pixel_aspect(self, tmp_path: Path, backend: str) -> None:
        path = write_video(tmp_path / "a.mp4", [numbered_picture(i) for i in range(3)], aspect=Fraction(4, 3))
        with open_clip(path, backend=backend) as clip:
            assert clip.hw == (WH[1], 128)
            assert clip.read(2).shape == (WH[1], 128, 3)
            assert number_of(clip.read(2)) == 2

    def test_range(self, video: Path, backend: str) -> None:
        with open_clip(video, first_frame=5, last_frame=9, backend=backend) as clip:
            assert list(clip.numbers) == [5, 6, 7, 8, 9]
            assert number_of(clip.read(9)) == 9
            with pytest.raises(InvalidRequest, match="frame: expected one of 5-9, got 4"):
                clip.read(4)


class TestVideo:
    @pytest.mark.parametrize(("name", "codec", "pix_fmt", "options"), [
        ("a.mkv", "libx264", "yuv420p", None),
        ("a.mov", "libx264", "yuv444p", {"g": "8", "bf": "3", "x264-params": "open-gop=1"}),
        ("a.avi", "mpeg4", "yuv420p", {"g": "5", "b": "4M"}),
        ("a.ts", "libx264", "yuv420p", None),
        ("a.mp4", "libx265", "yuv420p", {"x265-params": "log-level=none:keyint=6"}),
    ])
    def test_seeking_equals_reading_on(
        self, tmp_path: Path, name: str, codec: str, pix_fmt: str, options: dict[str, str] | None
    ) -> None:
        path = write_video(tmp_path / name, [numbered_picture(i) for i in range(COUNT)], codec=codec, pix_fmt=pix_fmt,
                           options=options)
        with open_clip(path) as clip:
            assert len(clip.numbers) == COUNT
            onward = [clip.read(n) for n in clip.numbers]
        assert [number_of(picture) for picture in onward] == list(range(COUNT))
        for number in np.random.default_rng(1).permutation(COUNT)[:10]:
            with open_clip(path, first_frame=int(number)) as clip:
                assert np.array_equal(clip.read(int(number)), onward[number])

    def test_stream_without_time_stamps(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.avi", [numbered_picture(i) for i in range(12)], codec="libx264",
                           options={"g": "4", "bf": "2", "crf": "4"})
        with open_clip(path) as clip:
            assert [number_of(clip.read(n)) for n in (0, 7, 3, 11)] == [0, 7, 3, 11]

    def test_variable_rate_is_flagged(self, tmp_path: Path) -> None:
        times = [0, 1, 2, 5, 6, 7, 8, 12]
        path = write_video(tmp_path / "v.mp4", [numbered_picture(i) for i in range(8)], times=times)
        with open_clip(path) as clip:
            assert clip.info.variable_rate
            assert [number_of(clip.read(n)) for n in clip.numbers] == list(range(8))

    def test_mkv_rounding_of_times_is_not_variable(self, tmp_path: Path) -> None:
        rate = Fraction(30000, 1001)
        path = write_video(tmp_path / "a.mkv", [numbered_picture(i) for i in range(12)], rate=rate)
        with open_clip(path) as clip:
            assert not clip.info.variable_rate
            assert clip.rate == rate

    def test_untagged_matrix_follows_lines(self, tmp_path: Path) -> None:
        small = write_video(tmp_path / "s.mp4", [np.full((64, 64, 3), 90, np.uint8)], matrix=2)
        tall = write_video(tmp_path / "t.mp4", [np.full((720, 64, 3), 90, np.uint8)], matrix=2)
        assert open_clip(small).info.matrix == "smpte170m"
        assert open_clip(tall).info.matrix == "bt709"

    @pytest.mark.parametrize("matrix", [1, 5, 9])
    @pytest.mark.parametrize("limited", [True, False])
    def test_colour_by_matrix_and_range(self, tmp_path: Path, matrix: int, limited: bool) -> None:
        """A flat YUV clip against H.273's own formula."""
        yuv = np.array([120, 150, 110])
        path = tmp_path / "flat.mkv"
        _write_flat(path, yuv, "yuv420p", matrix, limited)
        with open_clip(path) as clip:
            rgb = clip.read(0)[20, 20]
            assert clip.bit_depth == 8
        assert np.abs(rgb - 255 * _reference_rgb(yuv, 8, matrix, limited)).max() < 0.52

    @pytest.mark.parametrize("limited", [True, False])
    def test_ten_bits_are_spread_over_sixteen(self, tmp_path: Path, limited: bool) -> None:
        yuv = np.array([481, 600, 441])
        path = tmp_path / "flat.mkv"
        _write_flat(path, yuv, "yuv420p10le", 1, limited)
        with open_clip(path) as clip:
            code = clip.read(0)
            assert (clip.bit_depth, clip.info.source_bits, code.dtype) == (16, 10, np.uint16)
        assert np.abs(code[20, 20] - 65535 * _reference_rgb(yuv, 10, 1, limited)).max() < 1.0

    def test_digest_is_of_the_bytes(self, video: Path, tmp_path: Path) -> None:
        copy = tmp_path / "other name.mp4"
        copy.write_bytes(video.read_bytes())
        with open_clip(video) as a, open_clip(copy) as b:
            assert a.digest == b.digest
        data = bytearray(video.read_bytes())
        data[-1] ^= 1
        copy.write_bytes(data)
        with open_clip(video) as a, open_clip(copy) as b:
            assert a.digest != b.digest

    def test_read_hands_out_copies(self, video: Path) -> None:
        with open_clip(video) as clip:
            clip.read(3)[:] = 0
            assert number_of(clip.read(3)) == 3

    def test_cache_is_bounded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path) -> None:
        monkeypatch.setattr("services.media.clip.CACHE_BYTES", 3 * WH[0] * WH[1] * 3)
        with open_clip(video) as clip:
            for number in clip.numbers:
                clip.read(number)
            assert sorted(clip._cache) == [21, 22, 23]


class TestLight:
    def test_encode_inverts_linear_for_every_code(self, tmp_path: Path) -> None:
        eight = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
        sixteen = np.arange(65536, dtype=np.uint16).repeat(3).reshape(256, 256, 3)
        ramps: tuple[np.ndarray, ...] = (eight, sixteen)
        for i, codes in enumerate(ramps):
            images.write_picture(tmp_path / str(i) / "ramp.png", codes)
            with open_clip(tmp_path / str(i)) as clip:
                number = clip.numbers[0]
                assert np.array_equal(clip.read(number), codes)
                assert clip.linear(number).dtype == np.float32
                assert np.array_equal(clip.encode(clip.linear(number), number), codes)

    def test_middle_grey_by_hand(self, tmp_path: Path) -> None:
        images.write_picture(tmp_path / "grey.png", np.full((2, 2, 3), 128, np.uint8))
        with open_clip(tmp_path / "grey.png") as clip:
            assert clip.linear(0)[0, 0] == pytest.approx([0.2158605] * 3, abs=1e-6)

    def test_encode_rounds_half_to_even_and_clips(self, tmp_path: Path) -> None:
        images.write_picture(tmp_path / "grey.png", np.zeros((2, 2, 3), np.uint8))
        with open_clip(tmp_path / "grey.png", colorspace="Linear Rec.709 (sRGB)") as clip:
            codes = clip.encode(np.array([0.5 / 255, 2.5 / 255, 7.0]), 0)
            assert codes.tolist() == [0, 2, 255]
            assert clip.encode(np.array([-1.0, 0.0, 1.0]), 0).tolist() == [0, 0, 255]

    def test_named_colour_space(self, tmp_path: Path) -> None:
        """LogC3 EI 800 puts middle grey at code 0.391 (ARRI, ALEXA Log C curve, 2017)."""
        code = round(0.391 * 65535)
        images.write_picture(tmp_path / "log.png", np.full((4, 4, 3), code, np.uint16))
        with open_clip(tmp_path / "log.png", colorspace="ARRI LogC3 (EI800)") as clip:
            linear = clip.linear(0)
            assert linear[0, 0] == pytest.approx([0.18] * 3, rel=5e-3)
            assert np.array_equal(clip.encode(linear, 0), clip.read(0))
            assert clip.display(0)[0, 0] == pytest.approx([118] * 3, abs=1)

    def test_unknown_colour_space_lists_names(self, video: Path) -> None:
        with pytest.raises(InvalidRequest, match=r"clip.colorspace: expected one of .*ACEScg.* got 'sRBG'"):
            open_clip(video, colorspace="sRBG")

    def test_display_shrinks_by_area(self, tmp_path: Path) -> None:
        checker = np.indices((8, 8)).sum(0) % 2 * np.uint8(200)
        images.write_picture(tmp_path / "c.png", np.repeat(checker[..., None], 3, 2).astype(np.uint8))
        with open_clip(tmp_path / "c.png") as clip:
            small = clip.display(0, (4, 4))
        assert small.shape == (4, 4, 3)
        assert (small == 100).all()

    def test_exr_is_linear_and_survives(self, tmp_path: Path) -> None:
        light = np.random.default_rng(0).uniform(0, 20, (6, 8, 3)).astype(np.float16)
        exr.write_rgb(tmp_path / "a.0007.exr", light)
        with open_clip(tmp_path) as clip:
            assert list(clip.numbers) == [7]
            assert clip.bit_depth == 32
            assert np.array_equal(clip.linear(7), light.astype(np.float32))
            assert np.array_equal(clip.encode(clip.linear(7), 7), clip.read(7))


class TestSequences:
    def folder(self, tmp_path: Path, numbers: list[int], suffix: str = ".png", name: str = "shot.%04d") -> Path:
        for number in numbers:
            cv2.imwrite(str(tmp_path / (name % number + suffix)), numbered_picture(number)[..., ::-1])
        return tmp_path

    @pytest.mark.parametrize("pattern", ["", "shot.%04d.png", "shot.####.png", "shot.*.png", "shot.%d.png"])
    def test_numbers_are_the_files(self, tmp_path: Path, pattern: str) -> None:
        self.folder(tmp_path, [9, 10, 11])
        (tmp_path / "notes.txt").write_text("not a picture")
        with open_clip(tmp_path / pattern) as clip:
            assert list(clip.numbers) == [9, 10, 11]
            assert np.array_equal(clip.read(10), numbered_picture(10))

    @pytest.mark.parametrize("suffix", [".jpg", ".tif"])
    def test_other_kinds(self, tmp_path: Path, suffix: str) -> None:
        with open_clip(self.folder(tmp_path, [1, 2], suffix)) as clip:
            assert [number_of(clip.read(n)) for n in clip.numbers] == [1, 2]

    def test_sixteen_bit_tiff(self, tmp_path: Path) -> None:
        codes = np.random.default_rng(0).integers(0, 65536, (6, 8, 3), np.uint16)
        cv2.imwrite(str(tmp_path / "a1.tif"), codes[..., ::-1])
        with open_clip(tmp_path) as clip:
            assert np.array_equal(clip.read(1), codes)

    def test_time_stamps_are_counted(self, tmp_path: Path) -> None:
        for i, stamp in enumerate(["1311868169.963415", "1311868170.063469", "1311868170.163416"]):
            cv2.imwrite(str(tmp_path / f"{stamp}.png"), numbered_picture(i)[..., ::-1])
        with open_clip(tmp_path) as clip:
            assert [number_of(clip.read(n)) for n in clip.numbers] == list(clip.numbers) == [0, 1, 2]

    def test_natural_order_beyond_the_padding(self, tmp_path: Path) -> None:
        with open_clip(self.folder(tmp_path, [9, 10, 11], name="f%d")) as clip:
            assert list(clip.numbers) == [9, 10, 11]

    def test_missing_frame_is_named(self, tmp_path: Path) -> None:
        self.folder(tmp_path, [1, 2, 4])
        with pytest.raises(InvalidRequest, match="clip.path: expected every frame from 1 to 4, got no frame 3"):
            open_clip(tmp_path)
        with open_clip(tmp_path, first_frame=1, last_frame=2) as clip:
            assert list(clip.numbers) == [1, 2]

    def test_mixed_wh_is_named(self, tmp_path: Path) -> None:
        self.folder(tmp_path, [1])
        cv2.imwrite(str(tmp_path / "shot.0002.png"), np.zeros((10, 12, 3), np.uint8))
        with pytest.raises(InvalidRequest, match="96x64.*got shot.0002.png, 12x10"):
            open_clip(tmp_path)

    @pytest.mark.parametrize(("names", "message"), [
        (["left1.png", "right1.png"], "several: left, right"),
        (["a1.png", "a01.png"], "one picture for each frame, got"),
        (["a1.png", "a2.jpg"], ".jpg and .png"),
    ])
    def test_ambiguous_folders(self, tmp_path: Path, names: list[str], message: str) -> None:
        for name in names:
            cv2.imwrite(str(tmp_path / name), numbered_picture(0))
        with pytest.raises(InvalidRequest, match=message):
            open_clip(tmp_path)

    def test_digest_covers_the_range(self, tmp_path: Path) -> None:
        self.folder(tmp_path, [1, 2, 3])
        digests = {open_clip(tmp_path, last_frame=last).digest for last in (1, 2, 3)}
        assert len(digests) == 3


class TestBadInput:
    def refused(self, path: Path, message: str, field: str = "clip.path", **options: Any) -> None:
        with pytest.raises(InvalidRequest, match=message) as caught:
            open_clip(path, **options)
        assert caught.value.field == field

    def test_missing(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "nothing.mp4", "does not exist")
        self.refused(tmp_path / "nothing.%04d.png", "expected pictures")

    def test_empty_file(self, tmp_path: Path) -> None:
        for name in ("a.mp4", "a.png", "a.exr"):
            (tmp_path / name).touch()
            self.refused(tmp_path / name, "empty file|damaged")

    def test_folder_without_pictures(self, tmp_path: Path) -> None:
        (tmp_path / "readme.txt").write_text("hello")
        self.refused(tmp_path, "expected pictures .* got none in")

    def test_not_a_video(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(os.urandom(5000))
        self.refused(tmp_path / "a.mp4", "expected a video file")

    @pytest.mark.parametrize("text", [
        "ffconcat version 1.0\nfile '{video}'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{video}\n#EXT-X-ENDLIST\n",
    ])
    def test_play_lists_that_open_other_files(self, tmp_path: Path, video: Path, text: str) -> None:
        (tmp_path / "numbered.mp4").write_bytes(video.read_bytes())
        (tmp_path / "list.mp4").write_text(text.format(video="numbered.mp4"))
        self.refused(tmp_path / "list.mp4", "expected a video file")

    def test_audio_only(self, tmp_path: Path) -> None:
        path = tmp_path / "sound.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=48000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
            frame.sample_rate = 48000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        self.refused(path, "video stream, got sound.mp4 with audio only")

    @pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.99])
    @pytest.mark.parametrize("faststart", [True, False])
    def test_truncated_mp4(self, tmp_path: Path, part: float, faststart: bool) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (12, 64, 96, 3), np.uint8)
        whole, path = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
        with av.open(str(whole), "w", options={"movflags": "faststart"} if faststart else {}) as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            for picture in noise:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode())
        data = whole.read_bytes()
        path.write_bytes(data[: int(len(data) * part)])
        self.refused(path, "truncated")

    def test_truncated_mkv(self, tmp_path: Path) -> None:
        whole = write_video(tmp_path / "whole.mkv", [numbered_picture(i) for i in range(COUNT)])
        data = whole.read_bytes()
        (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
        self.refused(tmp_path / "cut.mkv", "truncated")

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".exr"])
    def test_truncated_picture(self, tmp_path: Path, suffix: str) -> None:
        picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        path = tmp_path / f"a{suffix}"
        if suffix == ".exr":
            exr.write_rgb(path, picture / 255)
        else:
            cv2.imwrite(str(path), picture)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(InvalidRequest, match="damaged"), open_clip(path) as clip:
            clip.read(0)

    def test_truncated_sixteen_bit_png(self, tmp_path: Path) -> None:
        codes = np.random.default_rng(0).integers(0, 65536, (64, 64, 3), np.uint16)
        images.write_picture(tmp_path / "a.png", codes)
        data = (tmp_path / "a.png").read_bytes()
        (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
        with pytest.raises(InvalidRequest, match="damaged"), open_clip(tmp_path / "a.png") as clip:
            clip.read(0)

    @pytest.mark.parametrize(("first", "last"), [(0, 24), (24, 30), (-1, 5)])
    def test_range_outside(self, video: Path, first: int, last: int) -> None:
        self.refused(video, "frames within 0-23", "clip.range", first_frame=first, last_frame=last)

    def test_one_frame_is_a_clip(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "one.mp4", [numbered_picture(0)])
        assert list(open_clip(path).numbers) == [0]

    def test_huge_png_is_refused_by_its_header(self, tmp_path: Path) -> None:
        images.write_picture(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
        data = bytearray((tmp_path / "a.png").read_bytes())
        data[16:24] = struct.pack(">II", 60000, 60000)
        (tmp_path / "a.png").write_bytes(data)
        self.refused(tmp_path / "a.png", "pixel|damaged")

    def test_huge_exr_is_refused_by_its_header(self, tmp_path: Path) -> None:
        exr.write_depth(tmp_path / "a.exr", np.ones((4, 4), np.float32))
        data = (tmp_path / "a.exr").read_bytes()
        window = struct.pack("<4i", 0, 0, 3, 3)
        assert data.count(window) == 2
        (tmp_path / "a.exr").write_bytes(data.replace(window, struct.pack("<4i", 0, 0, 99999, 99999)))
        self.refused(tmp_path / "a.exr", "100000x100000")


def _reference_rgb(yuv: np.ndarray, bits: int, matrix: int, limited: bool) -> np.ndarray:
    """H.273 equations 30-44 in [0, 1]."""
    kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    unit = 2 ** (bits - 8)
    black, luma, chroma = (16 * unit, 219 * unit, 224 * unit) if limited else (0, 2**bits - 1, 2**bits - 1)
    y = (yuv[0] - black) / luma
    cb, cr = (yuv[1:] - 128 * unit) / chroma
    r, b = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return np.array([r, (y - kr * r - kb * b) / (1 - kr - kb), b])


def _write_flat(path: Path, yuv: np.ndarray, pix_fmt: str, matrix: int, limited: bool) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 1 if limited else 2
        frame = av.VideoFrame(64, 48, pix_fmt)
        dtype = np.uint8 if pix_fmt == "yuv420p" else np.dtype("<u2")
        for plane, value in zip(frame.planes, yuv, strict=True):
            plane.update(np.full(plane.buffer_size // np.dtype(dtype).itemsize, value, dtype).tobytes())
        frame.colorspace, frame.color_range = matrix, 1 if limited else 2
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
