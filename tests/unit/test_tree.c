/* Finding annotated pictures: folders, splits, names, several roots; and the
 * class list. */
#include "voc.h"

#include "preprocess/classes.h"
#include "preprocess/tree.h"

static struct check_log said;

#define DOG VOC_FILE("", VOC_OBJECT("dog", "0", "1", "1", "5", "5"))
#define CAT VOC_FILE("", VOC_OBJECT("cat", "0", "1", "1", "5", "5"))

/* A scratch folder with two VOC folders whose files are not pictures: only
 * names matter here. */
struct world {
    char *folder, *roots[2];
};

static struct world make_world(void)
{
    struct world w = {check_folder(), {NULL, NULL}};
    w.roots[0] = mem_format("%s/VOC2007", w.folder);
    w.roots[1] = mem_format("%s/VOC2012", w.folder);
    static const char *const names[] = {"a", "a-b", "b", "c"};
    for (int k = 0; k < 4; k++) {
        char *xml = mem_format("Annotations/%s.xml", names[k]);
        char *image = mem_format("JPEGImages/%s.jpg", names[k]);
        voc_text(w.roots[0], xml, DOG);
        voc_text(w.roots[0], image, "");
        free(image);
        free(xml);
    }
    voc_text(w.roots[1], "Annotations/b.xml", CAT);
    voc_text(w.roots[1], "JPEGImages/b.jpg", "");
    return w;
}

static void end_world(struct world *w)
{
    free(w->roots[0]);
    free(w->roots[1]);
    check_folder_remove(w->folder);
}

static enum vd_err open_tree(struct tree *t, struct world *w, int n_roots,
                             const char *splits)
{
    check_log_start(&said);
    enum vd_err err = tree_open(t, w->roots, n_roots, splits);
    if (err == VD_OK)
        err = tree_read(t, false, 2);
    check_log_end();
    return err;
}

static const struct picture *member(const struct tree *t, int split, size_t i)
{
    assert_true(i < t->splits[split].n);
    return &t->pictures[t->splits[split].members[i]];
}

static void without_splits_all_annotations_count(void **state)
{
    (void)state;
    struct world w = make_world();
    struct tree t;
    voc_text(w.roots[0], "Annotations/readme.txt", "not an annotation");
    voc_text(w.roots[0], "JPEGImages/z.jpg", "");
    assert_int_equal(open_tree(&t, &w, 1, ""), VD_OK);
    assert_int_equal(t.n_splits, 1);
    assert_int_equal(t.splits[0].n, 4);
    assert_string_equal(member(&t, 0, 0)->id, "a-b");
    assert_string_equal(member(&t, 0, 1)->id, "a");
    char *path = mem_format("%s/JPEGImages/a.jpg", w.roots[0]);
    assert_string_equal(member(&t, 0, 1)->path, path);
    char *relative = tree_relative(&t, path);
    assert_string_equal(relative, "VOC2007/JPEGImages/a.jpg");
    free(relative);
    free(path);
    tree_close(&t);
    end_world(&w);
}

static void splits_have_columns_blank_lines_and_crlf(void **state)
{
    (void)state;
    struct world w = make_world();
    struct tree t;
    voc_text(w.roots[0], "ImageSets/Main/one.txt", "c\r\n\r\na-b\r\n");
    voc_text(w.roots[0], "ImageSets/Main/two.txt", "b  1\na -1\n\n");
    voc_text(w.roots[0], "ImageSets/Main/three.txt", "a 1 0\na 2 1\nc\t1 -1");
    assert_int_equal(open_tree(&t, &w, 1, "one,two, three"), VD_OK);
    assert_int_equal(t.n_splits, 3);
    assert_int_equal(t.splits[0].n, 2);
    assert_string_equal(member(&t, 0, 0)->id, "c");
    assert_string_equal(member(&t, 0, 1)->id, "a-b");
    assert_int_equal(t.splits[1].n, 2);
    assert_string_equal(member(&t, 1, 0)->id, "b");
    assert_string_equal(member(&t, 1, 1)->id, "a");
    assert_string_equal(t.splits[2].name, "three");
    assert_int_equal(t.splits[2].n, 2);
    assert_string_equal(member(&t, 2, 0)->id, "a");
    assert_string_equal(member(&t, 2, 1)->id, "c");
    tree_close(&t);
    end_world(&w);
}

