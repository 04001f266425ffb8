/* eval/evaluate: every image counts once, the rows have the same bytes at any
 * number of ranks and threads, and padding is not counted. */
#include "mpi_check.h"

#include "eval/evaluate.h"
#include "model/init.h"
#include "model/resnet.h"
#include "tiny.h"

enum { SIZE = 32, N = 11, B = 4 };

struct fixture {
    char *folder;
    struct shard_set data;
    struct backend backend;
    struct graph graph;
    struct weights weights;
};

static void broadcast_folder(struct fixture *f)
{
    char name[4096] = "";
    if (comm.rank == 0) {
        f->folder = check_folder();
        assert_true(tiny_write_shards(f->folder, SIZE, 0, N, -1));
        snprintf(name, sizeof name, "%s", f->folder);
    }
    assert_int_equal(comm_bcast(&comm, SITE_DATA, name, sizeof name, 0), VD_OK);
    if (comm.rank != 0)
        f->folder = xstrdup(name);
}

static void fixture_init(struct fixture *f, const char *backend)
{
    struct resnet_spec spec = {
        .size = SIZE,
        .width = 8,
        .blocks = {1, 1, 1, 1},
        .head_dropout = 0.5,
        .loss = {.classes = TINY_CLASSES, .box_scale = 1, .class_scale = 25}};
    struct backend_config config = {.plugin_dir = PLUGIN_DIR};
    broadcast_folder(f);
    assert_int_equal(shard_set_open(&f->data, f->folder), VD_OK);
    resnet_build(&f->graph, &spec);
    assert_int_equal(backend_open(&f->backend, backend, &config), VD_OK);
    assert_int_equal(weights_alloc(&f->backend, &f->graph, &f->weights), VD_OK);
    float *param = xcalloc(f->graph.n_params, sizeof *param);
    float *stats = xcalloc(f->graph.n_stats, sizeof *stats);
    init_all(&f->graph, 5, param, stats);
    const struct backend_ops *ops = f->backend.ops;
    assert_int_equal(ops->put(&f->backend, &f->graph, &f->weights.param, param),
                     VD_OK);
    assert_int_equal(ops->put(&f->backend, &f->graph, &f->weights.stats, stats),
                     VD_OK);
    f->weights.version++;
    free(param);
    free(stats);
}

static void fixture_clear(struct fixture *f)
{
    weights_free(&f->backend, &f->weights);
    backend_close(&f->backend);
    graph_clear(&f->graph);
    shard_set_close(&f->data);
    assert_int_equal(comm_barrier(&comm, SITE_SHUTDOWN), VD_OK);
    if (comm.rank == 0)
        check_folder_remove(f->folder);
    else
        free(f->folder);
}

/* Evaluates twice with `threads` threads on each rank of `c`. */
static void evaluate(struct fixture *f, struct comm *c, int threads,
                     struct eval_row *rows, struct eval_means *means)
{
    struct net_spec spec = {.graph = &f->graph,
                            .weights = &f->weights,
                            .micro_batch = B,
                            .mode = NET_EVAL,
                            .threads = threads,
                            .std = {1, 1, 1}};
    struct eval_summary summary = {0};
    struct evaluator *e = evaluator_new(&f->backend, &spec, &f->data);
    for (int pass = 0; pass < 2; pass++) { /* an evaluator is reusable */
        eval_summary_clear(&summary);
        assert_int_equal(evaluator_run(e, c, rows, &summary), VD_OK);
    }
    *means = summary.means;
    int64_t n = 0, predicted = 0;
    for (int k = 0; k < summary.n_classes; k++) {
        n += summary.classes[k].n;
        predicted += summary.classes[k].predicted;
    }
    assert_int_equal(n, N);
    assert_int_equal(predicted, N);
    eval_summary_clear(&summary);
    evaluator_free(e);
}

/* Reference: one batch after the other on this rank, without the evaluator. */
static void compute_expected(struct fixture *f, struct result *out)
{
    const struct backend_ops *ops = f->backend.ops;
    struct net_spec spec = {.graph = &f->graph,
                            .weights = &f->weights,
                            .micro_batch = B,
                            .mode = NET_EVAL,
                            .threads = 1,
                            .std = {1, 1, 1}};
    struct net *net = NULL;
    static uint8_t memory[B][SIZE * SIZE * 3];
    assert_int_equal(ops->net_new(&f->backend, &spec, &net), VD_OK);
    for (size_t first = 0; first < N; first += B) {
        struct batch_item items[B];
        struct result results[B];
        const uint8_t *pixels[B] = {NULL};
        bool replayed;
        for (size_t i = 0; i < B; i++) {
            size_t k = first + i;
            items[i] = (struct batch_item){.index = -1,
                                           .warp = {1, 0, 0, 0, 1, 0},
                                           .color = {1, 1, 1, 0},
                                           .order = {0, 1, 2, 3}};
            if (k >= N)
                continue;
            items[i].index = (int64_t)k;
            items[i].class = f->data.class[k];
            memcpy(items[i].box, &f->data.box[4 * k], 16);
            assert_int_equal(shard_set_read(&f->data, k, memory[i]), VD_OK);
            pixels[i] = memory[i];
        }
        struct batch batch = {.items = items, .pixels = pixels};
        assert_int_equal(ops->stage(net, &batch), VD_OK);
        assert_int_equal(ops->begin(net, 0, &replayed), VD_OK);
        if (!replayed)
            assert_int_equal(ops->forward(net), VD_OK);
        assert_int_equal(ops->end(net), VD_OK);
        assert_int_equal(ops->results(net, results), VD_OK);
        for (size_t i = 0; i < B && first + i < N; i++)
            out[first + i] = results[i];
    }
    ops->net_free(net);
}

