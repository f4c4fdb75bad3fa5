"""Image gives the pixels of keras.utils.load_img, image_dataset_from_directory and Pillow."""

import contextlib
import json
import os
import struct
import threading
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from kerasql.registry.errors import BadRow, InvalidPreprocess
from kerasql.registry.preprocess import Image, preprocessor_from_json
from kerasql.registry.preprocess.decode import read
from kerasql.registry.preprocess.tf_decode import tf_pixels
from kerasql.registry.signature import TensorSpec

SPEC = TensorSpec("image", "float32", (96, 80, 3))
CHANNELS = {"rgb": 3, "bgr": 3, "grayscale": 1, "rgba": 4}
TF_METHODS = ["bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5"]
TF_METHODS += ["gaussian", "mitchellcubic"]
TF_PAIRS = [(fit, method) for fit in ("stretch", "pad") for method in TF_METHODS]
TF_PAIRS += [("crop", method) for method in TF_METHODS[:6]]  # Keras refuses the other two
PIL_METHODS = ["nearest", "bilinear", "bicubic", "hamming", "box", "lanczos"]
BOMBS = ("bomb_12000x12000.png", "lying_header_60000x60000.png")


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own import
        import keras
        import tensorflow  # noqa: F401
    return keras


@pytest.fixture(scope="module")
def tf(keras):
    import tensorflow

    return tensorflow


@pytest.fixture(scope="module")
def images():
    folder = os.environ.get("KERASQL_TEST_DATA")
    if not folder:
        pytest.skip("KERASQL_TEST_DATA is not set: no real photos to compare with")
    return Path(folder) / "images"


@pytest.fixture(scope="module")
def photos(images):
    paths = sorted([*images.glob("cars_buses/*/*"), *images.glob("flowers/*/*")])
    assert len(paths) == 169
    return paths