static void split_lines_without_annotation_are_found(void **state)
{
    (void)state;
    struct world w = make_world();
    struct tree t;
    voc_text(w.roots[0], "ImageSets/Main/s.txt",
             "a\nnone\n../../VOC2012/Annotations/b\nb\n");
    voc_text(w.folder, "none.xml", DOG);
    assert_int_equal(open_tree(&t, &w, 1, "s"), VD_OK);
    assert_int_equal(t.splits[0].n, 2);
    const struct findings *f = &t.splits[0].findings;
    assert_int_equal(f->n, 2);
    assert_int_equal(f->list[0].line, 2);
    assert_int_equal(f->list[0].kind, FINDING_ANNOTATION);
    assert_non_null(strstr(f->list[0].file, "ImageSets/Main/s.txt"));
    assert_int_equal(f->list[1].line, 3);
    tree_close(&t);
    end_world(&w);
}

static void missing_splits_and_folders_say_what_there_is(void **state)
{
    (void)state;
    struct world w = make_world();
    struct tree t;
    voc_text(w.roots[0], "ImageSets/Main/train.txt", "a\n");
    voc_text(w.roots[0], "ImageSets/Main/val.txt", "b\n");
    voc_text(w.roots[0], "ImageSets/Main/dog_val.txt", "b 1\n");
    assert_int_equal(open_tree(&t, &w, 1, "vale"), VD_NOINPUT);
    assert_says(&said, "there is no split \"vale\"");
    assert_says(&said, "train");
    assert_null(strstr(said.text, "dog_val"));
    assert_int_equal(open_tree(&t, &w, 1, "val,val"), VD_USAGE);
    assert_int_equal(open_tree(&t, &w, 1, "../val"), VD_USAGE);
    assert_int_equal(open_tree(&t, &w, 1, "val,"), VD_USAGE);

    char *other = w.roots[0];
    w.roots[0] = w.folder;
    assert_int_equal(open_tree(&t, &w, 1, ""), VD_NOINPUT);
    assert_says(&said, "no folder Annotations in it");
    w.roots[0] = mem_format("%s/no-such", w.folder);
    assert_int_equal(open_tree(&t, &w, 1, ""), VD_NOINPUT);
    assert_says(&said, "no-such: no such folder");
    free(w.roots[0]);
    w.roots[0] = other;
    end_world(&w);
}

static void images_are_found_by_stem_then_by_filename(void **state)
{
    (void)state;
    struct world w = make_world();
    struct tree t;
    char *root = w.roots[0] = (free(w.roots[0]), mem_format("%s/x", w.folder));
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
        char *xml = mem_format("annotations/%s.xml", cases[k].stem);
        char *text = mem_format("<annotation><filename>%s</filename>"
                                "</annotation>",
                                cases[k].filename);
        char *image = mem_format("images/%s", cases[k].image);
        voc_text(root, xml, text);
        if (cases[k].image)
            voc_text(root, image, "");
        free(image);
        free(text);
        free(xml);
    }
    assert_int_equal(open_tree(&t, &w, 1, ""), VD_OK);
    for (size_t k = 0; k < N; k++) {
        const struct picture *p = member(&t, 0, k);
        assert_string_equal(p->id, cases[k].stem);
        if (cases[k].image) {
            assert_non_null(p->path);
            assert_string_equal(file_name(p->path), cases[k].image);
            assert_int_equal(p->findings.n, 0);
        } else {
            assert_null(p->path);
            assert_int_equal(p->findings.list[0].kind, FINDING_MISSING);
        }
    }
    tree_close(&t);
    end_world(&w);
}

