/* image: every kind of JPEG and PNG decodes to the right pixels, upright;
 * damaged and hostile files are rejected with a clear message; resize equals
 * PyTorch's interpolate; written files round-trip. */
#include "check.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "image/image.h"
#include "image/image_internal.h"

#include <signal.h>
#include <sys/resource.h>

static char *folder; /* of the images that main() generates */

/* Runs image_files.py; false if Python or one of its modules is missing. */
static bool make_image_files(const char *what, const char *more)
{
    char *command = xasprintf("'%s' '%s' %s '%s' '%s' 2>'%s/python.txt'",
                              PYTHON, SCRIPT, what, folder, more, folder);
    const int status = system(command);
    free(command);
    return status == 0;
}

static void read_bytes(const char *name, char **bytes, size_t *n)
{
    char *path = xasprintf("%s/%s", folder, name);
    assert_int_equal(file_read(path, 1 << 24, bytes, n), VD_OK);
    free(path);
}

static int32_t int_at(const char *bytes, int index)
{
    int32_t value;
    memcpy(&value, bytes + 4 * index, 4);
    return value;
}

/* Asserts that NAME.END decodes to exactly NAME.rgb. */
static void check_file(const char *name, const char *end)
{
    char *path = xasprintf("%s/%s.%s", folder, name, end);
    char *expected_name = xasprintf("%s.rgb", name), *expected = NULL;
    size_t n = 0;
    struct image im = {0};
    read_bytes(expected_name, &expected, &n);
    assert_int_equal(image_read(&im, NULL, path), VD_OK);
    assert_int_equal(im.width, int_at(expected, 0));
    assert_int_equal(im.height, int_at(expected, 1));
    const size_t n_bytes = (size_t)im.width * (size_t)im.height * 3;
    assert_int_equal(n, 8 + n_bytes);
    for (size_t i = 0; i < n_bytes; i++)
        if (im.rgb[i] != (uint8_t)expected[8 + i])
            fail_msg("%s: byte %zu is %d, not %d", path, i, im.rgb[i],
                     (uint8_t)expected[8 + i]);
    image_clear(&im);
    free(expected);
    free(expected_name);
    free(path);
}

