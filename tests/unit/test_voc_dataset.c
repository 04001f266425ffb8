/*
 * Finding annotated images: folders, splits, names, several roots; and the
 * class list.
 */
#include "voc.h"

#include "base/text.h"
#include "preprocess/classes.h"
#include "preprocess/voc_dataset.h"

static struct check_log captured;

#define DOG VOC_FILE("", VOC_OBJECT("dog", "0", "1", "1", "5", "5"))
#define CAT VOC_FILE("", VOC_OBJECT("cat", "0", "1", "1", "5", "5"))

/* A scratch folder with two VOC folders. The image files are empty, because
 * only their names matter here. */
struct voc_fixture {
    char *folder, *roots[2];
};

static struct voc_fixture make_voc_fixture(void)
{
    struct voc_fixture w = {check_folder(), {NULL, NULL}};
    w.roots[0] = xasprintf("%s/VOC2007", w.folder);
    w.roots[1] = xasprintf("%s/VOC2012", w.folder);
    static const char *const names[] = {"a", "a-b", "b", "c"};
    for (int k = 0; k < 4; k++) {
        char *xml = xasprintf("Annotations/%s.xml", names[k]);
        char *image = xasprintf("JPEGImages/%s.jpg", names[k]);
        voc_text(w.roots[0], xml, DOG);
        voc_text(w.roots[0], image, "");
        free(image);
        free(xml);
    }
    voc_text(w.roots[1], "Annotations/b.xml", CAT);
    voc_text(w.roots[1], "JPEGImages/b.jpg", "");
    return w;
}

static void end_voc_fixture(struct voc_fixture *w)
{
    free(w->roots[0]);
    free(w->roots[1]);
    check_folder_remove(w->folder);
}

static enum vd_err open_voc_dataset(struct voc_dataset *dataset,
                                    struct voc_fixture *w, int n_roots,
                                    const char *splits)
{
    check_log_start(&captured);
    enum vd_err err = voc_dataset_open(dataset, w->roots, n_roots, splits);
    if (err == VD_OK)
        err = voc_dataset_read(dataset, false, 2);
    check_log_end();
    return err;
}

static const struct annotated_image *member(const struct voc_dataset *dataset,
                                            int split, size_t i)
{
    assert_true(i < dataset->splits[split].n);
    return &dataset->images[dataset->splits[split].members[i]];
}

static void without_splits_all_annotations_are_used(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    voc_text(w.roots[0], "Annotations/readme.txt", "not an annotation");
    voc_text(w.roots[0], "JPEGImages/z.jpg", "");
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, ""), VD_OK);
    assert_int_equal(dataset.n_splits, 1);
    assert_int_equal(dataset.splits[0].n, 4);
    assert_string_equal(member(&dataset, 0, 0)->id, "a-b");
    assert_string_equal(member(&dataset, 0, 1)->id, "a");
    char *path = xasprintf("%s/JPEGImages/a.jpg", w.roots[0]);
    assert_string_equal(member(&dataset, 0, 1)->image_path, path);
    char *relative = voc_dataset_relative_path(&dataset, path);
    assert_string_equal(relative, "VOC2007/JPEGImages/a.jpg");
    free(relative);
    free(path);
    voc_dataset_close(&dataset);
    end_voc_fixture(&w);
}

