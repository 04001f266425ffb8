/*
 * The annotation reader: VOC's own files, deviations from the format in other
 * data sets, and malicious files.
 */
#include "voc.h"

#include "base/text.h"
#include "preprocess/annotation.h"

#include <time.h>

/* CPU time in seconds that a malicious file may take; sanitizers are several
 * times slower. */
#define MAX_SECONDS 1.0
#if defined(__SANITIZE_ADDRESS__)
#define SLOWER 5.0
#else
#define SLOWER 1.0
#endif

static struct diagnostics found;
static struct check_log captured;

static enum vd_err parse(struct annotation *a, const char *text)
{
    diagnostics_clear(&found);
    check_log_start(&captured);
    enum vd_err err = annotation_parse(a, "a.xml", text, strlen(text), &found);
    check_log_end();
    return err;
}

static void assert_found(const char *text, int line)
{
    assert_int_equal(found.n, 1);
    assert_string_equal(found.list[0].file, "a.xml");
    assert_int_equal(found.list[0].line, line);
    if (!strstr(found.list[0].text, text))
        fail_msg("no \"%s\" in: %s", text, found.list[0].text);
}

static void a_voc_file_is_read(void **state)
{
    (void)state;
    struct annotation a;
    assert_int_equal(
        parse(&a,
              VOC_FILE("<folder>VOC2007</folder><filename>1.jpg</filename>"
                       "<source><database>The VOC2007 Database</database>"
                       "<image>flickr</image></source>" VOC_SIZE("353", "500"),
                       VOC_OBJECT("dog", "0", "48", "240", "195", "371")
                           VOC_OBJECT("person", "1", "8", "12", "352", "498"))),
        VD_OK);
    assert_int_equal(found.n, 0);
    assert_string_equal(a.folder, "VOC2007");
    assert_string_equal(a.filename, "1.jpg");
    assert_string_equal(a.source, "The VOC2007 Database flickr ");
    assert_int_equal(a.width, 353);
    assert_int_equal(a.height, 500);
    assert_int_equal(a.n_objects, 2);
    assert_string_equal(a.objects[0].name, "dog");
    assert_false(a.objects[0].difficult);
    assert_true(a.objects[1].difficult);
    assert_near(a.objects[1].box[0], 8, 0);
    assert_near(a.objects[1].box[1], 12, 0);
    assert_near(a.objects[1].box[2], 352, 0);
    assert_near(a.objects[1].box[3], 498, 0);
    assert_int_equal(a.objects[1].line, 4);
    annotation_clear(&a);
}

static void boxes_of_parts_are_ignored(void **state)
{
    (void)state;
    struct annotation a;
    assert_int_equal(
        parse(&a, "<annotation><object><part><name>head</name><bndbox><xmin>1"
                  "</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
                  "</part><bndbox><ymax>40</ymax><xmax>30</xmax><ymin>20</ymin>"
                  "<xmin>10.25</xmin></bndbox><name> person </name></object>"
                  "</annotation>"),
        VD_OK);
    assert_int_equal(a.n_objects, 1);
    assert_string_equal(a.objects[0].name, "person");
    assert_false(a.objects[0].difficult);
    assert_near(a.objects[0].box[0], 10.25, 0);
    assert_near(a.objects[0].box[1], 20, 0);
    assert_near(a.objects[0].box[2], 30, 0);
    assert_near(a.objects[0].box[3], 40, 0);
    assert_int_equal(a.width, 0);
    annotation_clear(&a);
}

