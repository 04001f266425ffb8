/* run/checkpoint, checkpoint_folder, checkpoint_writer: contents round-trip,
 * damage is detected, links and old files are maintained. */
#include "check.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/rng.h"
#include "model/resnet.h"
#include "run/checkpoint_folder.h"
#include "run/checkpoint_writer.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const names[] = {"cat", "d\xc3\xb6g", "cow"};

static void make_graph(struct graph *g, int classes)
{
    struct resnet_spec spec = {
        .size = 32,
        .width = 8,
        .blocks = {1, 1, 1, 1},
        .head_dropout = 0.5,
        .loss = {.classes = classes, .box_scale = 1, .class_scale = 25}};
    resnet_build(g, &spec);
}

static void fill(float *values, size_t n, uint32_t stream)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)rng_uniform(9, RNG_TEST, i, stream);
}

static void make_checkpoint(struct checkpoint *c, const struct graph *g,
                            uint64_t step)
{
    assert_int_equal(checkpoint_new(c, g), VD_OK);
    fill(c->param, c->n_params, (uint32_t)step);
    fill(c->m, c->n_trainable, 1000);
    fill(c->v, c->n_trainable, 2000);
    fill(c->stats, c->n_stats, 3000);
    c->step = step;
    c->size = 32;
    c->best = step == 7;
    c->config = xstrdup("optim: {lr: 1e-3}\n# \xc3\xa9\n");
    c->state = xstrdup("{\"step\":7}");
    c->n_classes = 3;
    c->classes = xcalloc(3, sizeof *c->classes);
    for (int k = 0; k < 3; k++)
        c->classes[k] = xstrdup(names[k]);
}

struct fixture {
    char *folder, *path;
    struct graph graph;
    struct checkpoint c;
};

static void fixture_init(struct fixture *f)
{
    f->folder = check_folder();
    f->path = xasprintf("%s/step-00000007.h5", f->folder);
    make_graph(&f->graph, 3);
    make_checkpoint(&f->c, &f->graph, 7);
    assert_int_equal(checkpoint_write(&f->c, &f->graph, f->path), VD_OK);
}

static void fixture_clear(struct fixture *f)
{
    checkpoint_clear(&f->c);
    graph_clear(&f->graph);
    free(f->path);
    check_folder_remove(f->folder);
}

static enum vd_err read_all(struct checkpoint *c, const struct graph *g,
                            const char *path)
{
    enum vd_err err = checkpoint_open(c, path, true);
    if (err == VD_OK)
        err = checkpoint_check_graph(c, g, path);
    return err;
}

static bool is_equal(const struct checkpoint *a, const struct checkpoint *b)
{
    bool same = a->step == b->step && a->size == b->size &&
                a->best == b->best && a->n_classes == b->n_classes &&
                a->graph_digest == b->graph_digest &&
                !strcmp(a->config, b->config) && !strcmp(a->state, b->state) &&
                !memcmp(a->param, b->param, 4 * a->n_params) &&
                !memcmp(a->m, b->m, 4 * a->n_trainable) &&
                !memcmp(a->v, b->v, 4 * a->n_trainable) &&
                !memcmp(a->stats, b->stats, 4 * a->n_stats);
    for (int k = 0; same && k < a->n_classes; k++)
        same = !strcmp(a->classes[k], b->classes[k]);
    return same;
}

static void a_checkpoint_round_trips(void **state)
{
    (void)state;
    struct fixture f;
    struct checkpoint back;
    fixture_init(&f);
    assert_int_equal(read_all(&back, &f.graph, f.path), VD_OK);
    assert_true(is_equal(&back, &f.c));
    assert_int_equal(checkpoint_digest(&back), checkpoint_digest(&f.c));
    checkpoint_clear(&back);
    fixture_clear(&f);
}