static void split_files_may_have_columns_blank_lines_and_crlf(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    voc_text(w.roots[0], "ImageSets/Main/one.txt", "c\r\n\r\na-b\r\n");
    voc_text(w.roots[0], "ImageSets/Main/two.txt", "b  1\nc -1\na 0\n\n");
    voc_text(w.roots[0], "ImageSets/Main/three.txt", "a 1 0\na 2 1\nc\t1 -1");
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, "one,two, three"),
                     VD_OK);
    assert_int_equal(dataset.n_splits, 3);
    assert_int_equal(dataset.splits[0].n, 2);
    assert_string_equal(member(&dataset, 0, 0)->id, "c");
    assert_string_equal(member(&dataset, 0, 1)->id, "a-b");
    assert_int_equal(dataset.splits[1].n, 2);
    assert_string_equal(member(&dataset, 1, 0)->id, "b");
    assert_string_equal(member(&dataset, 1, 1)->id, "a");
    assert_string_equal(dataset.splits[2].name, "three");
    assert_int_equal(dataset.splits[2].n, 2);
    assert_string_equal(member(&dataset, 2, 0)->id, "a");
    assert_string_equal(member(&dataset, 2, 1)->id, "c");
    voc_dataset_close(&dataset);
    end_voc_fixture(&w);
}

static void split_lines_without_annotation_are_reported(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    voc_text(w.roots[0], "ImageSets/Main/s.txt",
             "a\nnone\n../../VOC2012/Annotations/d\nb\n");
    voc_text(w.folder, "none.xml", DOG);
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, "s"), VD_OK);
    assert_int_equal(dataset.splits[0].n, 2);
    const struct diagnostics *f = &dataset.splits[0].diagnostics;
    assert_int_equal(f->n, 2);
    assert_int_equal(f->list[0].line, 2);
    assert_int_equal(f->list[0].kind, DIAGNOSTIC_ANNOTATION);
    assert_non_null(strstr(f->list[0].file, "ImageSets/Main/s.txt"));
    assert_int_equal(f->list[1].line, 3);
    voc_dataset_close(&dataset);
    end_voc_fixture(&w);
}

/* ---- names in lists ---- */

/* The members' stems in order, then each diagnostic as KEY:LINE. Owned. */
static char *members_of(struct voc_fixture *w, const char *list, size_t n)
{
    struct voc_dataset dataset;
    struct text all = {0};
    voc_write(w->roots[0], "ImageSets/Main/s.txt", list, n);
    text_add(&all, "%s", "");
    if (open_voc_dataset(&dataset, w, 1, "s") != VD_OK)
        return all.bytes;
    for (size_t i = 0; i < dataset.splits[0].n; i++)
        text_add(&all, "%s|", member(&dataset, 0, i)->stem);
    for (size_t i = 0; i < dataset.splits[0].diagnostics.n; i++)
        text_add(&all, "%s:%d|",
                 diagnostic_key(dataset.splits[0].diagnostics.list[i].kind),
                 dataset.splits[0].diagnostics.list[i].line);
    voc_dataset_close(&dataset);
    return all.bytes;
}

/* Each list with its members in a folder that has cat, cat (2), cat (3), img
 * -1, a.b, a.jpg and o'neill. */
