"""Writes the images that test_image.c decodes, and the expected pixels.

NAME.jpg or NAME.png is the image; NAME.rgb is int32 width, height, then RGB.
For JPEGs PIL gives the expected pixels. PNGs are encoded here, because PIL
writes only some kinds of PNG; their expected pixels come from the samples.
resize-*.bin: int32 width, height, new width, new height, the RGB input, and the
float32 output of PyTorch's interpolate before rounding.
"""
import glob
import os
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps


def make_image(width, height, seed=1):
    """A smooth image with some noise and without any symmetry."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    red = 255 * x / max(width - 1, 1)
    green = 255 * y / max(height - 1, 1)
    blue = 127 + 120 * np.sin(x / 7 + y / 11)
    noise = rng.normal(0, 6, (height, width, 3))
    return np.clip(np.dstack([red, green, blue]) + noise, 0, 255).astype("u1")


def expect(folder, name, rgb):
    with open(f"{folder}/{name}.rgb", "wb") as f:
        f.write(struct.pack("<ii", rgb.shape[1], rgb.shape[0]))
        f.write(np.ascontiguousarray(rgb, "u1").tobytes())


def expect_pil(folder, name, path):
    upright = ImageOps.exif_transpose(Image.open(path))
    expect(folder, name, np.asarray(upright.convert("RGB")))


def stored_for(im, orientation):
    """The stored image that becomes `im` when it is turned upright."""
    turn = {2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180,
            4: Image.FLIP_TOP_BOTTOM, 5: Image.TRANSPOSE, 6: Image.ROTATE_90,
            7: Image.TRANSVERSE, 8: Image.ROTATE_270}
    return im.transpose(turn[orientation]) if orientation > 1 else im


def exif(orientation):
    return (b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01"
            + struct.pack(">HH", orientation, 0) + b"\0\0\0\0")


def jpegs(folder):
    rgb = Image.fromarray(make_image(61, 47))
    jobs = {
        "rgb": (rgb, {"quality": 90}),
        "full-chroma": (rgb, {"quality": 90, "subsampling": 0}),
        "half-chroma": (rgb, {"quality": 70, "subsampling": 1}),
        "gray": (rgb.convert("L"), {}),
        "cmyk": (rgb.convert("CMYK"), {"quality": 95}),
        "progressive": (rgb, {"progressive": True}),
    }
    for o in range(1, 9):
        jobs[f"exif-{o}"] = (stored_for(rgb, o), {"exif": exif(o)})
    jobs["exif-0"] = (rgb, {"exif": exif(0)})
    for name, (im, options) in jobs.items():
        im.save(f"{folder}/{name}.jpg", **options)
        expect_pil(folder, name, f"{folder}/{name}.jpg")
    # The same coefficients declared as YCCK by the Adobe marker's last byte.
    data = bytearray(open(f"{folder}/cmyk.jpg", "rb").read())
    data[data.index(b"Adobe") + 11] = 2
    open(f"{folder}/ycck.jpg", "wb").write(data)
    expect_pil(folder, "ycck", f"{folder}/ycck.jpg")


def many_scans(folder, name, n):
    """A valid progressive JPEG of one gray block: one scan for the DC
    coefficient, then for each AC coefficient one scan and 13 refinements, all
    zero."""
    def segment(marker, body):
        return struct.pack(">BBH", 255, marker, len(body) + 2) + body
    table = b"\x01" + bytes(15) + b"\0"
    out = [b"\xff\xd8", segment(0xDB, b"\0" + b"\x01" * 64),
           segment(0xC2, struct.pack(">BHHBBBB", 8, 8, 8, 1, 1, 0x11, 0)),
           segment(0xC4, b"\x00" + table + b"\x10" + table)]
    scans = [(0, 0)] + [(k, a) for k in range(1, 64)
                        for a in [13] + [h << 4 | h - 1
                                         for h in range(13, 0, -1)]]
    for k, bits in scans[:n]:
        out.append(segment(0xDA, bytes([1, 1, 0, k, k, bits])) + b"\x7f")
    open(f"{folder}/{name}.jpg", "wb").write(b"".join(out) + b"\xff\xd9")


def chunk(kind, body):
    return (struct.pack(">I", len(body)) + kind + body
            + struct.pack(">I", zlib.crc32(kind + body)))


def rows(samples, depth):
    """Filter byte 0 and packed samples [height, width, channels]."""
    out = b""
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            line = row.astype(">u2").tobytes()
        else:
            bits = (row[:, None] >> np.arange(depth)[::-1]) & 1
            line = np.packbits(bits.astype("u1").ravel()).tobytes()
        out += b"\0" + line
    return out


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
         (1, 0, 2, 2), (0, 1, 1, 2)]


def png(path, samples, depth, kind, interlace=False, before=b"", between=b""):
    height, width = samples.shape[:2]
    if interlace:
        passes = [samples[y::sy, x::sx] for x, y, sx, sy in ADAM7]
        data = b"".join(rows(p, depth) for p in passes if p.size)
    else:
        data = rows(samples, depth)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0,
                         int(interlace))
    open(path, "wb").write(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before
        + chunk(b"IDAT", zlib.compress(data)) + between + chunk(b"IEND", b""))


def over_white(c, a):
    return (c.astype(int) * a + 255 * (255 - a.astype(int)) + 127) // 255


def eight_bits(samples, depth):
    top = (1 << depth) - 1
    return (samples.astype(np.int64) * 255 * 2 + top) // (2 * top)


def png_kinds(folder, interlace):
    rng = np.random.RandomState(2)
    end = "-interlaced" if interlace else ""
    for depth in (1, 2, 4, 8, 16):
        s = rng.randint(0, 1 << depth, (23, 37, 1))
        png(f"{folder}/gray{depth}{end}.png", s, depth, 0, interlace)
        expect(folder, f"gray{depth}{end}", eight_bits(s, depth).repeat(3, 2))
    for depth in (1, 2, 4, 8):
        s = rng.randint(0, 1 << depth, (23, 37, 1))
        colors = rng.randint(0, 256, (1 << depth, 3)).astype("u1")
        alpha = rng.randint(0, 256, 1 << depth).astype("u1")
        plte = chunk(b"PLTE", colors.tobytes())
        png(f"{folder}/palette{depth}{end}.png", s, depth, 3, interlace, plte)
        expect(folder, f"palette{depth}{end}", colors[s[..., 0]])
        png(f"{folder}/palette{depth}-alpha{end}.png", s, depth, 3, interlace,
            plte + chunk(b"tRNS", alpha.tobytes()))
        expect(folder, f"palette{depth}-alpha{end}",
               over_white(colors[s[..., 0]], alpha[s]))
    for depth in (8, 16):
        for name, kind, channels in (("la", 4, 2), ("rgb", 2, 3),
                                     ("rgba", 6, 4)):
            s = rng.randint(0, 1 << depth, (23, 37, channels))
            png(f"{folder}/{name}{depth}{end}.png", s, depth, kind, interlace)
            v = eight_bits(s, depth)
            if channels != 3:
                v = over_white(v[..., :-1], v[..., -1:])
            expect(folder, f"{name}{depth}{end}",
                   v.repeat(3, 2) if channels == 2 else v)


def pngs(folder):
    png_kinds(folder, False)
    png_kinds(folder, True)
    s = make_image(29, 17)
    key = tuple(int(v) for v in s[3, 4])
    png(f"{folder}/key-color.png", s, 8, 2,
        before=chunk(b"tRNS", struct.pack(">HHH", *key)))
    expect(folder, "key-color",
           np.where((s == key).all(2, keepdims=True), 255, s))
    frame = struct.pack(">IIIIIHHBB", 0, 29, 17, 0, 0, 1, 1, 0, 0)
    png(f"{folder}/animated.png", s, 8, 2,
        before=chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", frame),
        between=chunk(b"fdAT", b"\0\0\0\1" + zlib.compress(rows(255 - s, 8))))
    expect(folder, "animated", s)
    # A color profile and a text whose compressed data are invalid.
    png(f"{folder}/bad-profile.png", s, 8, 2,
        before=chunk(b"iCCP", b"x\0\0garbage") + chunk(b"zTXt", b"y\0\0bad"))
    expect(folder, "bad-profile", s)
    for o in range(1, 9):
        stored = np.asarray(stored_for(Image.fromarray(s), o))
        png(f"{folder}/turned-{o}.png", stored, 8, 2,
            before=chunk(b"eXIf", exif(o)[6:]))
        expect(folder, f"turned-{o}", s)


def resize(folder):
    import torch
    torch.set_num_threads(1)
    for w, h, nw, nh in ((500, 375, 224, 224), (333, 500, 224, 224),
                         (448, 448, 224, 224), (37, 29, 64, 50),
                         (64, 48, 64, 48), (31, 17, 200, 9), (300, 2, 7, 7),
                         (1, 1, 5, 7), (9, 7, 1, 1), (1000, 8, 3, 8)):
        im = np.random.RandomState(w).randint(0, 256, (h, w, 3)).astype("u1")
        x = torch.from_numpy(im).permute(2, 0, 1)[None].float()
        y = torch.nn.functional.interpolate(
            x, (nh, nw), mode="bilinear", antialias=True, align_corners=False)
        with open(f"{folder}/resize-{w}x{h}-{nw}x{nh}.bin", "wb") as f:
            f.write(struct.pack("<iiii", w, h, nw, nh) + im.tobytes())
            f.write(y[0].permute(1, 2, 0).contiguous().numpy().tobytes())


def real(folder, source):
    for path in sorted(glob.glob(f"{source}/*.jpg"))[::113]:
        name = os.path.basename(path)[:-4]
        os.symlink(path, f"{folder}/{name}.jpg")
        expect_pil(folder, name, path)


what, folder = sys.argv[1:3]
if what == "decode":
    jpegs(folder)
    pngs(folder)
    many_scans(folder, "scans-100", 100)
    many_scans(folder, "scans-883", 883)
elif what == "resize":
    resize(folder)
else:
    real(folder, sys.argv[3])