static void the_digest_covers_every_field(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    struct checkpoint *c = &f.c;
    unsigned char *bytes[] = {
        (unsigned char *)&c->step,      (unsigned char *)&c->size,
        (unsigned char *)&c->best,      (unsigned char *)&c->graph_digest,
        (unsigned char *)c->config,     (unsigned char *)c->state,
        (unsigned char *)*c->classes,   (unsigned char *)(c->param + 3),
        (unsigned char *)(c->m + 3),    (unsigned char *)(c->v + 3),
        (unsigned char *)(c->stats + 3)};
    uint64_t whole = checkpoint_digest(c);
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        *bytes[i] ^= 1;
        assert_int_not_equal(checkpoint_digest(c), whole);
        *bytes[i] ^= 1;
    }
    assert_int_equal(checkpoint_digest(c), whole);
    fixture_clear(&f);
}

static void another_graph_is_rejected(void **state)
{
    (void)state;
    struct fixture f;
    struct graph other;
    struct checkpoint back;
    struct check_log log;
    fixture_init(&f);
    make_graph(&other, 4);
    check_log_start(&log);
    assert_int_equal(read_all(&back, &other, f.path), VD_DATA);
    check_log_end();
    assert_logged(&log, "another network");
    checkpoint_clear(&back);
    graph_clear(&other);
    fixture_clear(&f);
}

static void write_bytes(const char *path, const char *bytes, size_t n)
{
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, n, out), n);
    fclose(out);
}

/* True for an error; otherwise the contents must be equal (padding bytes). */
static bool is_detected(const struct fixture *f)
{
    struct checkpoint back;
    enum vd_err err = read_all(&back, &f->graph, f->path);
    if (err == VD_OK && !is_equal(&back, &f->c))
        fail_msg("damage was not detected");
    checkpoint_clear(&back);
    return err != VD_OK;
}

static void damage_is_always_detected(void **state)
{
    (void)state;
    struct fixture f;
    struct check_log log;
    char *bytes = NULL;
    size_t n = 0;
    int caught = 0;
    fixture_init(&f);
    assert_int_equal(file_read(f.path, 1 << 24, &bytes, &n), VD_OK);
    for (uint64_t i = 0; i < 300; i++) {
        uint32_t w[4];
        rng_words(4, RNG_TEST, i, 0, w);
        /* every third one in the first 4 KiB, where HDF5 has its structure */
        size_t at = w[0] % (i % 3 ? n : 4096), kept = (unsigned char)bytes[at];
        bytes[at] = (char)(kept ^ (1u << (w[1] % 8)));
        write_bytes(f.path, bytes, n);
        bytes[at] = (char)kept;
        check_log_start(&log);
        caught += is_detected(&f);
        check_log_end();
    }
    assert_true(caught > 200); /* some bytes are padding */
    for (int k = 0; k < 40; k++) {
        write_bytes(f.path, bytes, n * (size_t)k / 40);
        check_log_start(&log);
        assert_true(is_detected(&f));
        check_log_end();
    }
    free(bytes);
    fixture_clear(&f);
}

/* Runs Python code on the file `f` with h5py, which keeps HDF5's own checksums
 * correct; false if there is no h5py. */
static bool edit_with_h5py(const char *path, const char *code)
{
    char *command = xasprintf(PYTHON " -c \"import h5py\n"
                                     "f = h5py.File('%s', 'r+')\n%s\""
                                     " 2>/dev/null",
                              path, code);
    int status = system(command);
    free(command);
    return status == 0;
}

static void edited_files_are_rejected(void **state)
{
    (void)state;
    static const char *const edits[][2] = {
        {"f['v'][5] += 1", "digest differs"},
        {"f.attrs['step'] = 8", "digest differs"},
        {"f.attrs['format'] = 1", "checkpoint format 1, this program reads 2"},
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        struct fixture f;
        struct check_log log;
        struct checkpoint back;
        fixture_init(&f);
        bool done = edit_with_h5py(f.path, edits[i][0]);
        if (done) {
            check_log_start(&log);
            assert_int_equal(read_all(&back, &f.graph, f.path), VD_DATA);
            check_log_end();
            assert_logged(&log, edits[i][1]);
        }
        fixture_clear(&f);
        if (!done)
            check_skip("h5py");
    }
}