static void decimals_and_unknown_elements_are_accepted(void **state)
{
    (void)state;
    struct annotation a;
    assert_int_equal(
        parse(&a, "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n"
                  "<annotation verified=\"yes\"><owner><name>x</name></owner>"
                  "<path>C:\\a</path><!-- c --><object><name>caf\xe9</name>"
                  "<pose/><truncated>0.0597</truncated><color>red</color>"
                  "<difficult>Unspecified</difficult><bndbox><angle>3</angle>"
                  "<xmin>45.70000076293945</xmin><ymin>-2</ymin><xmax>5e1"
                  "</xmax><ymax>10</ymax></bndbox></object></annotation>"),
        VD_OK);
    assert_int_equal(found.n, 0);
    assert_int_equal(a.n_objects, 1);
    assert_string_equal(a.objects[0].name, "caf\xc3\xa9");
    assert_near(a.objects[0].box[0], 45.70000076293945, 0);
    assert_near(a.objects[0].box[1], -2, 0);
    assert_near(a.objects[0].box[2], 50, 0);
    annotation_clear(&a);
}

/* Each is reported by line, and the object after it is still read. */
static void malformed_objects_are_reported_and_left_out(void **state)
{
    (void)state;
    static const struct {
        const char *object, *text;
        int line, kept; /* objects with a name */
    } cases[] = {
        {VOC_OBJECT("a", "0", "nan", "1", "2", "2"), "<xmin> is \"nan\"", 2, 2},
        {VOC_OBJECT("a", "0", "1", "1", "1,5", "2"), "<xmax> is \"1,5\"", 2, 2},
        {VOC_OBJECT("a", "0", "1", "", "2", "2"), "<ymin> is \"\"", 2, 2},
        {VOC_OBJECT("a", "0", "1", "1", "1e300", "2"), "<xmax> is", 2, 2},
        {VOC_OBJECT("a", "0", "9", "1", "2", "2"),
         "<xmin> 9 is greater than <xmax> 2", 2, 2},
        {VOC_OBJECT("a", "0", "1", "8", "2", "2"),
         "<ymin> 8 is greater than <ymax> 2", 2, 2},
        {"<object>\n<name>a</name></object>\n", "has no <bndbox>", 2, 2},
        {"<object><name>a</name><bndbox><xmin>1</xmin>\n</bndbox></object>\n",
         "no <ymin>", 2, 2},
        {VOC_OBJECT("", "0", "1", "1", "2", "2"), "has no <name>", 2, 1},
        {"<object><bndbox/></object>\n", "has no <name>", 2, 1},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct annotation a;
        char *text =
            xasprintf("<annotation>\n%s%s</annotation>", cases[k].object,
                      VOC_OBJECT("b", "0", "1", "1", "2", "2"));
        assert_int_equal(parse(&a, text), VD_OK);
        assert_found(cases[k].text, cases[k].line);
        assert_int_equal(a.n_objects, cases[k].kept);
        assert_string_equal(a.objects[a.n_objects - 1].name, "b");
        assert_true(a.objects[a.n_objects - 1].has_box);
        assert_true(a.n_objects == 1 || !a.objects[0].has_box);
        annotation_clear(&a);
        free(text);
    }
}