static void jpegs_decode_as_pil_does(void **state)
{
    (void)state;
    static const char *const names[] = {"rgb",  "full-chroma", "half-chroma",
                                        "gray", "progressive", "cmyk",
                                        "ycck", "exif-0"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_file(names[i], "jpg");
}

static void real_jpegs_decode_as_pil_does(void **state)
{
    (void)state;
    const char *data = getenv("VOCDIST_TEST_DATA");
    if (!data)
        skip();
    char *source = xasprintf("%s/data/voc-real/JPEGImages", data);
    struct file_list list;
    size_t n = 0;
    assert_true(make_image_files("real", source));
    assert_int_equal(file_list_read(&list, folder), VD_OK);
    for (size_t i = 0; i < list.n; i++)
        if (!strncmp(list.names[i], "20", 2) && strstr(list.names[i], ".jpg")) {
            list.names[i][strlen(list.names[i]) - 4] = '\0';
            check_file(list.names[i], "jpg");
            n++;
        }
    assert_true(n >= 8);
    file_list_clear(&list);
    free(source);
}

static void every_orientation_comes_out_upright(void **state)
{
    (void)state;
    struct image first = {0}, im = {0};
    struct image_file_info source;
    for (int o = 1; o <= 8; o++) {
        char *name = xasprintf("exif-%d", o), *png = xasprintf("turned-%d", o);
        char *path = xasprintf("%s/%s.jpg", folder, name);
        check_file(name, "jpg");
        check_file(png, "png"); // lossless: one image for all eight
        assert_int_equal(image_read(&im, &source, path), VD_OK);
        assert_int_equal(source.orientation, o);
        assert_int_equal(source.width, o < 5 ? 61 : 47);
        assert_int_equal(im.width, 61);
        assert_int_equal(im.height, 47);
        if (o == 1)
            first = im;
        else {
            double sum = 0;
            for (int i = 0; i < 61 * 47 * 3; i++)
                sum += abs(im.rgb[i] - first.rgb[i]);
            assert_near(sum / (61 * 47 * 3), 0, 6);
            image_clear(&im);
        }
        free(path);
        free(png);
        free(name);
    }
    image_clear(&first);
}

static void every_kind_of_png_decodes_exactly(void **state)
{
    (void)state;
    static const char *const kinds[] = {
        "gray1",          "gray2",    "gray4",          "gray8",
        "gray16",         "palette1", "palette1-alpha", "palette2",
        "palette2-alpha", "palette4", "palette4-alpha", "palette8",
        "palette8-alpha", "la8",      "rgb8",           "rgba8",
        "la16",           "rgb16",    "rgba16"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char *interlaced = xasprintf("%s-interlaced", kinds[i]);
        check_file(kinds[i], "png");
        check_file(interlaced, "png");
        free(interlaced);
    }
    check_file("key-color", "png");
    check_file("animated", "png");
    check_file("bad-profile", "png");
}

/* Decodes a copy of exactly n bytes, so that the sanitizer sees any read past
 * the end. */
static enum vd_err decode_copy(const char *bytes, size_t n, int64_t max_pixels)
{
    uint8_t *copy = malloc(n ? n : 1);
    struct image im = {0};
    memcpy(copy, bytes, n);
    struct image_input in = {"some/file", copy, n, max_pixels};
    enum vd_err err = image_decode_input(&in, &im, NULL);
    assert_true(err == VD_OK ? im.rgb != NULL : im.rgb == NULL);
    image_clear(&im);
    free(copy);
    return err;
}

/* Asserts VD_DATA and a message with the file name and `expected`. */
static void assert_bytes_rejected(const char *bytes, size_t n,
                                  const char *expected)
{
    struct check_log log;
    check_log_start(&log);
    enum vd_err err = decode_copy(bytes, n, IMAGE_MAX_PIXELS);
    check_log_end();
    if (err != VD_DATA)
        fail_msg("not rejected as bad data (%d), \"%s\"", (int)err, expected);
    assert_logged(&log, "some/file: ");
    assert_logged(&log, expected);
}

static void a_truncated_file_is_always_rejected(void **state)
{
    (void)state;
    static const char *const names[] = {
        "rgb.jpg",  "gray.jpg",  "cmyk.jpg",           "progressive.jpg",
        "rgb8.png", "gray1.png", "palette4-alpha.png", "rgba16-interlaced.png"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *bytes = NULL;
        size_t n = 0;
        read_bytes(names[i], &bytes, &n);
        for (size_t k = 0; k < 20; k++)
            assert_bytes_rejected(bytes, n * k / 20, "");
        for (size_t k = 1; k <= 20; k++)
            assert_bytes_rejected(bytes, n - k, "");
        assert_bytes_rejected(bytes, n / 2,
                              i < 4 ? "JPEG: Premature end of JPEG file"
                                    : "PNG: the file ends early");
        free(bytes);
    }
}

static void bytes_after_the_end_are_ignored(void **state)
{
    (void)state;
    static const char *const names[] = {"rgb.jpg", "rgb8.png"};
    for (size_t i = 0; i < 2; i++) {
        char *bytes = NULL;
        size_t n = 0;
        read_bytes(names[i], &bytes, &n);
        bytes = xreallocarray(bytes, n + 100, 1);
        memset(bytes + n, 'x', 100);
        assert_int_equal(decode_copy(bytes, n + 100, 1 << 20), VD_OK);
        free(bytes);
    }
}

static void flipped_bytes_never_crash(void **state)
{
    (void)state;
    static const char *const names[] = {
        "rgb.jpg",         "progressive.jpg",      "cmyk.jpg",
        "exif-6.jpg",      "turned-6.png",         "palette8-alpha.png",
        "bad-profile.png", "rgba16-interlaced.png"};
    struct check_log log;
    uint32_t n_rejected = 0;
    for (uint32_t k = 0; k < 800; k++) {
        char *bytes = NULL;
        size_t n = 0;
        read_bytes(names[k % 8], &bytes, &n);
        for (uint32_t flip = 0; flip <= k % 3; flip++) {
            uint32_t w[4];
            rng_words(7, RNG_TEST, k, flip, w);
            const size_t reach = w[2] % 2 ? n : (n < 300 ? n : 300);
            bytes[w[0] % reach] = (char)(w[1] & 0xff);
        }
        check_log_start(&log);
        n_rejected += decode_copy(bytes, n, 1 << 20) != VD_OK;
        check_log_end();
        free(bytes);
    }
    assert_in_range(n_rejected, 300, 799);
}

static void damaged_png_chunks_are_rejected(void **state)
{
    (void)state;
    char *bytes = NULL;
    size_t n = 0;
    read_bytes("bad-profile.png", &bytes, &n);
    char *text = memmem(bytes, n, "zTXt", 4),
         *data = memmem(bytes, n, "IDAT", 4);
    assert_true(text && data);
    text[5] ^= 1;
    assert_bytes_rejected(bytes, n, "PNG: zTXt: CRC error");
    text[5] ^= 1;
    data[40] ^= 1;
    assert_bytes_rejected(bytes, n, "PNG: IDAT: ");
    free(bytes);
    // The chunk claims 2 GB, which libpng must not allocate. Before 1.6.45 it
    // reports the size; later versions report that the chunk has no end.
    read_bytes("turned-6.png", &bytes, &n);
    char *exif = memmem(bytes, n, "eXIf", 4);
    exif[-4] = 0x75;
    assert_bytes_rejected(bytes, n, "PNG: ");
    free(bytes);
}

/* Sets the size in the header of a JPEG or PNG. */
static void set_jpeg_size(char *bytes, size_t n, int width, int height)
{
    const char *mark = bytes[0] == '\x89' ? "IHDR" : "\xff\xc0\x00\x11\x08";
    const bool png = mark[0] == 'I';
    char *at = memmem(bytes, n, mark, png ? 4 : 5);
    assert_non_null(at);
    at += png ? 4 : 5;
    for (int i = 0; i < 2; i++) {
        const int value = (png ? i == 0 : i == 1) ? width : height;
        if (png) {
            *at++ = 0;
            *at++ = 0;
        }
        *at++ = (char)(value >> 8);
        *at++ = (char)value;
    }
}

static uint32_t crc_of(const uint8_t *bytes, size_t n)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void set_png_size(char *bytes, size_t n, int width, int height)
{
    set_jpeg_size(bytes, n, width, height);
    const uint32_t crc = crc_of((uint8_t *)bytes + 12, 17);
    for (int i = 0; i < 4; i++)
        bytes[29 + i] = (char)(crc >> (24 - 8 * i));
}

static void huge_and_empty_sizes_are_rejected_at_once(void **state)
{
    (void)state;
    char *jpeg = NULL, *png = NULL;
    size_t n = 0, m = 0;
    const double start = clock_now();
    read_bytes("rgb.jpg", &jpeg, &n);
    read_bytes("rgb8.png", &png, &m);
    set_jpeg_size(jpeg, n, 65500, 65500);
    assert_bytes_rejected(jpeg, n, "claims 65500 x 65500 pixels");
    set_jpeg_size(jpeg, n, 65500, 1025);
    assert_bytes_rejected(jpeg, n, "claims 65500 x 1025 pixels");
    set_jpeg_size(jpeg, n, 65535, 8);
    assert_bytes_rejected(jpeg, n, "JPEG: ");
    set_jpeg_size(jpeg, n, 0, 47);
    assert_bytes_rejected(jpeg, n, "JPEG: Empty");
    set_jpeg_size(jpeg, n, 61, 0);
    assert_bytes_rejected(jpeg, n, "JPEG: Empty");
    set_png_size(png, m, 60000, 60000);
    assert_bytes_rejected(png, m, "claims 60000 x 60000 pixels");
    set_png_size(png, m, 65501, 1);
    assert_bytes_rejected(png, m, "claims 65501 x 1 pixels");
    set_png_size(png, m, 0, 23);
    assert_bytes_rejected(png, m, "PNG: Invalid IHDR data");
    set_png_size(png, m, 37, 24);
    assert_bytes_rejected(png, m, "PNG: ");
    assert_near(clock_now() - start, 0, 1);
    free(png);
    free(jpeg);
}

static void many_scans_are_rejected(void **state)
{
    (void)state;
    char *bytes = NULL;
    size_t n = 0;
    read_bytes("scans-100.jpg", &bytes, &n);
    assert_int_equal(decode_copy(bytes, n, 64), VD_OK);
    free(bytes);
    read_bytes("scans-883.jpg", &bytes, &n);
    assert_bytes_rejected(bytes, n, "JPEG: more than 100 scans");
    free(bytes);
}

static void other_files_are_rejected_by_name(void **state)
{
    (void)state;
    assert_bytes_rejected("", 0, "empty file");
    assert_bytes_rejected("GIF89a...", 9, "neither a JPEG nor a PNG");
    assert_bytes_rejected("hello, world", 12, "neither a JPEG nor a PNG");
    assert_bytes_rejected("\xff\xd8", 2, "neither a JPEG nor a PNG");
    assert_bytes_rejected("\xff\xd8\xff", 3, "JPEG: Premature end");
    assert_bytes_rejected("\x89PNG\r\n\x1a\n", 8, "PNG: the file ends early");
    struct image im = {0};
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(image_read(&im, NULL, "/no/such.jpg"), VD_NOINPUT);
    check_log_end();
    assert_logged(&log, "/no/such.jpg");
}

static void check_resize(const char *name)
{
    char *bytes = NULL;
    size_t n = 0;
    read_bytes(name, &bytes, &n);
    const int w = int_at(bytes, 0), h = int_at(bytes, 1);
    const int nw = int_at(bytes, 2), nh = int_at(bytes, 3);
    const size_t n_in = (size_t)(w * h * 3), n_out = (size_t)(nw * nh * 3);
    assert_int_equal(n, 16 + n_in + 4 * n_out);
    uint8_t *rgb = (uint8_t *)bytes + 16, *out = malloc(n_out);
    struct image im = {rgb, w, h};
    assert_int_equal(image_resize(&im, nw, nh, out), VD_OK);
    if (w == nw && h == nh)
        assert_memory_equal(out, rgb, n_out);
    // The byte nearest to PyTorch's float; 1e-3 allows another order of sums.
    for (size_t i = 0; i < n_out; i++) {
        float expected;
        memcpy(&expected, bytes + 16 + n_in + 4 * i, 4);
        if (!(fabsf(out[i] - expected) <= 0.501f))
            fail_msg("%s: byte %zu is %d, PyTorch has %.4f", name, i, out[i],
                     (double)expected);
    }
    free(out);
    free(bytes);
}

static void resize_is_pytorchs_antialiased_interpolate(void **state)
{
    (void)state;
    struct file_list list;
    size_t n = 0;
    if (!make_image_files("resize", ""))
        check_skip("PyTorch");
    assert_int_equal(file_list_read(&list, folder), VD_OK);
    for (size_t i = 0; i < list.n; i++)
        if (!strncmp(list.names[i], "resize-", 7)) {
            check_resize(list.names[i]);
            n++;
        }
    assert_int_equal(n, 10);
    file_list_clear(&list);
}

static struct image noise(int width, int height)
{
    struct image im;
    assert_int_equal(image_new(&im, width, height), VD_OK);
    for (int i = 0; i < width * height * 3; i++)
        im.rgb[i] = (uint8_t)(255 * rng_uniform(3, RNG_TEST, 0, (uint32_t)i));
    return im;
}

static void written_files_read_back(void **state)
{
    (void)state;
    struct image im = noise(41, 27), again = {0};
    char *png = xasprintf("%s/out.png", folder), *one = NULL, *two = NULL;
    char *jpeg = xasprintf("%s/out.jpg", folder);
    size_t n = 0, m = 0;
    assert_int_equal(image_write_png(&im, png), VD_OK);
    read_bytes("out.png", &one, &n);
    assert_int_equal(image_write_png(&im, png), VD_OK);
    read_bytes("out.png", &two, &m);
    assert_int_equal(n, m);
    assert_memory_equal(one, two, n);
    assert_int_equal(image_read(&again, NULL, png), VD_OK);
    assert_int_equal(again.width, 41);
    assert_memory_equal(again.rgb, im.rgb, 41 * 27 * 3);
    image_clear(&again);

    memset(im.rgb, 90, 41 * 27 * 3);
    assert_int_equal(image_write_jpeg(&im, jpeg, 90), VD_OK);
    assert_int_equal(image_read(&again, NULL, jpeg), VD_OK);
    assert_int_equal(again.height, 27);
    for (int i = 0; i < 41 * 27 * 3; i++)
        assert_in_range(again.rgb[i], 88, 92);
    free(one);
    read_bytes("out.jpg", &one, &n); // baseline, 4:2:0
    assert_non_null(memmem(one, n,
                           "\xff\xc0\x00\x11\x08\x00\x1b\x00\x29\x03"
                           "\x01\x22\x00\x02\x11\x01\x03\x11\x01",
                           19));
    image_clear(&again);
    image_clear(&im);
    free(one);
    free(two);
    free(png);
    free(jpeg);
}

static void a_full_disk_keeps_the_old_file(void **state)
{
    (void)state;
    struct image im = noise(300, 200), again = {0};
    char *png = xasprintf("%s/full.png", folder);
    char *jpeg = xasprintf("%s/full.jpg", folder);
    struct check_log log;
    struct rlimit old, small = {4096, RLIM_INFINITY};
    struct image dot = noise(1, 1);
    assert_int_equal(image_write_png(&dot, png), VD_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    check_log_start(&log);
    enum vd_err err = image_write_png(&im, png);
    enum vd_err err_jpeg = image_write_jpeg(&im, jpeg, 95);
    enum vd_err err_path = image_write_png(&im, "/no/such/folder/a.png");
    check_log_end();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(err, VD_IO);
    assert_int_equal(err_jpeg, VD_IO);
    assert_int_equal(err_path, VD_CREATE);
    assert_logged(&log, png);
    assert_logged(&log, jpeg);
    assert_false(file_exists(jpeg));
    assert_int_equal(image_read(&again, NULL, png), VD_OK);
    assert_int_equal(again.width, 1);
    image_clear(&again);
    image_clear(&dot);
    image_clear(&im);
    free(jpeg);
    free(png);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jpegs_decode_as_pil_does),
        cmocka_unit_test(real_jpegs_decode_as_pil_does),
        cmocka_unit_test(every_orientation_comes_out_upright),
        cmocka_unit_test(every_kind_of_png_decodes_exactly),
        cmocka_unit_test(a_truncated_file_is_always_rejected),
        cmocka_unit_test(bytes_after_the_end_are_ignored),
        cmocka_unit_test(flipped_bytes_never_crash),
        cmocka_unit_test(damaged_png_chunks_are_rejected),
        cmocka_unit_test(huge_and_empty_sizes_are_rejected_at_once),
        cmocka_unit_test(many_scans_are_rejected),
        cmocka_unit_test(other_files_are_rejected_by_name),
        cmocka_unit_test(resize_is_pytorchs_antialiased_interpolate),
        cmocka_unit_test(written_files_read_back),
        cmocka_unit_test(a_full_disk_keeps_the_old_file),
    };
    folder = check_folder();
    if (!make_image_files("decode", "")) {
        fprintf(stderr, "skipped: needs Python with PIL and numpy\n");
        check_folder_remove(folder);
        return CHECK_SKIP;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    check_folder_remove(folder);
    return failed;
}