static void only_canonical_names_are_checkpoints(void **state)
{
    (void)state;
    static const char *const others[] = {"step-00000012.h5.tmp-7-0",
                                         "step-.h5",
                                         "last",
                                         "old-00000012.h5",
                                         "step-keep.h5",
                                         "step-00000012-good.h5",
                                         "step-00000012 (copy).h5",
                                         "step-12.h5",
                                         "step-000000012.h5",
                                         "step-+0000012.h5",
                                         "step- 0000012.h5",
                                         "step-99999999999999999999.h5",
                                         "step-00000012.h5 "};
    assert_true(checkpoint_is_name("step-00000012.h5"));
    assert_true(checkpoint_is_name("step-123456789.h5"));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(checkpoint_is_name(others[i]));
}

static void write_step(struct fixture *f, const char *name, uint64_t step,
                       bool best)
{
    char *path = xasprintf("%s/%s", f->folder, name);
    f->c.step = step;
    f->c.best = best;
    assert_int_equal(checkpoint_write(&f->c, &f->graph, path), VD_OK);
    free(path);
}

static void assert_newest(const struct fixture *f, uint64_t step)
{
    struct checkpoint c;
    char *found = NULL, *own = checkpoint_path(f->folder, step);
    assert_int_equal(checkpoint_read_newest(&c, f->folder, &found), VD_OK);
    assert_string_equal(found, own);
    assert_int_equal(c.step, step);
    checkpoint_clear(&c);
    free(found);
    free(own);
}

static void user_copies_are_not_the_newest(void **state)
{
    (void)state;
    struct fixture f;
    struct check_log log;
    fixture_init(&f);
    write_step(&f, "step-keep.h5", 4, false);
    write_step(&f, "step-00000009-good.h5", 9, false);
    write_step(&f, "step-9.h5", 9, false);
    assert_newest(&f, 7);
    /* a valid name, but the contents of another step */
    write_step(&f, "step-00000012.h5", 4, false);
    check_log_start(&log);
    assert_newest(&f, 7);
    check_log_end();
    assert_logged(&log, "step-00000012.h5: contains step 4");
    assert_logged(&log, "trying the checkpoint before this one");
    /* in numerical, not in lexical order */
    write_step(&f, "step-99999999.h5", 99999999, false);
    write_step(&f, "step-100000000.h5", 100000000, false);
    assert_newest(&f, 100000000);
    fixture_clear(&f);
}

static void the_newest_intact_checkpoint_is_found(void **state)
{
    (void)state;
    struct fixture f;
    struct checkpoint c;
    struct check_log log;
    char *found = NULL;
    fixture_init(&f);
    for (uint64_t step = 100; step <= 300; step += 100) {
        char *path = xasprintf("%s/step-%08d.h5", f.folder, (int)step);
        f.c.step = step;
        assert_int_equal(checkpoint_write(&f.c, &f.graph, path), VD_OK);
        if (step == 200)
            assert_int_equal(truncate(path, 5000), 0);
        if (step == 300)
            write_bytes(path, "nonsense", 8);
        free(path);
    }
    char *stray = xasprintf("%s/step-00000400.h5.tmp-1-0", f.folder);
    write_bytes(stray, "x", 1);
    check_log_start(&log);
    assert_int_equal(checkpoint_read_newest(&c, f.folder, &found), VD_OK);
    check_log_end();
    assert_non_null(found);
    assert_non_null(strstr(found, "step-00000100.h5"));
    assert_logged(&log, "step-00000300.h5");
    assert_logged(&log, "step-00000200.h5");
    assert_int_equal(c.step, 100);
    assert_memory_equal(c.param, f.c.param, 4 * c.n_params);
    checkpoint_clear(&c);
    free(found);
    free(stray);

    /* No intact file is an error, no file at all is not. */
    write_bytes(f.path, "", 0);
    char *path = xasprintf("%s/step-00000100.h5", f.folder);
    write_bytes(path, "", 0);
    free(path);
    check_log_start(&log);
    assert_int_equal(checkpoint_read_newest(&c, f.folder, &found), VD_DATA);
    check_log_end();
    assert_null(found);
    assert_logged(&log, "no intact checkpoint here");
    assert_int_equal(checkpoint_read_newest(&c, "/no/such", &found), VD_OK);
    assert_null(found);
    fixture_clear(&f);
}