/* The first one is used, and the second one is reported by line. */
static void repeated_elements_are_reported(void **state)
{
    (void)state;
#define CORNERS(x) \
    "<xmin>" x "</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax>"
    static const struct {
        const char *object, *text;
    } cases[] = {
        {"<name>a</name><bndbox>" CORNERS("1") "</bndbox>\n<bndbox>" CORNERS(
             "9") "</bndbox><bndbox/>",
         "<object> has 3 <bndbox>; the first is used"},
        {"<name>a</name><bndbox>" CORNERS("1") "</bndbox>\n<name>b</name>",
         "<object> has 2 <name>"},
        {"<name>a</name><bndbox>" CORNERS("1") "\n<xmin>5</xmin></bndbox>",
         "<bndbox> has 2 <xmin>"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct annotation a;
        char *text = xasprintf("<annotation><object>%s</object></annotation>",
                               cases[k].object);
        assert_int_equal(parse(&a, text), VD_OK);
        assert_found(cases[k].text, 2);
        assert_int_equal(found.list[0].kind, DIAGNOSTIC_REPEATED);
        assert_true(a.objects[0].has_box);
        assert_string_equal(a.objects[0].name, "a");
        assert_near(a.objects[0].box[0], 1, 0);
        annotation_clear(&a);
        free(text);
    }
#undef CORNERS
}

static void normalized_boxes_are_left_out(void **state)
{
    (void)state;
    static const struct {
        const char *object;
        bool kept;
    } cases[] = {
#define SIZE(n) "<size><width>" n "</width><height>" n "</height></size>"
        /* covers an image of one pixel */
        {SIZE("1") VOC_OBJECT("a", "0", "0", "0", "1", "1"), true},
        {SIZE("2") VOC_OBJECT("a", "0", "0", "0", "1", "1"), false},
#undef SIZE
        {VOC_OBJECT("a", "0", "0.1", "0.2", "0.8", "0.9"), false},
        {VOC_OBJECT("a", "0", "0", "0", "1", "1"), false},
        {VOC_OBJECT("a", "0", "1", "1", "1", "1"), true}, /* VOC's pixel 1 1 */
        {VOC_OBJECT("a", "0", "0.5", "0.5", "1.5", "1"), true},
        {VOC_OBJECT("a", "0", "7.2", "8.1", "7.9", "8.8"), true},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct annotation a;
        char *text =
            xasprintf("<annotation>\n%s</annotation>", cases[k].object);
        assert_int_equal(parse(&a, text), VD_OK);
        assert_int_equal(a.objects[0].has_box, cases[k].kept);
        if (!cases[k].kept)
            assert_found("looks normalized (0 to 1), not in pixels", 2);
        annotation_clear(&a);
        free(text);
    }
}

static void white_space_in_names_becomes_one_blank(void **state)
{
    (void)state;
    struct annotation a;
    assert_int_equal(parse(&a,
                           "<annotation>" VOC_OBJECT("traffic\n \t light", "0",
                                                     "1", "1", "5", "5")
                               VOC_OBJECT("a\x7f", "0", "1", "1", "5", "5")
                                   VOC_OBJECT("  stop  sign\r\n", "0", "1", "1",
                                              "5", "5") "</annotation>"),
                     VD_OK);
    assert_found("control character in its <name>", 3);
    assert_int_equal(a.n_objects, 2);
    assert_string_equal(a.objects[0].name, "traffic light");
    assert_string_equal(a.objects[1].name, "stop sign");
    annotation_clear(&a);
}

static void invalid_sizes_count_as_missing(void **state)
{
    (void)state;
    static const char *const bad[] = {"0", "-3", "12.5", "abc", "", "1e9"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        struct annotation a;
        char *text = xasprintf("<annotation><size><width>%s</width><height>7"
                               "</height></size></annotation>",
                               bad[k]);
        assert_int_equal(parse(&a, text), VD_OK);
        assert_int_equal(a.width, 0);
        assert_int_equal(a.height, 7);
        assert_int_equal(a.n_objects, 0);
        annotation_clear(&a);
        free(text);
    }
}

/* ---- malicious files ---- */

static void assert_bytes_rejected(const void *bytes, size_t n,
                                  const char *message)
{
    struct annotation a;
    diagnostics_clear(&found);
    check_log_start(&captured);
    clock_t start = clock();
    enum vd_err err = annotation_parse(&a, "a.xml", bytes, n, &found);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    check_log_end();
    assert_int_equal(err, VD_DATA);
    assert_logged(&captured, "a.xml:");
    assert_logged(&captured, message);
    if (!(seconds <= MAX_SECONDS * SLOWER))
        fail_msg("%s took %.2f s", message, seconds);
}

static void assert_text_rejected(const char *text, const char *message)
{
    assert_bytes_rejected(text, strlen(text), message);
}

static void document_types_are_rejected(void **state)
{
    (void)state;
    assert_text_rejected(
        "<!DOCTYPE annotation [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>"
        "<annotation><folder>&x;</folder></annotation>",
        "document type");
    assert_text_rejected(
        "<!DOCTYPE annotation SYSTEM \"http://127.0.0.1/a.dtd\">"
        "<annotation/>",
        "document type");

    struct text laughs = {0}; /* "billion laughs": nested entities */
    text_add(&laughs, "<!DOCTYPE a [<!ENTITY l0 \"ha\">");
    for (int k = 1; k < 10; k++) {
        text_add(&laughs, "<!ENTITY l%d \"", k);
        for (int j = 0; j < 10; j++)
            text_add(&laughs, "&l%d;", k - 1);
        text_add(&laughs, "\">");
    }
    text_add(&laughs, "]><annotation><folder>&l9;</folder></annotation>");
    assert_text_rejected(laughs.bytes, "a.xml:1:"); /* libxml2: a loop */
    free(laughs.bytes);

    struct text quadratic = {0}; /* one long entity, used 2000 times */
    text_add(&quadratic, "<!DOCTYPE a [<!ENTITY q \"");
    for (int k = 0; k < 100000; k++)
        text_add_bytes(&quadratic, "q", 1);
    text_add(&quadratic, "\">]><annotation><folder>");
    for (int k = 0; k < 2000; k++)
        text_add(&quadratic, "&q;");
    text_add(&quadratic, "</folder></annotation>");
    assert_text_rejected(quadratic.bytes,
                         "a.xml:1:"); /* libxml2 2.15: too large */
    free(quadratic.bytes);
}

static void resource_exhaustion_is_rejected(void **state)
{
    (void)state;
    struct text deep = {0};
    for (int k = 0; k < 300; k++)
        text_add(&deep, "<annotation>");
    assert_text_rejected(deep.bytes, "not well-formed XML");
    free(deep.bytes);

    struct text objects = {0};
    text_add(&objects, "<annotation>");
    for (int k = 0; k < 10001; k++)
        text_add(&objects, "<object/>");
    text_add(&objects, "</annotation>");
    assert_text_rejected(objects.bytes,
                         "10001 objects, more than the 10000 allowed");
    free(objects.bytes);

    struct text attributes = {0};
    text_add(&attributes, "<annotation><object x=\">\"");
    while (attributes.length < ANNOTATION_MAX_BYTES - 100)
        text_add(&attributes, " a%zx=\"\"", attributes.length);
    text_add(&attributes, "/></annotation>");
    assert_text_rejected(attributes.bytes, "more than 8000 attributes");
    char *wide = xcalloc(attributes.length, 2); /* in UTF-16 */
    for (size_t k = 0; k < attributes.length / 4; k++)
        wide[2 * k] = attributes.bytes[k];
    assert_bytes_rejected(wide, attributes.length / 2,
                          "more than 8000 attributes");
    free(wide);
    free(attributes.bytes);

    struct text most = {0}; /* the most allowed, in one tag */
    text_add(&most, "<annotation><object");
    for (int k = 0; k < 8000; k++)
        text_add(&most, " a%x=\"\"", k);
    text_add(&most, "/><a></b></annotation>");
    assert_text_rejected(most.bytes, "not well-formed XML");
    free(most.bytes);

    struct text declared = {0}; /* libxml2 appends each to a list */
    text_add(&declared, "<!DOCTYPE a [");
    while (declared.length < ANNOTATION_MAX_BYTES - 100)
        text_add(&declared, "<!ATTLIST a a%zx CDATA #IMPLIED>",
                 declared.length);
    text_add(&declared, "]><annotation/>");
    assert_text_rejected(declared.bytes, "document type");
    free(declared.bytes);

    char *huge = xcalloc(20 << 20, 1);
    memset(huge, 'x', 20 << 20);
    memcpy(huge, "<annotation>", 12);
    assert_bytes_rejected(huge, 20 << 20, "more than 4 MiB");
    free(huge);
}

/* They could hide markup from the checks before parsing. */
static void unknown_encodings_are_rejected(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "<?xml version=\"1.0\" encoding=\"IBM037\"?>",
        "<?xml version='1.0' encoding = 'utf-7' ?>",
        "<?xml version=\"1.0\" encoding=\"utf-8\" encoding=\"cp037\"?>",
        "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"EBCDIC-US\"?>",
        "\x4c\x6f\xa7\x94\x93", /* declared in EBCDIC itself */
    };
    for (size_t k = 0; k < sizeof heads / sizeof *heads; k++) {
        char *text = xasprintf("%s<annotation/>", heads[k]);
        assert_text_rejected(text, "\" is not accepted");
        free(text);
    }
}