static void names_in_lists_are_matched(void **state)
{
    (void)state;
    static const struct {
        const char *list, *members;
    } cases[] = {
        {"cat (2)\ncat (3)\n", "cat (2)|cat (3)|"},
        {"cat\ncat (2)", "cat|cat (2)|"},
        {"cat (4)\ncat", "cat|bad_annotations:1|"}, /* not cat */
        {"cat the second", "bad_annotations:1|"},
        {"cat 7", "bad_annotations:1|"},
        {"cat (2) 1\ncat (3)  -1\ncat 0", "cat (2)|cat|"},
        {"img -1", "img -1|"},
        {"cat -1\ncat 1\nnone -1", "cat|"},
        {"cat 1 0\ncat 2 1", "cat|repeated_lines:2|"},
        {"cat\tx.jpg", "bad_annotations:1|"},
        {"cat.jpg\ncat (2).PNG 1\ncat (3).xml", "cat|cat (2)|cat (3)|"},
        {"a.b\na.jpg\na.b.jpeg", "a.b|a.jpg|repeated_lines:3|"},
        {"\"cat (2)\"\n'cat' 1\n\"cat (3).jpg\" -1\n", "cat (2)|cat|"},
        {"o'neill\n\"cat\n\"", "o'neill|bad_annotations:2|"
                               "bad_annotations:3|"},
        {"/data/VOC/JPEGImages/cat (2).jpg\n./cat\nC:\\x\\cat (3).jpg 1",
         "cat (2)|cat|cat (3)|"},
        {"x/cat/\n/", "bad_annotations:1|bad_annotations:2|"},
        {"\xef\xbb\xbf"
         "cat\r\ncat (2)\r\n",
         "cat|cat (2)|"},
        {"cat\rcat (2)\rnone\r\n\rcat (3)",
         "cat|cat (2)|cat (3)|bad_annotations:3|"},
        {"", ""},
    };
    static const char *const stems[] = {"cat", "cat (2)", "cat (3)", "img -1",
                                        "a.b", "a.jpg",   "o'neill"};
    struct voc_fixture w = make_voc_fixture();
    w.roots[0] = (free(w.roots[0]), xasprintf("%s/names", w.folder));
    voc_text(w.roots[0], "JPEGImages/none.txt", "");
    for (size_t k = 0; k < sizeof stems / sizeof *stems; k++) {
        char *xml = xasprintf("Annotations/%s.xml", stems[k]);
        voc_text(w.roots[0], xml, DOG);
        free(xml);
    }
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char *got = members_of(&w, cases[k].list, strlen(cases[k].list));
        assert_string_equal(got, cases[k].members);
        free(got);
    }
    end_voc_fixture(&w);
}

static void lists_that_are_not_text_are_rejected(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *message;
    } cases[] = {
        {"\xff\xfe"
         "a\0\n\0",
         6, "s.txt:1: text in UTF-16"},
        {"\xfe\xff\0a\0\n", 6, "s.txt:1: text in UTF-16"},
        {"a\0\n\0", 4, "s.txt:1: a NUL byte"},
        {"a\nb\0c\n", 6, "s.txt:2: a NUL byte"},
        {"a\r\nb\r\n\0", 7, "s.txt:3: a NUL byte"},
    };
    struct voc_fixture w = make_voc_fixture();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct voc_dataset dataset;
        voc_write(w.roots[0], "ImageSets/Main/s.txt", cases[k].bytes,
                  cases[k].n);
        assert_int_equal(open_voc_dataset(&dataset, &w, 1, "s"), VD_DATA);
        assert_logged(&captured, cases[k].message);
        assert_logged(&captured, "save it as UTF-8");
    }
    end_voc_fixture(&w);
}

static void excluded_lines_are_counted(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    voc_text(w.roots[0], "ImageSets/Main/dog_s.txt", "a  1\nb -1\nc -1\n");
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, "dog_s"), VD_OK);
    assert_int_equal(dataset.splits[0].n, 1);
    assert_int_equal(dataset.splits[0].n_excluded, 2);
    assert_logged(&captured, "dog_s.txt: 2 of 3 lines are marked -1");
    voc_dataset_close(&dataset);
    end_voc_fixture(&w);
}

static void uppercase_extensions_are_accepted(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    voc_text(w.roots[0], "Annotations/D.XML", DOG);
    voc_text(w.roots[0], "Annotations/E f.Xml", DOG);
    voc_text(w.roots[0], "JPEGImages/D.JPG", "");
    voc_text(w.roots[0], "JPEGImages/E f.png", "");
    voc_text(w.roots[0], "ImageSets/Main/s.txt", "E f\nD\na\na-b\n");
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, "s"), VD_OK);
    assert_int_equal(dataset.n_images, 6);
    assert_int_equal(dataset.splits[0].n, 4);
    assert_string_equal(member(&dataset, 0, 0)->id, "E f");
    assert_non_null(member(&dataset, 0, 0)->image_path);
    assert_string_equal(member(&dataset, 0, 1)->id, "D");
    voc_dataset_close(&dataset);
    voc_text(w.roots[0], "Annotations/a.XML", DOG);
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, ""), VD_DATA);
    assert_logged(&captured, "both would get the id");
    end_voc_fixture(&w);
}