@pytest.fixture(scope="module")
def some_photos(photos):
    """Twelve photos, as different in size and shape as there are."""
    return [path.read_bytes() for path in sorted(photos, key=_aspect)[:: len(photos) // 11]]


def _aspect(path):
    with PIL.Image.open(path) as image:
        return image.width / image.height, image.width


def gif_on_a_screen(width, height, left=0, top=0, frame=(30, 41)):
    """A frame of 41 x 30 pixels somewhere on a screen of another size."""
    data = bytearray(encoded(PIL.Image.fromarray(smooth(*frame)).quantize(16), "GIF"))
    at = data.index(b",")
    data[6:10] = struct.pack("<HH", width, height)
    data[at + 1 : at + 5] = struct.pack("<HH", left, top)
    return bytes(data)


def without_adobe(jpeg):
    at = jpeg.index(b"\xff\xee")
    return jpeg[:at] + jpeg[at + 16 :]


def smooth(height, width, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (7, 5, channels), dtype=np.uint8)
    planes = [
        np.asarray(PIL.Image.fromarray(small[..., i]).resize((width, height), 3))
        for i in range(channels)
    ]
    return np.stack(planes, axis=-1)


def encoded(pixels_or_image, kind="PNG", **options):
    image = pixels_or_image
    if isinstance(image, np.ndarray):
        image = PIL.Image.fromarray(image.squeeze(-1) if image.shape[-1:] == (1,) else image)
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def palette_png(bits=8, **options):
    image = PIL.Image.fromarray(smooth(30, 41)).convert("RGB").quantize(2**bits)
    return encoded(image, bits=bits, **options)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png, kind, data):
    return png[:33] + png_chunk(kind, data) + png[33:]


def raw_png(bits, color_type, samples, *chunks):
    """A PNG that Pillow cannot write: 16-bit colour, few bits of gray with transparency."""
    height, width = samples.shape[:2]
    flat = samples.reshape(height, -1)
    if bits == 16:
        rows = flat.astype(">u2").tobytes()
        rows = np.frombuffer(rows, np.uint8).reshape(height, -1)
    elif bits == 8:
        rows = flat.astype(np.uint8)
    else:
        places = np.unpackbits(flat.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :]
        rows = np.packbits(places.reshape(height, -1), axis=1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    parts = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def raw_bmp(bits, pixels, *, top_down=False):
    """A BMP of 24 or 32 bits, or of 8 with a palette, by hand."""
    height, width = pixels.shape[:2]
    palette = b"".join(bytes([i, i // 2, 255 - i, 0]) for i in range(256)) if bits == 8 else b""
    rows = [row.tobytes() + b"\0" * (-row.size % 4) for row in pixels[:: 1 if top_down else -1]]
    start = 54 + len(palette)
    header = struct.pack("<2sIHHI", b"BM", start + sum(map(len, rows)), 0, 0, start)
    signed = -height if top_down else height
    header += struct.pack("<IiiHHIIiiII", 40, width, signed, 1, bits, 0, 0, 0, 0, 0, 0)
    return header + palette + b"".join(rows)


def made_pictures():
    """Encoded pictures of every kind, small: name -> bytes."""
    rng = np.random.default_rng(1)
    color, gray, rgba = smooth(37, 53), smooth(41, 29, 1), smooth(33, 47, 4)
    noise = rng.integers(300, 65536, (19, 23), dtype=np.uint16)
    return {
        "rgb.png": encoded(color),
        "gray.png": encoded(gray),
        "rgba.png": encoded(rgba),
        "la.png": encoded(PIL.Image.fromarray(rgba).convert("LA")),
        "gray16.png": encoded(noise),
        "bit.png": encoded(PIL.Image.fromarray(color).convert("1")),
        "palette.png": palette_png(),
        "palette4.png": palette_png(4),
        "palette2.png": palette_png(2),
        "palette1.png": palette_png(1),
        "palette_alpha.png": palette_png(transparency=bytes(range(0, 250, 5))),
        "palette_clear.png": palette_png(transparency=3),
        "palette_few_clear.png": palette_png(2, transparency=bytes([7, 200])),
        "rgb_clear.png": encoded(color, transparency=tuple(map(int, color[0, 0]))),
        "gray_clear.png": encoded(gray, transparency=int(gray[0, 0, 0])),
        "srgb.png": with_chunk(encoded(color), b"sRGB", b"\0"),
        "gamma.png": with_chunk(encoded(color), b"gAMA", struct.pack(">I", 60000)),
        "gamma_one.png": with_chunk(encoded(color), b"gAMA", struct.pack(">I", 97000)),
        "gray_srgb.png": with_chunk(encoded(gray), b"sRGB", b"\0"),
        "thin.png": encoded(smooth(1, 90)),
        "tall.png": encoded(smooth(90, 1)),
        "one.png": encoded(smooth(1, 1)),
        "rgb16.png": raw_png(16, 2, rng.integers(0, 65536, (11, 13, 3))),
        "rgba16.png": raw_png(16, 6, rng.integers(0, 65536, (11, 13, 4))),
        "gray2.png": raw_png(2, 0, rng.integers(0, 4, (9, 8))),
        "gray4.png": raw_png(4, 0, rng.integers(0, 16, (9, 8))),
        "gray4_clear.png": raw_png(4, 0, rng.integers(0, 16, (9, 8)), png_chunk(b"tRNS", b"\0\5")),
        "gray16_clear.png": raw_png(
            16, 0, rng.integers(0, 4, (9, 8)) * 300, png_chunk(b"tRNS", struct.pack(">H", 300))
        ),
        "rgb.jpg": encoded(color, "JPEG", quality=88),
        "rgb444.jpg": encoded(color, "JPEG", quality=95, subsampling=0),
        "gray.jpg": encoded(gray, "JPEG"),
        "cmyk.jpg": encoded(PIL.Image.fromarray(color).convert("CMYK"), "JPEG"),
        "cmyk_plain.jpg": without_adobe(
            encoded(PIL.Image.fromarray(color).convert("CMYK"), "JPEG", comment=b"Adobe")
        ),
        "progressive.jpg": encoded(color, "JPEG", progressive=True),
        "palette.gif": encoded(color, "GIF"),
        "gray.gif": encoded(gray, "GIF"),
        "clear.gif": encoded(PIL.Image.fromarray(color).quantize(16), "GIF", transparency=2),
        "animated.gif": encoded(
            PIL.Image.fromarray(color),
            "GIF",
            save_all=True,
            append_images=[PIL.Image.fromarray(255 - color)],
        ),
        "large_screen.gif": gif_on_a_screen(60, 50),
        "small_screen.gif": gif_on_a_screen(10, 20),
        "offset.gif": gif_on_a_screen(60, 50, 7, 9),
        "outside.gif": gif_on_a_screen(100, 90, 50, 60),
        "frames.gif": gif_on_a_screen(41, 30)[:-1]
        + gif_on_a_screen(60, 50, frame=(35, 44))[13 + 48 :],
        "lossy.webp": encoded(color, "WEBP", quality=80),
        "lossless.webp": encoded(color, "WEBP", lossless=True),
        "alpha.webp": encoded(rgba, "WEBP"),
        "alpha_lossless.webp": encoded(rgba, "WEBP", lossless=True),
        "animated.webp": encoded(
            PIL.Image.fromarray(rgba),
            "WEBP",
            save_all=True,
            append_images=[PIL.Image.fromarray(255 - rgba)],
        ),
        "rgb.bmp": encoded(color, "BMP"),
        "gray.bmp": encoded(gray, "BMP"),
        "bit.bmp": encoded(PIL.Image.fromarray(color).convert("1"), "BMP"),
        "rgba.bmp": encoded(rgba, "BMP"),
        "palette.bmp": raw_bmp(8, gray[..., 0]),
        "top_down.bmp": raw_bmp(24, color, top_down=True),
        "bgrx.bmp": raw_bmp(32, rgba),
        "rgb.tiff": encoded(color, "TIFF"),
        "deflated.tiff": encoded(color, "TIFF", compression="tiff_adobe_deflate"),
    }


MADE = made_pictures()


def load_img(keras, data, image, size):
    """The original: load_img and img_to_array, with Pillow's pad and EXIF rotation where asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if image.exif:
            file = BytesIO()
            PIL.ImageOps.exif_transpose(PIL.Image.open(BytesIO(data))).save(file, "PNG")
            data = file.getvalue()
        mode = "rgb" if image.color == "bgr" else image.color
        if image.fit in ("pad", "cover"):
            picture = keras.utils.load_img(BytesIO(data), color_mode=mode)
            method = PIL.Image.Resampling[image.resize.upper()]
            original = PIL.ImageOps.pad if image.fit == "pad" else PIL.ImageOps.fit
            picture = original(picture, size[::-1], method)
        else:
            picture = keras.utils.load_img(
                BytesIO(data),
                color_mode=mode,
                target_size=size,
                interpolation=image.resize,
                keep_aspect_ratio=image.fit == "crop",
            )
        pixels = keras.utils.img_to_array(picture)
    return pixels[..., ::-1] if image.color == "bgr" else pixels


def image_dataset(keras, folder, files, image, size):
    """The original: what image_dataset_from_directory yields for the files, in their order."""
    for number, (name, data) in enumerate(files.items()):
        (folder / f"{number:03}_{name}").write_bytes(data)
    dataset = keras.utils.image_dataset_from_directory(
        folder,
        labels=None,
        color_mode="rgb" if image.color == "bgr" else image.color,
        batch_size=None,
        image_size=size,
        shuffle=False,
        interpolation=image.resize,
        crop_to_aspect_ratio=image.fit == "crop",
        pad_to_aspect_ratio=image.fit == "pad",
        verbose=False,
    )
    assert [Path(path).name[4:] for path in dataset.file_paths] == list(files)
    pixels = [array.numpy() for array in dataset]
    return [array[..., ::-1] if image.color == "bgr" else array for array in pixels]


def spec_for(image, size):
    return TensorSpec("image", "float32", (*size, CHANNELS[image.color]))


def through(image, data, size=(96, 80)):
    """One value through the whole preprocessor."""
    spec = spec_for(image, size)
    image.check(spec)
    return image.finish(image.prepare(data, spec)[None], spec)[0]


def difference(a, b):
    assert a.shape == b.shape
    return float(np.abs(a.astype(np.float64) - b).max())


@pytest.mark.parametrize("fit", ["stretch", "crop", "cover", "pad"])
@pytest.mark.parametrize("resize", PIL_METHODS)
def test_every_filter_and_fit_equals_load_img_on_photos(keras, some_photos, resize, fit):
    image = Image(resize=resize, fit=fit)
    for data in some_photos:
        assert np.array_equal(through(image, data), load_img(keras, data, image, (96, 80)))


@pytest.mark.parametrize("color", list(CHANNELS))
@pytest.mark.parametrize("fit", ["stretch", "crop", "cover", "pad"])
@pytest.mark.parametrize("resize", PIL_METHODS)
def test_every_option_equals_load_img_on_pictures_of_every_kind(keras, resize, fit, color):
    image = Image(resize=resize, fit=fit, color=color)
    sizes = [(24, 31), (37, 53)] if resize == "bilinear" else [(24, 31)]  # one is rgb.png's own
    for name, data in MADE.items():
        for size in sizes:
            expected = load_img(keras, data, image, size)
            assert np.array_equal(through(image, data, size), expected), (name, size)


def test_bilinear_equals_load_img_on_all_photos(keras, photos):
    image = Image()
    for path in photos:
        data = path.read_bytes()
        assert np.array_equal(through(image, data), load_img(keras, data, image, (96, 80)))


@pytest.mark.parametrize("channels", [1, 3])
def test_decoded_pixels_equal_tensorflow_on_all_photos(tf, photos, channels):
    for path in photos:
        data = path.read_bytes()
        expected = tf.io.decode_image(data, channels, expand_animations=False).numpy()
        assert np.array_equal(tf_pixels(data, channels), expected), path.name


@pytest.mark.parametrize("name", ["palette.gif", "animated.gif", "clear.gif", "frames.gif"])
@pytest.mark.parametrize("cut", [1, 2, 3, 40, 0.2, 0.4, 0.48, 0.5, 0.6])
def test_a_gif_that_ends_early_decodes_or_fails_as_in_tensorflow(tf, name, cut):
    data = MADE[name]
    cut = cut if cut >= 1 else int(cut * len(data))
    assert_decodes_as_tensorflow(tf, data[:-cut], 3, name)


def assert_decodes_as_tensorflow(tf, data, channels, name, tolerance=0):
    try:
        expected = tf.io.decode_image(data, channels, expand_animations=False).numpy()
    except tf.errors.InvalidArgumentError:
        with pytest.raises(BadRow):
            Image(like="image_dataset", color=_color(channels)).prepare(data, SPEC)
        return
    assert difference(tf_pixels(data, channels), expected) <= tolerance, (name, channels)


def _color(channels):
    return {1: "grayscale", 3: "rgb", 4: "rgba"}[channels]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", list(MADE))
def test_pictures_of_every_kind_decode_as_in_tensorflow(tf, name, channels):
    # Pillow reads 16-bit colour as 8 bits, so its gray can differ by one from libpng's 16-bit gray
    tolerance = 1 if name in ("rgb16.png", "rgba16.png") and channels == 1 else 0
    assert_decodes_as_tensorflow(tf, MADE[name], channels, name, tolerance)


@pytest.mark.parametrize("channels", [1, 3])
def test_damaged_pictures_never_give_other_pixels_than_in_tensorflow(tf, channels):
    """simplejpeg gives up on a few damages that TensorFlow forgives; those are bad rows."""
    rng = np.random.default_rng(5)
    agreed = refused = 0
    for name in ("rgb.jpg", "progressive.jpg", "gray.jpg", "rgb.png", "palette.png", "rgb.bmp"):
        for _ in range(12):
            data = bytearray(MADE[name])
            at = int(rng.integers(len(data) // 3, len(data)))
            data[at : at + int(rng.integers(1, 5))] = rng.bytes(int(rng.integers(0, 4)))
            try:
                found = read(tf_pixels, bytes(data), channels)
            except BadRow:
                refused += 1
                continue
            expected = tf.io.decode_image(bytes(data), channels, expand_animations=False).numpy()
            assert np.array_equal(found, expected), name
            agreed += 1
    assert agreed > 20
    assert refused > 10


@pytest.mark.parametrize(("fit", "resize"), TF_PAIRS)
def test_every_filter_and_fit_equals_image_dataset_on_photos(
    keras, some_photos, tmp_path, resize, fit
):
    image = Image(resize=resize, fit=fit, like="image_dataset")
    files = {f"{i}.jpg": data for i, data in enumerate(some_photos)}
    expected = image_dataset(keras, tmp_path, files, image, (96, 80))
    for data, pixels in zip(some_photos, expected, strict=True):
        assert difference(through(image, data), pixels) <= 1e-3


@pytest.mark.parametrize("color", list(CHANNELS))
@pytest.mark.parametrize("resize", TF_METHODS)
def test_every_filter_equals_image_dataset_on_odd_sizes(keras, tmp_path, resize, color):
    names = ["rgb.png", "gray.png", "rgba.png", "la.png", "one.png", "thin.png", "tall.png"]
    stretched, padded = [(37, 53), (5, 200), (1, 1)], [(61, 60), (37, 54)]
    for size in stretched + padded:
        fit = "pad" if size in padded else "stretch"
        files = {name: MADE[name] for name in (names if fit == "stretch" else names[:5])}
        image = Image(resize=resize, color=color, like="image_dataset", fit=fit)
        folder = tmp_path / f"{size}"
        folder.mkdir()
        expected = image_dataset(keras, folder, files, image, size)
        for name, pixels in zip(files, expected, strict=True):
            assert difference(through(image, files[name], size), pixels) <= 1e-3, (name, size)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (40, 40), (300, 7), (224, 224)])
def test_crop_equals_image_dataset_on_odd_sizes(keras, tmp_path, size):
    image = Image(fit="crop", like="image_dataset")
    names = ["rgb.png", "gray.png", "thin.png", "tall.png", "one.png"]
    files = {name: MADE[name] for name in names}
    expected = image_dataset(keras, tmp_path, files, image, size)
    for name, pixels in zip(names, expected, strict=True):
        assert difference(through(image, MADE[name], size), pixels) <= 1e-3, name


def test_a_picture_too_thin_to_pad_is_a_bad_row():
    """TensorFlow refuses it too: nothing is left of one side."""
    thin = smooth(1, 400)
    for value in (encoded(thin), spark_struct(thin, 16)):
        with pytest.raises(BadRow, match="too thin to be resized and padded"):
            through(Image(fit="pad", like="image_dataset"), value)


@pytest.mark.parametrize("like", ["load_img", "image_dataset"])
def test_every_odd_file_equals_keras_or_is_a_bad_row(keras, tf, images, tmp_path, like):
    image = Image(like=like)
    paths = sorted(path for path in (images / "odd").iterdir() if path.suffix != ".json")
    assert len(paths) == 24
    bad = []
    for path in paths:
        data = path.read_bytes()
        try:
            if path.name in BOMBS:
                raise ValueError("not asked of the original: it would allocate gigabytes")
            if like == "load_img":
                expected = load_img(keras, data, image, (96, 80))
            else:
                pixels = tf.io.decode_image(data, 3, expand_animations=False)
                expected = tf.image.resize(pixels, (96, 80)).numpy()
        except (OSError, ValueError, tf.errors.InvalidArgumentError):
            bad.append(path.name)
            with pytest.raises(BadRow):
                through(image, data)
            continue
        assert difference(through(image, data), expected) <= 1e-3, path.name
    webp = ["alpha_lossless.webp"] if like == "image_dataset" else []
    assert bad == sorted(
        [*BOMBS, *webp, "zero_byte.jpg", "text_renamed.jpg", "bad_crc_idat.png"]
        + [f"truncated_{part}.jpg" for part in ("50pct", "last_2_bytes")]
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("zero_byte.jpg", "zero bytes"),
        ("text_renamed.jpg", r"not a picture \(begins with b'"),
        ("truncated_50pct.jpg", r"the JPEG data ends early \(truncated\)"),
        ("truncated_last_2_bytes.jpg", r"the JPEG data ends early \(truncated\)"),
        ("bad_crc_idat.png", "the PNG data is damaged"),
        (BOMBS[0], "12000 x 12000 pixels = 144 megapixels, over the limit of 89 .KERASQL_MAX_PIX"),
        (BOMBS[1], "60000 x 60000 pixels = 3600 megapixels"),
    ],
)
@pytest.mark.parametrize("like", ["load_img", "image_dataset"])
def test_a_bad_file_says_what_is_wrong_with_it(images, like, name, reason):
    with pytest.raises(BadRow, match=reason):
        through(Image(like=like), (images / "odd" / name).read_bytes())


@pytest.mark.parametrize(
    ("like", "kind"),
    [
        (like, kind)
        for like in ("load_img", "image_dataset")
        for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
        if (like, kind) != ("image_dataset", "TIFF")
    ],
)
def test_a_picture_over_the_limit_is_refused_before_it_is_decoded(monkeypatch, like, kind):
    monkeypatch.setenv("KERASQL_MAX_PIXELS", "1960")
    data = encoded(smooth(37, 53), kind)
    with pytest.raises(BadRow, match=r"53 x 37 pixels .* over the limit"):
        through(Image(like=like), data)
    monkeypatch.setenv("KERASQL_MAX_PIXELS", "1961")
    assert through(Image(like=like), data).shape == (96, 80, 3)


@pytest.mark.parametrize("like", ["load_img", "image_dataset"])
def test_no_damage_raises_anything_but_a_bad_row(like):
    rng = np.random.default_rng(3)
    image = Image(like=like)
    survived = 0
    for name, data in MADE.items():
        for _ in range(6):
            broken = bytearray(data)
            for _ in range(int(rng.integers(3))):
                broken[int(rng.integers(12, len(broken)))] = int(rng.integers(256))
            broken = broken[: int(rng.integers(1, 2 * len(broken)))]
            with contextlib.suppress(BadRow):
                assert through(image, bytes(broken)).shape == (96, 80, 3), name
                survived += 1
    assert survived > 20


def test_exif_turns_the_picture_upright_as_pillow_does(keras, images):
    data = (images / "odd" / "exif_orientation_6.jpg").read_bytes()
    upright, lying = Image(exif=True), Image()
    assert np.array_equal(through(upright, data), load_img(keras, data, upright, (96, 80)))
    assert np.array_equal(through(lying, data), load_img(keras, data, lying, (96, 80)))
    assert difference(through(upright, data), through(lying, data)) > 50


def test_finish_leaves_the_prepared_rows_as_they_are():
    """They may be shared: a cache, or another model's rows."""
    batch = np.full((2, 96, 80, 3), 7, np.float32)
    for scale in ("unit", "tf", "caffe", "torch", None):
        Image(scale=scale, mean=1, std=2).finish(batch, SPEC)
        assert (batch == 7).all(), scale


def test_damaged_exif_neither_warns_nor_changes_pixels(keras):
    exif = PIL.Image.Exif()
    exif[274] = 6
    exif[305] = "software " * 40
    data = encoded(smooth(30, 40), "JPEG", exif=exif.tobytes()[:60])
    image = Image(exif=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        PIL.ImageOps.exif_transpose(PIL.Image.open(BytesIO(data)))
    assert caught, "the file must draw a warning, else this proves nothing"
    assert np.array_equal(through(image, data), load_img(keras, data, image, (96, 80)))


def test_pictures_decode_the_same_in_threads(some_photos):
    image = Image(like="image_dataset")
    expected = [through(image, data) for data in some_photos]
    found = {}

    def decode(start):
        for i in [*range(start, 12), *range(start)]:
            found[start, i] = np.array_equal(through(image, some_photos[i]), expected[i])

    threads = [threading.Thread(target=decode, args=(start,)) for start in (0, 4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 36
    assert all(found.values())


def test_the_declaration_for_teachable_machine_equals_its_snippet(some_photos):
    image = Image(resize="lanczos", fit="cover", scale="tf")
    for data in some_photos:
        picture = PIL.Image.open(BytesIO(data)).convert("RGB")
        picture = PIL.ImageOps.fit(picture, (80, 96), PIL.Image.Resampling.LANCZOS)
        expected = np.asarray(picture).astype(np.float32) / 127.5 - 1
        assert np.array_equal(through(image, data), expected)


@pytest.mark.parametrize("mode", ["tf", "caffe", "torch"])
def test_scale_equals_preprocess_input(keras, some_photos, mode):
    from keras.applications.imagenet_utils import preprocess_input

    image = Image(scale=mode)
    for data in some_photos[:4]:
        expected = preprocess_input(load_img(keras, data, image, (96, 80)), mode=mode)
        assert np.array_equal(through(image, data), expected)


def test_the_imagenet_modes_are_those_of_the_applications(keras):
    """scale says what keras.applications.*.preprocess_input does."""
    pixels = load_img(keras, MADE["rgb.png"], Image(), (96, 80))
    for application, mode in {"mobilenet_v2": "tf", "resnet": "caffe", "densenet": "torch"}.items():
        original = getattr(keras.applications, application).preprocess_input(pixels.copy())
        assert np.array_equal(through(Image(scale=mode), MADE["rgb.png"]), original)


def test_unit_mean_and_std_equal_rescaling_and_normalization(keras):
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    pixels = load_img(keras, MADE["rgb.png"], Image(), (96, 80))
    scaled = keras.layers.Rescaling(1 / 255)(pixels[None])
    normal = keras.layers.Normalization(mean=mean, variance=np.square(std))(scaled)
    found = through(Image(scale="unit", mean=mean, std=std), MADE["rgb.png"])
    assert difference(found, np.asarray(normal)[0]) < 1e-6
    assert difference(through(Image(scale="unit"), MADE["rgb.png"]), np.asarray(scaled)[0]) < 1e-7


def test_one_number_serves_all_channels():
    data = MADE["rgb.png"]
    assert np.array_equal(
        through(Image(mean=127.5, std=127.5), data),
        through(Image(mean=[127.5] * 3, std=127.5), data),
    )


@pytest.mark.parametrize("like", ["load_img", "image_dataset"])
@pytest.mark.parametrize("resize", ["nearest", "bilinear"])
def test_pixels_are_shipped_as_uint8_where_they_are_whole(like, resize):
    prepared = Image(like=like, resize=resize, scale="tf").prepare(MADE["rgb.png"], SPEC)
    whole = like == "load_img" or resize == "nearest"
    assert prepared.dtype == (np.uint8 if whole else np.float32)


def spark_struct(pixels, mode):
    height, width, channels = pixels.shape
    bgr = pixels[..., [2, 1, 0, 3][:channels]] if channels > 1 else pixels
    return {
        "origin": "file:/a.png",
        "height": height,
        "width": width,
        "nChannels": channels,
        "mode": mode,
        "data": bgr.tobytes(),
    }


@pytest.mark.parametrize("color", list(CHANNELS))
@pytest.mark.parametrize("like", ["load_img", "image_dataset"])
@pytest.mark.parametrize(("channels", "mode"), [(1, 0), (3, 16), (4, 24)])
def test_spark_image_struct_equals_the_same_picture_as_png(like, color, channels, mode):
    pixels = smooth(37, 53, channels)
    image = Image(like=like, color=color)
    from_struct = through(image, spark_struct(pixels, mode))
    assert np.array_equal(from_struct, through(image, encoded(pixels)))


def test_a_pyspark_row_is_an_image_struct():
    from pyspark.sql import Row

    value = spark_struct(smooth(20, 30), 16)
    assert np.array_equal(through(Image(), Row(**value)), through(Image(), value))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mode": -1}, "Spark could not decode"),
        ({"mode": 21}, "mode 21 and 3 channels"),
        ({"nChannels": 4}, "mode 16 and 4 channels"),
        ({"data": b"abc"}, "says 20 x 30 x 3 but carries 3 bytes"),
        ({"data": None}, "carries 0 bytes"),
        ({"height": None}, "height is NULL"),
        ({"height": -20, "width": -30}, "says -20 x -30"),
        ({"height": 100_000, "width": 100_000}, "carries 1800 bytes"),
    ],
)
def test_a_broken_image_struct_is_a_bad_row(change, reason):
    with pytest.raises(BadRow, match=reason):
        through(Image(), spark_struct(smooth(20, 30), 16) | change)


@pytest.mark.parametrize("value", [None, 3, "path.jpg", {"a": 1}, [1, 2], 2.5])
def test_what_is_no_picture_is_a_bad_row(value):
    with pytest.raises(BadRow, match=r"not a picture|NULL"):
        Image().prepare(value, SPEC)


def test_bytes_come_in_any_wrapping():
    data = MADE["rgb.png"]
    expected = through(Image(), data)
    for value in (bytearray(data), memoryview(data)):
        assert np.array_equal(through(Image(), value), expected)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"resize": "lanczos3"}, "nearest.*lanczos'"),
        ({"like": "image_dataset", "resize": "box"}, "mitchellcubic"),
        ({"like": "cv2"}, "'load_img', 'image_dataset'"),
        ({"color": "RGB"}, "'rgb', 'bgr', 'grayscale', 'rgba'"),
        ({"fit": "contain"}, "'stretch', 'crop', 'cover', 'pad'"),
        ({"fit": "cover", "like": "image_dataset"}, "load_img"),
        ({"scale": "imagenet"}, "None, 'unit', 'tf', 'caffe', 'torch'"),
        ({"size": 224}, r"\(height, width\)"),
        ({"size": (224, 0)}, "at least 1"),
        ({"size": (224.0, 224)}, "whole number"),
        ({"mean": [1, 2]}, "2 numbers"),
        ({"mean": "a"}, "must be a number"),
        ({"mean": float("nan")}, "finite"),
        ({"std": 0}, "zero"),
        ({"std": [1, 0, 1]}, "zero"),
        ({"exif": True, "like": "image_dataset"}, "load_img"),
        ({"exif": 1}, "False, True"),
        ({"scale": "caffe", "color": "bgr"}, "color='rgb'"),
        ({"scale": "torch", "color": "grayscale"}, "three channels"),
        ({"like": "image_dataset", "fit": "crop", "resize": "gaussian"}, "area"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_allowed(options, reason):
    with pytest.raises(InvalidPreprocess, match=reason):
        Image(**options)


def test_the_pair_that_image_refuses_is_refused_by_keras(keras, tmp_path):
    image = Image(like="image_dataset", resize="gaussian")
    object.__setattr__(image, "fit", "crop")
    with pytest.raises(ValueError, match="interpolation"):
        image_dataset(keras, tmp_path, {"a.png": MADE["rgb.png"]}, image, (9, 9))


@pytest.mark.parametrize(
    "image",
    [
        Image(),
        Image((224, 200), "nearest", "bgr", "crop", "unit", 0.5, (1, 2, 3), exif=True),
        Image(size=[3, 4], mean=np.array([1, 2, 3]), like="image_dataset", resize="area"),
    ],
)
def test_json_gives_the_same_preprocessor_back(image):
    text = json.dumps(image.to_json())
    assert preprocessor_from_json(json.loads(text)) == image
    assert json.dumps(preprocessor_from_json(json.loads(text)).to_json()) == text
    assert hash(preprocessor_from_json(json.loads(text))) == hash(image)


def test_json_is_plain_and_short():
    assert Image(size=(2, 3), scale="tf").to_json() == {
        "kind": "image",
        "size": [2, 3],
        "scale": "tf",
    }


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"kind": "image", "sise": [2, 3]}, "no option 'sise'; it has size, resize"),
        ({"kind": "picture"}, "there is image, tensor, text, code"),
        ({"kind": "image", "size": "big"}, "height, width"),
    ],
)
def test_json_that_is_wrong_is_refused(value, reason):
    with pytest.raises(InvalidPreprocess, match=reason):
        preprocessor_from_json(value)


@pytest.mark.parametrize(
    ("image", "dtype", "shape"),
    [
        (Image(), "float32", (224, 224, 3)),
        (Image(size=(32, 16)), "float32", (None, None, 3)),
        (Image(size=(32, 16)), "float32", (32, 16, None)),
        (Image(color="grayscale"), "float32", (28, 28)),
        (Image(color="grayscale"), "float32", (28, 28, 1)),
        (Image(size=(28, 28), color="grayscale"), "float32", (784,)),
        (Image(size=(4, 4)), "uint8", (4, 4, 3)),
        (Image(size=(4, 4), scale="tf"), "float16", (48,)),
    ],
)
def test_a_picture_that_fits_reaches_the_network_in_its_shape_and_dtype(image, dtype, shape):
    spec = TensorSpec("x", dtype, shape)
    image.check(spec)
    rows = [image.prepare(MADE[name], spec) for name in ("rgb.png", "gray.jpg")]
    batch = image.finish(np.stack(rows), spec)
    assert batch.dtype == dtype
    assert len(batch.shape) == len(shape) + 1
    assert all(want in (None, have) for want, have in zip(shape, batch.shape[1:], strict=True))


def test_a_flat_input_keeps_the_order_of_the_pixels(keras):
    spec = TensorSpec("x", "float32", (12,))
    image = Image(size=(2, 2))
    flat = image.finish(image.prepare(MADE["rgb.png"], spec)[None], spec)[0]
    assert np.array_equal(flat, load_img(keras, MADE["rgb.png"], image, (2, 2)).reshape(-1))


@pytest.mark.parametrize(
    ("image", "dtype", "shape", "reason"),
    [
        (Image(), "float32", (None, None, 3), "give size"),
        (Image(), "float32", (784,), "give size"),
        (Image(), "float32", (28, 28), "cannot take a rgb picture"),
        (Image(), "float32", (28, 28, 1), r"which is \(28, 28, 3\)"),
        (Image(), "float32", (3, 28, 28), "cannot take"),
        (Image(size=(2, 3)), "float32", (3, 2, 3), "cannot take"),
        (Image(size=(2, 3)), "string", (2, 3, 3), "cannot take pixels"),
        (Image(scale="unit"), "uint8", (2, 3, 3), "whole numbers"),
    ],
)
def test_a_picture_that_does_not_fit_the_input_is_refused(image, dtype, shape, reason):
    with pytest.raises(InvalidPreprocess, match=reason):
        image.check(TensorSpec("x", dtype, shape))


def test_gray_of_sixteen_bits_keeps_its_values_in_grayscale_and_turns_white_in_rgb(keras):
    data = MADE["gray16.png"]
    assert through(Image(color="grayscale"), data).max() > 255
    assert (through(Image(), data) == 255).all()
    assert through(Image(like="image_dataset"), data).std() > 20


@pytest.mark.parametrize("like", ["load_img", "image_dataset"])
@pytest.mark.parametrize("color", list(CHANNELS))
def test_an_example_is_a_varied_picture_that_prepare_takes(like, color):
    image = Image(like=like, color=color)
    rng = np.random.default_rng(0)
    first, second = (through(image, image.example(SPEC, rng)) for _ in range(2))
    assert first[..., :1].std() > 15
    assert difference(first, second) > 30


def test_describe_names_the_original_and_the_options():
    sentence = Image(size=(224, 224), scale="tf", like="image_dataset").describe()
    assert "image_dataset_from_directory" in sentence
    assert "224 x 224" in sentence
    assert "'tf'" in sentence
    assert Image().runs_code is False


def test_importing_stays_light():
    import subprocess
    import sys

    heavy = "tensorflow keras pyspark sqlalchemy simplejpeg h5py pandas"
    code = (
        "import sys, kerasql.registry.preprocess;"
        f"print([m for m in {heavy.split()} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