/* Dense images: no object is lost, and line numbers beyond 65535 are right. */
static void thousands_of_objects_are_read(void **state)
{
    (void)state;
    struct annotation a;
    struct text file = {0};
    text_add(&file, "<annotation>");
    for (int k = 0; k < 10000; k++)
        text_add(&file, "<object><name>cell</name><difficult>0</difficult>\n"
                        "<pose>Unspecified</pose>\n<truncated>0</truncated>\n"
                        "<bndbox>\n<xmin>1</xmin>\n<ymin>1</ymin>\n"
                        "<xmax>9</xmax><ymax>9</ymax></bndbox></object>\n");
    text_add(&file, "</annotation>");
    assert_true(file.length > 256 << 10);
    assert_int_equal(parse(&a, file.bytes), VD_OK);
    assert_int_equal(a.n_objects, 10000);
    assert_int_equal(a.objects[9999].line, 1 + 7 * 9999);
    annotation_clear(&a);
    free(file.bytes);
}

static void malformed_files_are_rejected(void **state)
{
    (void)state;
    assert_text_rejected("", "empty");
    assert_text_rejected("<annotation><object>",
                         "a.xml:1: not well-formed XML");
    assert_text_rejected("<annotation>\n<a></b>\n</annotation>",
                         "a.xml:2: not well-formed");
    assert_text_rejected("hello", "not well-formed XML");
    assert_text_rejected("<root/>",
                         "the root element is <root>, not <annotation>");
    assert_text_rejected(
        "<annotation><folder>&undefined;</folder></annotation>",
        "not well-formed XML");
    assert_bytes_rejected("<annotation>\0</annotation>", 26,
                          "not well-formed XML");
    assert_text_rejected(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><annotation><folder>"
        "\xff\xfe\xfa</folder></annotation>",
        "not well-formed XML");
    assert_text_rejected(
        "<?xml version=\"1.0\" encoding=\"no-such\"?><annotation><folder>"
        "\xff</folder></annotation>",
        "encoding \"no-such\" is not accepted");
}