static void check_rows(const char *backend)
{
    struct fixture f;
    struct result expected[N];
    fixture_init(&f, backend);
    compute_expected(&f, expected);
    for (int threads = 1; threads <= 3; threads++) {
        struct eval_row rows[N];
        struct eval_means means;
        memset(rows, 0xaa, sizeof rows);
        evaluate(&f, &comm, threads, comm.rank == 0 ? rows : NULL, &means);
        double l1 = 0, ce = 0;
        for (int i = 0; i < N; i++) {
            l1 += (double)expected[i].l1;
            ce += (double)expected[i].ce;
            if (comm.rank != 0)
                continue;
            assert_int_equal(rows[i].index, i);
            assert_memory_equal(&rows[i].result, &expected[i],
                                sizeof expected[i]);
        }
        /* every rank has the summary, which excludes padding */
        assert_int_equal(means.n, N);
        assert_true(means.l1 == l1 / (double)N);
        assert_true(means.ce == ce / (double)N);
    }
    fixture_clear(&f);
}

static void rows_are_the_same_for_all_ranks_and_threads(void **state)
{
    (void)state;
    check_rows("ref");
}

/* The backend has one net at a time, however many threads there are. */
static void rows_are_the_same_on_a_device(void **state)
{
    (void)state;
    check_rows("deferred");
}

static void all_ranks_agree_on_a_damaged_image(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, "ref");
    if (comm.rank == 0) {
        struct shard_object o;
        uint8_t pixels[SIZE * SIZE * 3];
        char *bytes = NULL, *path = xasprintf("%s/shard-00000.h5", f.folder);
        size_t n = 0;
        tiny_image(pixels, SIZE, N - 1, &o);
        assert_int_equal(file_read(path, 1 << 20, &bytes, &n), VD_OK);
        char *at = memmem(bytes, n, pixels, sizeof pixels);
        assert_non_null(at);
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        fseek(file, at - bytes, SEEK_SET);
        fputc(pixels[0] ^ 1, file);
        fclose(file);
        free(bytes);
        free(path);
    }
    assert_int_equal(comm_barrier(&comm, SITE_DATA), VD_OK);
    struct net_spec spec = {.graph = &f.graph,
                            .weights = &f.weights,
                            .micro_batch = B,
                            .mode = NET_EVAL,
                            .threads = 1,
                            .std = {1, 1, 1}};
    struct eval_summary summary = {0};
    struct eval_row rows[N];
    struct check_log log;
    struct evaluator *e = evaluator_new(&f.backend, &spec, &f.data);
    check_log_start(&log);
    assert_int_equal(evaluator_run(e, &comm, rows, &summary), VD_DATA);
    check_log_end();
    if (comm.rank == 2 % comm.size) /* computes batch 2 */
        assert_logged(&log, "tiny_0010");
    evaluator_free(e);
    fixture_clear(&f);
}

/* A NaN in the outputs for box or class: rank 0 alone reports it, with the
 * first image in data order. */
static void non_finite_outputs_are_rejected(void **state)
{
    (void)state;
    static const size_t at[] = {0, 5}; /* in head.fc2.bias: box, class */
    for (size_t k = 0; k < sizeof at / sizeof *at; k++) {
        struct fixture f;
        struct eval_summary summary = {0};
        struct eval_row rows[N];
        struct check_log log;
        fixture_init(&f, "ref");
        const struct backend_ops *ops = f.backend.ops;
        const struct graph *g = &f.graph;
        float *param = xcalloc(g->n_params, sizeof *param);
        assert_int_equal(ops->get(&f.backend, g, param, &f.weights.param),
                         VD_OK);
        int bias = graph_find_param(g, "head.fc2.bias");
        param[g->params[bias].offset + at[k]] = NAN;
        assert_int_equal(ops->put(&f.backend, g, &f.weights.param, param),
                         VD_OK);
        f.weights.version++;
        struct net_spec spec = {.graph = g,
                                .weights = &f.weights,
                                .micro_batch = B,
                                .mode = NET_EVAL,
                                .threads = 2,
                                .std = {1, 1, 1}};
        struct evaluator *e = evaluator_new(&f.backend, &spec, &f.data);
        check_log_start(&log);
        assert_int_equal(evaluator_run(e, &comm, rows, &summary), VD_NUMERIC);
        check_log_end();
        assert_null(summary.classes);
        assert_int_equal(comm.agreed_err, VD_NUMERIC);
        if (comm.rank == 0) {
            assert_logged(&log, "image tiny_0000: the network's outputs");
            assert_logged(&log, "11 of 11 images have such outputs");
        } else
            assert_string_equal(log.text, "");
        free(param);
        evaluator_free(e);
        fixture_clear(&f);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(rows_are_the_same_for_all_ranks_and_threads),
    cmocka_unit_test(rows_are_the_same_on_a_device),
    cmocka_unit_test(all_ranks_agree_on_a_damaged_image),
    cmocka_unit_test(non_finite_outputs_are_rejected),
};

MPI_CHECK_MAIN(tests)