static void errors_of_missing_splits_list_the_available_ones(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    voc_text(w.roots[0], "ImageSets/Main/train.txt", "a\n");
    voc_text(w.roots[0], "ImageSets/Main/val.txt", "b\n");
    voc_text(w.roots[0], "ImageSets/Main/dog_val.txt", "b 1\n");
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, "vale"), VD_NOINPUT);
    assert_logged(&captured, "there is no split \"vale\"");
    assert_logged(&captured, "train");
    assert_null(strstr(captured.text, "dog_val"));
    voc_text(w.roots[1], "ImageSets/Main/dog_val.txt", "b 1\n");
    char *first = w.roots[0];
    w.roots[0] = w.roots[1];
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, "val"), VD_NOINPUT);
    assert_logged(&captured, "available: dog_val");
    w.roots[0] = first;
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, "val,val"), VD_USAGE);
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, "../val"), VD_USAGE);
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, "val,"), VD_USAGE);

    char *other = w.roots[0];
    w.roots[0] = w.folder;
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, ""), VD_NOINPUT);
    assert_logged(&captured, "no folder Annotations in it");
    w.roots[0] = xasprintf("%s/no-such", w.folder);
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, ""), VD_NOINPUT);
    assert_logged(&captured, "no-such: no such folder");
    free(w.roots[0]);
    w.roots[0] = other;
    end_voc_fixture(&w);
}

static void images_are_found_by_stem_then_by_filename(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    char *root = w.roots[0] = (free(w.roots[0]), xasprintf("%s/x", w.folder));
    static const struct {
        const char *stem, *filename, *image;
    } cases[] = {
        {"a", "wrong.jpg", "a.JPG"},
        {"b", "", "b.Jpeg"},
        {"c", "", "c.png"},
        {"d", "photo 1.JPG", "photo 1.JPG"},
        {"e", "other", "other.png"},
        {"f.v2", "", "f.v2.jpg"},
        {"g", "../annotations/x.jpg", NULL},
        {"h", "../../secret.jpg", NULL},
        {"i", "", NULL},
        {"j_jpg", "C:\\data\\j.jpg", "j.jpg"},
        {"k_jpg", "images/k.PNG", "k.PNG"},
    };
    enum { N = sizeof cases / sizeof *cases };
    voc_text(w.folder, "secret.jpg", "");
    voc_text(root, "annotations/x.jpg", "");
    voc_text(root, "images/a.txt", "");
    voc_text(root, "images/i.gif", "");
    for (int k = 0; k < N; k++) {
        char *xml = xasprintf("annotations/%s.xml", cases[k].stem);
        char *text = xasprintf("<annotation><filename>%s</filename>"
                               "</annotation>",
                               cases[k].filename);
        char *image = xasprintf("images/%s", cases[k].image);
        voc_text(root, xml, text);
        if (cases[k].image)
            voc_text(root, image, "");
        free(image);
        free(text);
        free(xml);
    }
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, ""), VD_OK);
    for (size_t k = 0; k < N; k++) {
        const struct annotated_image *p = member(&dataset, 0, k);
        assert_string_equal(p->id, cases[k].stem);
        if (cases[k].image) {
            assert_non_null(p->image_path);
            assert_string_equal(file_basename(p->image_path), cases[k].image);
            assert_int_equal(p->diagnostics.n, 0);
        } else {
            assert_null(p->image_path);
            assert_int_equal(p->diagnostics.list[0].kind, DIAGNOSTIC_MISSING);
        }
    }
    voc_dataset_close(&dataset);
    end_voc_fixture(&w);
}