static void a_large_file_is_not_even_opened(void **state)
{
    (void)state;
    struct annotation a;
    char *folder = check_folder();
    char *path = xasprintf("%s/a.xml", folder);
    char *huge = xcalloc(ANNOTATION_MAX_BYTES + 1, 1);
    voc_write(folder, "a.xml", huge, ANNOTATION_MAX_BYTES + 1);
    check_log_start(&captured);
    assert_int_equal(annotation_read(&a, path, &found), VD_DATA);
    check_log_end();
    assert_logged(&captured, "4194305 bytes, more than");
    free(huge);
    free(path);
    check_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_voc_file_is_read),
        cmocka_unit_test(boxes_of_parts_are_ignored),
        cmocka_unit_test(decimals_and_unknown_elements_are_accepted),
        cmocka_unit_test(malformed_objects_are_reported_and_left_out),
        cmocka_unit_test(repeated_elements_are_reported),
        cmocka_unit_test(normalized_boxes_are_left_out),
        cmocka_unit_test(white_space_in_names_becomes_one_blank),
        cmocka_unit_test(invalid_sizes_count_as_missing),
        cmocka_unit_test(document_types_are_rejected),
        cmocka_unit_test(resource_exhaustion_is_rejected),
        cmocka_unit_test(unknown_encodings_are_rejected),
        cmocka_unit_test(thousands_of_objects_are_read),
        cmocka_unit_test(malformed_files_are_rejected),
        cmocka_unit_test(a_large_file_is_not_even_opened),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    diagnostics_clear(&found);
    return failed;
}