/* ---- the writer ---- */

static void start(struct checkpoint_writer *w, const struct fixture *f,
                  uint64_t step, bool best)
{
    struct checkpoint c;
    make_checkpoint(&c, &f->graph, step);
    c.best = best;
    assert_int_equal(checkpoint_writer_start(w, &c), VD_OK);
    assert_null(c.param); /* taken over */
}

static void links_are_set_and_old_checkpoints_pruned(void **state)
{
    (void)state;
    struct fixture f;
    struct checkpoint_writer *w = NULL;
    struct file_list list;
    char to[64] = "", *link, *stray;
    fixture_init(&f);
    stray = xasprintf("%s/step-00000009.h5.tmp-77-0", f.folder);
    write_bytes(stray, "half", 4);
    assert_int_equal(checkpoint_writer_new(&w, f.folder, &f.graph, 2), VD_OK);
    assert_false(file_exists(stray));
    for (uint64_t step = 10; step <= 15; step++)
        start(w, &f, step, step == 11);
    assert_int_equal(checkpoint_writer_wait(w), VD_OK);
    checkpoint_writer_free(w);
    assert_int_equal(file_list_read(&list, f.folder), VD_OK);
    static const char *const left[] = {"best", "last", "step-00000011.h5",
                                       "step-00000014.h5", "step-00000015.h5"};
    assert_int_equal(list.n, 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(list.names[i], left[i]);
    file_list_clear(&list);
    link = xasprintf("%s/best", f.folder);
    assert_int_equal(readlink(link, to, sizeof to - 1), 16);
    assert_string_equal(to, "step-00000011.h5");

    /* A folder or a link can be given instead of the file. */
    struct checkpoint c;
    assert_int_equal(checkpoint_open(&c, link, false), VD_OK);
    assert_int_equal(c.step, 11);
    checkpoint_clear(&c);
    assert_int_equal(checkpoint_open(&c, f.folder, false), VD_OK);
    assert_int_equal(c.step, 15);
    checkpoint_clear(&c);
    free(link);
    free(stray);
    fixture_clear(&f);
}

static char *target_of(const struct fixture *f, const char *link)
{
    char *path = xasprintf("%s/%s", f->folder, link), *to = xcalloc(64, 1);
    ssize_t n = readlink(path, to, 63);
    to[n > 0 ? n : 0] = '\0';
    free(path);
    return to;
}

static void assert_link(const struct fixture *f, const char *link,
                        const char *target)
{
    char *to = target_of(f, link);
    assert_string_equal(to, target);
    free(to);
}

static bool has_file(const struct fixture *f, const char *name)
{
    char *path = xasprintf("%s/%s", f->folder, name);
    bool has = file_exists(path);
    free(path);
    return has;
}

static void rename_in(const struct fixture *f, const char *from, const char *to)
{
    char *old = xasprintf("%s/%s", f->folder, from);
    char *new = to ? xasprintf("%s/%s", f->folder, to) : NULL;
    assert_int_equal(new ? rename(old, new) : unlink(old), 0);
    free(old);
    free(new);
}

/* Opens a writer, as the start of a run does, with one more checkpoint. */
static void write_one(struct fixture *f, int keep, uint64_t step)
{
    struct checkpoint_writer *w = NULL;
    assert_int_equal(checkpoint_writer_new(&w, f->folder, &f->graph, keep),
                     VD_OK);
    start(w, f, step, false);
    assert_int_equal(checkpoint_writer_wait(w), VD_OK);
    checkpoint_writer_free(w);
}

/* Steps 7 and 10 are marked as the best, 13 is the last. */
static void a_lost_best_link_is_restored(void **state)
{
    (void)state;
    static const char *const damages[] = {"missing", "dangling", "a file",
                                          "only file"};
    for (size_t k = 0; k < 4; k++) {
        struct fixture f;
        struct checkpoint_writer *w = NULL;
        fixture_init(&f);
        assert_int_equal(checkpoint_writer_new(&w, f.folder, &f.graph, 1),
                         VD_OK);
        start(w, &f, 10, true);
        start(w, &f, 13, false);
        assert_int_equal(checkpoint_writer_wait(w), VD_OK);
        checkpoint_writer_free(w);
        assert_link(&f, "best", "step-00000010.h5");
        rename_in(&f, "best", NULL);
        if (!strcmp(damages[k], "dangling"))
            rename_in(&f, "last", "best"); /* its target is removed below */
        else if (!strcmp(damages[k], "a file"))
            write_step(&f, "best", 10, true);
        else if (!strcmp(damages[k], "only file"))
            rename_in(&f, "step-00000010.h5", "best");
        if (!strcmp(damages[k], "dangling"))
            rename_in(&f, "step-00000013.h5", NULL);
        write_one(&f, 1, 14);
        print_message("%s\n", damages[k]);
        assert_link(&f, "best", "step-00000010.h5");
        assert_link(&f, "last", "step-00000014.h5");
        assert_true(has_file(&f, "step-00000010.h5"));
        assert_true(has_file(&f, "step-00000014.h5"));
        assert_false(has_file(&f, "step-00000013.h5"));
        fixture_clear(&f);
    }
}

/* A guard that fails from its nth call on; `ctx` points to n. */
static int n_guard_calls;

static enum vd_err deny_from_nth_call(void *ctx)
{
    return ++n_guard_calls >= *(int *)ctx ? VD_CREATE : VD_OK;
}

static void a_writer_without_ownership_changes_nothing(void **state)
{
    (void)state;
    for (int first = 1; first <= 2; first++) {
        struct fixture f;
        struct checkpoint_writer *w = NULL;
        fixture_init(&f);
        write_one(&f, 9, 8);
        assert_int_equal(checkpoint_writer_new(&w, f.folder, &f.graph, 1),
                         VD_OK);
        n_guard_calls = 0;
        checkpoint_writer_set_guard(w, deny_from_nth_call, &first);
        start(w, &f, 9, true);
        assert_int_equal(checkpoint_writer_wait(w), VD_CREATE);
        checkpoint_writer_free(w);
        assert_int_equal(has_file(&f, "step-00000009.h5"), first == 2);
        assert_link(&f, "last", "step-00000008.h5");
        assert_link(&f, "best", "step-00000007.h5");
        fixture_clear(&f);
    }
}

static void a_damaged_checkpoint_is_not_the_best(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    write_step(&f, "step-00000010.h5", 10, true);
    char *path = checkpoint_path(f.folder, 10);
    assert_int_equal(truncate(path, 5000), 0);
    write_one(&f, 1, 14);
    assert_link(&f, "best", "step-00000007.h5");
    assert_false(file_exists(path));
    free(path);
    fixture_clear(&f);
}

static void user_files_are_not_removed(void **state)
{
    (void)state;
    static const char *const kept[] = {"step-00000004-good.h5", "step-keep.h5",
                                       "step-4.h5", "notes.txt"};
    struct fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        write_step(&f, kept[i], 4, false);
    for (uint64_t step = 8; step < 11; step++)
        write_one(&f, 1, step);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_true(has_file(&f, kept[i]));
    assert_false(has_file(&f, "step-00000009.h5"));
    fixture_clear(&f);
}

static void a_folder_without_links_resolves_to_its_newest(void **state)
{
    (void)state;
    struct fixture f;
    struct checkpoint c;
    fixture_init(&f);
    write_step(&f, "step-00000012.h5", 12, false);
    write_step(&f, "step-keep.h5", 4, false);
    assert_int_equal(checkpoint_open(&c, f.folder, false), VD_OK);
    assert_int_equal(c.step, 12);
    checkpoint_clear(&c);
    fixture_clear(&f);
}

/* A run whose newest file was damaged resumes from an older one. */
static void damaged_newer_checkpoints_do_not_evict_intact_ones(void **state)
{
    (void)state;
    struct fixture f;
    struct checkpoint_writer *w = NULL;
    struct checkpoint c;
    fixture_init(&f);
    write_step(&f, "step-00000007.h5", 7, false); /* not the best */
    char *damaged = xasprintf("%s/step-00000020.h5", f.folder);
    write_bytes(damaged, "nonsense", 8);
    assert_int_equal(checkpoint_writer_new(&w, f.folder, &f.graph, 1), VD_OK);
    start(w, &f, 15, false);
    assert_int_equal(checkpoint_writer_wait(w), VD_OK);
    assert_int_equal(checkpoint_open(&c, f.folder, false), VD_OK);
    assert_int_equal(c.step, 15);
    checkpoint_clear(&c);
    assert_false(file_exists(f.path)); /* step 7 is beyond `keep` */
    start(w, &f, 21, false);
    assert_int_equal(checkpoint_writer_wait(w), VD_OK);
    assert_false(file_exists(damaged)); /* now older than the last one */
    checkpoint_writer_free(w);
    free(damaged);
    fixture_clear(&f);
}

/* Limits the file size of this process, which acts like a full disk. */
static void limit_files(rlim_t bytes)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes < r.rlim_max ? bytes : r.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void a_full_disk_keeps_the_old_checkpoint_and_is_reported(void **state)
{
    (void)state;
    struct fixture f;
    struct checkpoint_writer *w = NULL;
    struct checkpoint c;
    struct file_list list;
    struct check_log log;
    fixture_init(&f);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(checkpoint_writer_new(&w, f.folder, &f.graph, 1), VD_OK);
    check_log_start(&log);
    limit_files(100000);
    assert_int_equal(checkpoint_write(&f.c, &f.graph, "big.h5"), VD_IO);
    check_log_end();
    assert_logged(&log, "big.h5: ");
    assert_logged(&log, "(HDF5: File too large)\n");
    assert_string_equal(strchr(log.text, '\n'), "\n" FILE_WRITE_REMEDY "\n");
    limit_files(100000);
    start(w, &f, 20, true); /* its error is returned by the next call */
    make_checkpoint(&c, &f.graph, 21);
    assert_int_equal(checkpoint_writer_start(w, &c), VD_IO);
    assert_non_null(c.param); /* still the caller's */
    checkpoint_clear(&c);
    start(w, &f, 22, false);
    assert_int_equal(checkpoint_writer_wait(w), VD_IO);
    assert_int_equal(checkpoint_writer_wait(w), VD_OK); /* returned once */
    limit_files(RLIM_INFINITY);
    assert_int_equal(file_list_read(&list, f.folder), VD_OK);
    assert_int_equal(list.n, 1);
    assert_string_equal(list.names[0], "step-00000007.h5");
    file_list_clear(&list);
    assert_false(is_detected(&f));
    start(w, &f, 23, false);
    assert_int_equal(checkpoint_writer_wait(w), VD_OK);
    checkpoint_writer_free(w);
    fixture_clear(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_round_trips),
        cmocka_unit_test(the_digest_covers_every_field),
        cmocka_unit_test(another_graph_is_rejected),
        cmocka_unit_test(damage_is_always_detected),
        cmocka_unit_test(edited_files_are_rejected),
        cmocka_unit_test(only_canonical_names_are_checkpoints),
        cmocka_unit_test(user_copies_are_not_the_newest),
        cmocka_unit_test(the_newest_intact_checkpoint_is_found),
        cmocka_unit_test(links_are_set_and_old_checkpoints_pruned),
        cmocka_unit_test(a_lost_best_link_is_restored),
        cmocka_unit_test(a_writer_without_ownership_changes_nothing),
        cmocka_unit_test(a_damaged_checkpoint_is_not_the_best),
        cmocka_unit_test(user_files_are_not_removed),
        cmocka_unit_test(a_folder_without_links_resolves_to_its_newest),
        cmocka_unit_test(damaged_newer_checkpoints_do_not_evict_intact_ones),
        cmocka_unit_test(a_full_disk_keeps_the_old_checkpoint_and_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