/* Two image files of one stem: the annotation's <filename> selects one. */
static void filename_selects_between_images_of_one_stem(void **state)
{
    (void)state;
    static const struct {
        const char *filename, *image;
        size_t n_diagnostics;
    } cases[] = {
        {"b.png", "b.png", 0},      {"b.JPG", "b.JPG", 0},
        {"b.jpg", "b.jpg", 0},      {"x\\b.png", "b.png", 0},
        {"b", "b.JPG", 1},          {"", "b.JPG", 1},
        {"photo.jpeg", "b.JPG", 1}, {"a.jpg", "b.JPG", 1},
    };
    struct voc_fixture w = make_voc_fixture();
    voc_text(w.roots[1], "JPEGImages/b.png", "");
    voc_text(w.roots[1], "JPEGImages/b.JPG", "");
    voc_text(w.roots[1], "JPEGImages/b.txt", "");
    voc_text(w.roots[1], "JPEGImages/a.jpg", "");
    w.roots[0] = (free(w.roots[0]), xstrdup(w.roots[1]));
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct voc_dataset dataset;
        char *text = xasprintf("<annotation><filename>%s</filename>"
                               "</annotation>",
                               cases[k].filename);
        voc_text(w.roots[1], "Annotations/b.xml", text);
        assert_int_equal(open_voc_dataset(&dataset, &w, 1, ""), VD_OK);
        const struct annotated_image *p = member(&dataset, 0, 0);
        assert_string_equal(file_basename(p->image_path), cases[k].image);
        assert_int_equal(
            diagnostics_count(&p->diagnostics, DIAGNOSTIC_AMBIGUOUS),
            cases[k].n_diagnostics);
        voc_dataset_close(&dataset);
        free(text);
    }
    end_voc_fixture(&w);
}

static void stems_in_two_roots_are_prefixed_with_labels(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    voc_text(w.roots[0], "ImageSets/Main/s.txt", "a\nb\n");
    voc_text(w.roots[1], "ImageSets/Main/s.txt", "b\n");
    assert_int_equal(open_voc_dataset(&dataset, &w, 2, "s"), VD_OK);
    assert_int_equal(dataset.splits[0].n, 3);
    assert_string_equal(member(&dataset, 0, 0)->id, "a");
    assert_string_equal(member(&dataset, 0, 1)->id, "VOC2007-b");
    assert_string_equal(member(&dataset, 0, 2)->id, "VOC2012-b");
    voc_dataset_close(&dataset);

    voc_text(w.roots[0], "Annotations/VOC2012-b.xml", DOG);
    assert_int_equal(open_voc_dataset(&dataset, &w, 2, ""), VD_DATA);
    assert_logged(&captured, "both would get the id VOC2012-b");

    free(w.roots[1]);
    w.roots[1] = xasprintf("%s/VOC2012/../VOC2007/", w.folder);
    assert_int_equal(open_voc_dataset(&dataset, &w, 2, ""), VD_USAGE);
    assert_logged(&captured, "are the same folder");
    end_voc_fixture(&w);
}

static void roots_of_the_same_name_get_numbered_labels(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    free(w.roots[1]);
    w.roots[1] = xasprintf("%s/more/VOC2007", w.folder);
    voc_text(w.roots[1], "Annotations/b.xml", CAT);
    voc_text(w.roots[1], "JPEGImages/b.jpg", "");
    assert_int_equal(open_voc_dataset(&dataset, &w, 2, ""), VD_OK);
    assert_int_equal(dataset.splits[0].n, 5);
    assert_string_equal(member(&dataset, 0, 2)->id, "VOC2007-b");
    assert_string_equal(member(&dataset, 0, 4)->id, "VOC2007-2-b");
    voc_dataset_close(&dataset);
    end_voc_fixture(&w);
}