/* Two images of one stem are two images: the annotation says which. */
static void filename_decides_between_images_of_one_stem(void **state)
{
    (void)state;
    static const struct {
        const char *filename, *image;
        size_t n_findings;
    } cases[] = {
        {"b.png", "b.png", 0},      {"b.JPG", "b.JPG", 0},
        {"b.jpg", "b.jpg", 0},      {"x\\b.png", "b.png", 0},
        {"b", "b.JPG", 1},          {"", "b.JPG", 1},
        {"photo.jpeg", "b.JPG", 1}, {"a.jpg", "b.JPG", 1},
    };
    struct world w = make_world();
    voc_text(w.roots[1], "JPEGImages/b.png", "");
    voc_text(w.roots[1], "JPEGImages/b.JPG", "");
    voc_text(w.roots[1], "JPEGImages/b.txt", "");
    voc_text(w.roots[1], "JPEGImages/a.jpg", "");
    w.roots[0] = (free(w.roots[0]), mem_copy_text(w.roots[1]));
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct tree t;
        char *text = mem_format("<annotation><filename>%s</filename>"
                                "</annotation>",
                                cases[k].filename);
        voc_text(w.roots[1], "Annotations/b.xml", text);
        assert_int_equal(open_tree(&t, &w, 1, ""), VD_OK);
        const struct picture *p = member(&t, 0, 0);
        assert_string_equal(file_name(p->path), cases[k].image);
        assert_int_equal(findings_count(&p->findings, FINDING_AMBIGUOUS),
                         cases[k].n_findings);
        tree_close(&t);
        free(text);
    }
    end_world(&w);
}

static void stems_of_two_roots_get_the_roots_names(void **state)
{
    (void)state;
    struct world w = make_world();
    struct tree t;
    voc_text(w.roots[0], "ImageSets/Main/s.txt", "a\nb\n");
    voc_text(w.roots[1], "ImageSets/Main/s.txt", "b\n");
    assert_int_equal(open_tree(&t, &w, 2, "s"), VD_OK);
    assert_int_equal(t.splits[0].n, 3);
    assert_string_equal(member(&t, 0, 0)->id, "a");
    assert_string_equal(member(&t, 0, 1)->id, "VOC2007-b");
    assert_string_equal(member(&t, 0, 2)->id, "VOC2012-b");
    tree_close(&t);

    voc_text(w.roots[0], "Annotations/VOC2012-b.xml", DOG);
    assert_int_equal(open_tree(&t, &w, 2, ""), VD_DATA);
    assert_says(&said, "both would get the id VOC2012-b");

    free(w.roots[1]);
    w.roots[1] = mem_format("%s/VOC2012/../VOC2007/", w.folder);
    assert_int_equal(open_tree(&t, &w, 2, ""), VD_USAGE);
    assert_says(&said, "are the same folder");
    end_world(&w);
}

static void roots_of_one_name_are_told_apart(void **state)
{
    (void)state;
    struct world w = make_world();
    struct tree t;
    free(w.roots[1]);
    w.roots[1] = mem_format("%s/more/VOC2007", w.folder);
    voc_text(w.roots[1], "Annotations/b.xml", CAT);
    voc_text(w.roots[1], "JPEGImages/b.jpg", "");
    assert_int_equal(open_tree(&t, &w, 2, ""), VD_OK);
    assert_int_equal(t.splits[0].n, 5);
    assert_string_equal(member(&t, 0, 2)->id, "VOC2007-b");
    assert_string_equal(member(&t, 0, 4)->id, "VOC2007-2-b");
    tree_close(&t);
    end_world(&w);
}

static void unreadable_annotations_are_findings(void **state)
{
    (void)state;
    struct world w = make_world();
    struct tree t;
    voc_text(w.roots[0], "Annotations/b.xml", "<annotation>\n<object>");
    assert_int_equal(open_tree(&t, &w, 1, ""), VD_OK);
    const struct picture *p = member(&t, 0, 2);
    assert_string_equal(p->id, "b");
    assert_false(p->readable);
    assert_int_equal(p->findings.n, 1);
    assert_int_equal(p->findings.list[0].kind, FINDING_ANNOTATION);
    assert_int_equal(p->findings.list[0].line, 2);
    assert_string_equal(p->findings.list[0].file, p->xml);
    assert_true(member(&t, 0, 3)->readable);
    tree_close(&t);
    end_world(&w);
}