static void unreadable_annotations_are_diagnostics(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    voc_text(w.roots[0], "Annotations/b.xml", "<annotation>\n<object>");
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, ""), VD_OK);
    const struct annotated_image *p = member(&dataset, 0, 2);
    assert_string_equal(p->id, "b");
    assert_false(p->readable);
    assert_int_equal(p->diagnostics.n, 1);
    assert_int_equal(p->diagnostics.list[0].kind, DIAGNOSTIC_ANNOTATION);
    assert_int_equal(p->diagnostics.list[0].line, 2);
    assert_string_equal(p->diagnostics.list[0].file, p->xml_path);
    assert_true(member(&dataset, 0, 3)->readable);
    voc_dataset_close(&dataset);
    end_voc_fixture(&w);
}

/* ---- folders ---- */

static void annotations_may_be_next_to_their_images(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    w.roots[0] = (free(w.roots[0]), xasprintf("%s/flat", w.folder));
    voc_text(w.roots[0], "x.xml", DOG);
    voc_text(w.roots[0], "x.jpg", "");
    voc_text(w.roots[0], "y.XML", DOG);
    voc_text(w.roots[0], "y.png", "");
    voc_text(w.roots[0], "z.png", "");
    voc_text(w.roots[0], "ImageSets/Main/s.txt", "y\n");
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, "s"), VD_OK);
    assert_int_equal(dataset.n_images, 2);
    assert_string_equal(member(&dataset, 0, 0)->id, "y");
    assert_string_equal(file_basename(member(&dataset, 0, 0)->image_path),
                        "y.png");
    voc_dataset_find_unannotated(&dataset);
    assert_int_equal(dataset.diagnostics.n, 1);
    assert_non_null(strstr(dataset.diagnostics.list[0].file, "flat/z.png"));
    voc_dataset_close(&dataset);
    end_voc_fixture(&w);
}

static void subfolders_are_reported(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    voc_text(w.roots[0], "Annotations/clip1/f.xml", DOG);
    voc_text(w.roots[0], "Annotations/clip1/deep/g.xml", DOG);
    voc_text(w.roots[0], "Annotations/notes/readme.txt", "");
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, ""), VD_OK);
    assert_int_equal(dataset.diagnostics.n, 1);
    assert_non_null(
        strstr(dataset.diagnostics.list[0].text, "with 2 annotations"));
    voc_dataset_close(&dataset);
    w.roots[0] = (free(w.roots[0]), xasprintf("%s/only", w.folder));
    voc_text(w.roots[0], "Annotations/clip1/f.xml", DOG);
    voc_text(w.roots[0], "JPEGImages/clip1/f.jpg", "");
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, ""), VD_NOINPUT);
    assert_logged(&captured, "no .xml file in it, but 1 in its subfolders");
    end_voc_fixture(&w);
}

/* ---- classes ---- */

static void classes_are_collected_from_all_splits(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    struct classes c;
    voc_text(w.roots[0], "ImageSets/Main/s.txt", "a\n");
    voc_text(w.roots[0], "Annotations/c.xml",
             VOC_FILE("", VOC_OBJECT("zebra", "1", "x", "1", "5", "5")
                              VOC_OBJECT("Ape", "0", "1", "1", "5", "5")));
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, "s"), VD_OK);
    assert_int_equal(classes_collect(&c, &dataset), VD_OK);
    assert_int_equal(c.n, 3);
    assert_string_equal(c.names[0], "Ape");
    assert_string_equal(c.names[1], "dog");
    assert_string_equal(c.names[2], "zebra");
    assert_int_equal(classes_find(&c, "zebra"), 2);
    assert_int_equal(classes_find(&c, "cat"), -1);
    classes_clear(&c);
    voc_dataset_close(&dataset);
    end_voc_fixture(&w);
}

static void class_files_keep_their_order(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct classes c;
    char *path = xasprintf("%s/classes.txt", w.folder);
    voc_text(w.folder, "classes.txt", "zebra\r\n\r\npotted plant\ndog");
    assert_int_equal(classes_read(&c, path), VD_OK);
    assert_int_equal(c.n, 3);
    assert_string_equal(c.names[0], "zebra");
    assert_int_equal(classes_find(&c, "potted plant"), 1);
    assert_int_equal(classes_find(&c, "dog"), 2);
    classes_clear(&c);

    check_log_start(&captured);
    voc_text(w.folder, "classes.txt",
             "\xef\xbb\xbf"
             "dog\rtraffic\t light");
    assert_int_equal(classes_read(&c, path), VD_OK);
    assert_int_equal(classes_find(&c, "dog"), 0);
    assert_int_equal(classes_find(&c, "traffic light"), 1);
    classes_clear(&c);
    voc_text(w.folder, "classes.txt", "dog\n\nca\x01t\n");
    assert_int_equal(classes_read(&c, path), VD_DATA);
    assert_logged(&captured,
                  "classes.txt:3: the class name contains a control");
    voc_write(w.folder, "classes.txt",
              "\xff\xfe"
              "d\0\n\0",
              6);
    assert_int_equal(classes_read(&c, path), VD_DATA);
    assert_logged(&captured, "classes.txt:1: text in UTF-16");
    voc_text(w.folder, "classes.txt", "dog\ncat\ndog\n");
    assert_int_equal(classes_read(&c, path), VD_DATA);
    voc_text(w.folder, "classes.txt", "\n\n");
    assert_int_equal(classes_read(&c, path), VD_DATA);
    check_log_end();
    assert_logged(&captured, "\"dog\" is given twice");
    assert_logged(&captured, "classes.txt: contains no class name");
    free(path);
    end_voc_fixture(&w);
}

static void unknown_classes_are_counted_with_a_suggestion(void **state)
{
    (void)state;
    struct voc_fixture w = make_voc_fixture();
    struct voc_dataset dataset;
    struct classes c;
    char *path = xasprintf("%s/classes.txt", w.folder);
    voc_text(w.folder, "classes.txt", "dogs\nperson\n");
    voc_text(w.roots[0], "Annotations/b.xml", CAT);
    assert_int_equal(open_voc_dataset(&dataset, &w, 1, ""), VD_OK);
    assert_int_equal(classes_read(&c, path), VD_OK);
    check_log_start(&captured);
    assert_int_equal(classes_check(&c, &dataset, path), VD_DATA);
    check_log_end();
    assert_logged(&captured, "2 class names are missing from this list");
    assert_logged(&captured, "\"cat\" (1 object)");
    assert_logged(&captured, "\"dog\" (3 objects; did you mean \"dogs\"?)");
    classes_clear(&c);
    voc_dataset_close(&dataset);
    free(path);
    end_voc_fixture(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_splits_all_annotations_are_used),
        cmocka_unit_test(split_files_may_have_columns_blank_lines_and_crlf),
        cmocka_unit_test(split_lines_without_annotation_are_reported),
        cmocka_unit_test(names_in_lists_are_matched),
        cmocka_unit_test(lists_that_are_not_text_are_rejected),
        cmocka_unit_test(excluded_lines_are_counted),
        cmocka_unit_test(uppercase_extensions_are_accepted),
        cmocka_unit_test(errors_of_missing_splits_list_the_available_ones),
        cmocka_unit_test(images_are_found_by_stem_then_by_filename),
        cmocka_unit_test(filename_selects_between_images_of_one_stem),
        cmocka_unit_test(stems_in_two_roots_are_prefixed_with_labels),
        cmocka_unit_test(roots_of_the_same_name_get_numbered_labels),
        cmocka_unit_test(unreadable_annotations_are_diagnostics),
        cmocka_unit_test(annotations_may_be_next_to_their_images),
        cmocka_unit_test(subfolders_are_reported),
        cmocka_unit_test(classes_are_collected_from_all_splits),
        cmocka_unit_test(class_files_keep_their_order),
        cmocka_unit_test(unknown_classes_are_counted_with_a_suggestion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