/* ---- classes ---- */

static void classes_are_those_of_all_splits(void **state)
{
    (void)state;
    struct world w = make_world();
    struct tree t;
    struct classes c;
    voc_text(w.roots[0], "ImageSets/Main/s.txt", "a\n");
    voc_text(w.roots[0], "Annotations/c.xml",
             VOC_FILE("", VOC_OBJECT("zebra", "1", "x", "1", "5", "5")
                              VOC_OBJECT("Ape", "0", "1", "1", "5", "5")));
    assert_int_equal(open_tree(&t, &w, 1, "s"), VD_OK);
    assert_int_equal(classes_collect(&c, &t), VD_OK);
    assert_int_equal(c.n, 3);
    assert_string_equal(c.names[0], "Ape");
    assert_string_equal(c.names[1], "dog");
    assert_string_equal(c.names[2], "zebra");
    assert_int_equal(classes_find(&c, "zebra"), 2);
    assert_int_equal(classes_find(&c, "cat"), -1);
    classes_clear(&c);
    tree_close(&t);
    end_world(&w);
}

static void class_files_keep_their_order(void **state)
{
    (void)state;
    struct world w = make_world();
    struct classes c;
    char *path = mem_format("%s/classes.txt", w.folder);
    voc_text(w.folder, "classes.txt", "zebra\r\n\r\npotted plant\ndog");
    assert_int_equal(classes_read(&c, path), VD_OK);
    assert_int_equal(c.n, 3);
    assert_string_equal(c.names[0], "zebra");
    assert_int_equal(classes_find(&c, "potted plant"), 1);
    assert_int_equal(classes_find(&c, "dog"), 2);
    classes_clear(&c);

    check_log_start(&said);
    voc_text(w.folder, "classes.txt", "dog\ncat\ndog\n");
    assert_int_equal(classes_read(&c, path), VD_DATA);
    voc_text(w.folder, "classes.txt", "\n\n");
    assert_int_equal(classes_read(&c, path), VD_DATA);
    check_log_end();
    assert_says(&said, "\"dog\" is given twice");
    assert_says(&said, "no class name in it");
    free(path);
    end_world(&w);
}

static void unknown_classes_are_counted_and_guessed(void **state)
{
    (void)state;
    struct world w = make_world();
    struct tree t;
    struct classes c;
    char *path = mem_format("%s/classes.txt", w.folder);
    voc_text(w.folder, "classes.txt", "dogs\nperson\n");
    voc_text(w.roots[0], "Annotations/b.xml", CAT);
    assert_int_equal(open_tree(&t, &w, 1, ""), VD_OK);
    assert_int_equal(classes_read(&c, path), VD_OK);
    check_log_start(&said);
    assert_int_equal(classes_check(&c, &t, path), VD_DATA);
    check_log_end();
    assert_says(&said, "2 class names");
    assert_says(&said, "\"cat\" (1 object)");
    assert_says(&said, "\"dog\" (3 objects; did you mean \"dogs\"?)");
    classes_clear(&c);
    tree_close(&t);
    free(path);
    end_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_splits_all_annotations_count),
        cmocka_unit_test(splits_have_columns_blank_lines_and_crlf),
        cmocka_unit_test(split_lines_without_annotation_are_found),
        cmocka_unit_test(missing_splits_and_folders_say_what_there_is),
        cmocka_unit_test(images_are_found_by_stem_then_by_filename),
        cmocka_unit_test(filename_decides_between_images_of_one_stem),
        cmocka_unit_test(stems_of_two_roots_get_the_roots_names),
        cmocka_unit_test(roots_of_one_name_are_told_apart),
        cmocka_unit_test(unreadable_annotations_are_findings),
        cmocka_unit_test(classes_are_those_of_all_splits),
        cmocka_unit_test(class_files_keep_their_order),
        cmocka_unit_test(unknown_classes_are_counted_and_guessed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
