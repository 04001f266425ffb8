/*
 * Tests of backend cpu alone: convolutions of many shapes against ref, the
 * memory plan, reproducible bits, evaluation with changing and shared weights,
 * nets that compute in parallel, and image augmentation against pixels.h.
 */
#include "backend/cases.h"
#include "backend/net_fixture.h"

#include "backend/cpu/cpu_plan.h"
#include "backend/pixels.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "model/resnet.h"

#include <pthread.h>

/* ---- convolutions of the full network, and of odd shapes ---- */

struct shape {
    int32_t size, in, out, kernel, stride, batch;
    bool smooth; /* without ReLU and max pooling: see compare_graph() */
};

/* input -> 1x1 convolution -> norm -> relu -> the convolution -> norm -> relu
 * -> maxpool -> head. With `in` 3 the convolution reads the images directly. */
static void shape_build(struct graph *g, const struct shape *s)
{
    struct graph_loss loss = {
        .size = s->size, .classes = 3, .box_scale = 1, .class_scale = 3};
    graph_init(g);
    int x = graph_input(g, s->size);
    if (s->in != 3) {
        x = graph_norm(g, graph_conv(g, x, "pre", s->in, 1, 1, 0), "prenorm");
        x = s->smooth ? x : graph_relu(g, x);
    }
    x = graph_conv(g, x, "conv", s->out, s->kernel, s->stride, s->kernel / 2);
    x = graph_norm(g, x, "norm");
    if (!s->smooth)
        x = graph_maxpool(g, graph_relu(g, x), 3, 2, 1);
    x = graph_flatten(g, x);
    graph_loss(g, graph_linear(g, x, "head.fc", 7), &loss);
    graph_finish(g, 1, false);
}

static double norm_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* Distance relative to the greater of b's norm and `least`. */
static void compare_shape_tensor(const char *what, const struct shape *s,
                                 const float *a, const float *b, size_t n,
                                 double least)
{
    double sum = 0, norm = norm_of(b, n), tolerance = s->smooth ? 1e-4 : 5e-2;
    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    double distance = sqrt(sum) / fmax(norm, least);
    if (!(distance <= tolerance))
        fail_msg("%d px, %d -> %d, kernel %d/%d, batch %d: %s off by %g",
                 s->size, s->in, s->out, s->kernel, s->stride, s->batch, what,
                 distance);
}

/* Some gradients are 0 apart from rounding (the bias of a norm in front of
 * another norm), so the distance is relative to at least 1 % of the norm of all
 * gradients. */
static void compare_shape_exchange(struct net_fixture *a, struct net_fixture *b,
                                   const struct shape *s)
{
    const struct graph *g = a->graph;
    float *x = net_fixture_get(a, &a->exchange),
          *y = net_fixture_get(b, &b->exchange);
    double all = norm_of(y, g->n_trainable);
    for (int i = 0; i < g->n_param_tensors && g->params[i].trainable; i++) {
        const struct graph_tensor *t = &g->params[i];
        compare_shape_tensor(t->name, s, x + t->offset, y + t->offset, t->count,
                             all * 1e-2);
    }
    compare_shape_tensor("statistics", s, x + g->n_trainable,
                         y + g->n_trainable, g->n_stats, 0);
    free(x);
    free(y);
}

/* If rounding moves a value across the kink of a ReLU or a maximum, the
 * gradient of one element changes completely. So only smooth nets have the
 * strict tolerance. */
static void compare_graph(const struct graph *g, const struct shape *s)
{
    struct net_fixture a, b;
    struct optim optim = net_fixture_adam();
    for (int mode = NET_TRAIN; mode <= NET_EVAL; mode++) {
        net_fixture_open(&a, "cpu", g, s->batch, (enum net_mode)mode, &optim);
        net_fixture_open(&b, "ref", g, s->batch, (enum net_mode)mode, &optim);
        net_fixture_fill(&a, 3);
        net_fixture_fill(&b, 3);
        net_fixture_stage(&a);
        net_fixture_stage(&b);
        if (mode == NET_TRAIN) {
            net_fixture_backward(&a);
            net_fixture_backward(&b);
            compare_shape_exchange(&a, &b, s);
        } else {
            net_fixture_forward(&a);
            net_fixture_forward(&b);
        }
        int last = g->n_nodes - 2;
        float *x = net_fixture_value(&a, last),
              *y = net_fixture_value(&b, last);
        if (x) /* NULL: the memory plan has reused its memory */
            compare_shape_tensor("result", s, x, y,
                                 (size_t)s->batch * (size_t)g->nodes[last].c,
                                 0);
        free(x);
        free(y);
        net_fixture_close(&a);
        net_fixture_close(&b);
    }
}

static void compare_shape(const struct shape *s)
{
    struct graph g;
    shape_build(&g, s);
    compare_graph(&g, s);
    graph_clear(&g);
}

static void convolutions_of_the_full_network_agree_with_ref(void **state)
{
    static const struct shape shapes[] = {
        {224, 3, 64, 7, 2, 2, true},   {56, 64, 64, 3, 1, 2, true},
        {56, 64, 128, 3, 2, 2, true},  {56, 64, 128, 1, 2, 2, true},
        {28, 128, 128, 3, 1, 2, true}, {28, 128, 256, 3, 2, 2, true},
        {14, 256, 256, 3, 1, 4, true}, {14, 256, 512, 3, 2, 2, true},
        {7, 512, 512, 3, 1, 2, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        compare_shape(&shapes[i]);
}

/* The last layers of small images: feature maps smaller than the kernel. */
static void convolutions_of_tiny_maps_agree_with_ref(void **state)
{
    static const struct shape shapes[] = {
        {2, 16, 16, 3, 1, 1, true},   {2, 24, 40, 3, 1, 5, true},
        {1, 64, 64, 3, 1, 16, true},  {2, 32, 64, 3, 2, 8, true},
        {2, 512, 512, 3, 1, 4, true}, {1, 8, 24, 3, 2, 3, true},
        {4, 3, 16, 7, 2, 3, true},    {2, 5, 7, 3, 1, 32, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        compare_shape(&shapes[i]);
}

static void convolutions_of_odd_shapes_agree_with_ref(void **state)
{
    static const int32_t widths[] = {3, 8, 16, 24, 40, 5};
    (void)state;
    for (int i = 0; i < 30; i++) {
        uint32_t word[4];
        rng_words(9, RNG_TEST, (uint64_t)i, 0, word);
        struct shape s = {.size = 8 + (int32_t)(word[0] % 60),
                          .in = widths[word[1] % 6],
                          .out = widths[1 + (word[1] >> 8) % 5],
                          .kernel = word[2] % 3 ? 3 : 1,
                          .stride = 1 + (int32_t)(word[2] >> 8) % 2,
                          .batch = 1 + (int32_t)(word[3] % 5),
                          .smooth = i % 3 > 0};
        compare_shape(&s);
    }
}

/* ---- memory plan ---- */

/* Large enough that values and gradients share memory. */
static void training_in_shared_memory_agrees_with_ref(void **state)
{
    static const struct shape s = {64, 3, 8, 3, 1, 32, false};
    struct graph g;
    (void)state;
    small_net_build(&g, 0.5, RESNET_FREEZE_NONE, false);
    compare_graph(&g, &s);
    graph_clear(&g);
    small_net_build(&g, 0.5, RESNET_FREEZE_LAYER2, true);
    compare_graph(&g, &s);
    graph_clear(&g);
}

/* So many images that evaluation, which keeps no values, shares memory too. */
static void evaluation_in_shared_memory_agrees_with_ref(void **state)
{
    enum { BATCH = 160, STEM = 1 };
    struct result x[BATCH], y[BATCH];
    struct optim optim = net_fixture_adam();
    struct graph g;
    struct net_fixture a, b;
    (void)state;
    small_net_build(&g, 0.5, RESNET_FREEZE_NONE, false);
    net_fixture_open(&a, "cpu", &g, BATCH, NET_EVAL, &optim);
    net_fixture_open(&b, "ref", &g, BATCH, NET_EVAL, &optim);
    net_fixture_fill(&a, 6);
    net_fixture_fill(&b, 6);
    net_fixture_stage(&a);
    net_fixture_stage(&b);
    net_fixture_forward(&a);
    net_fixture_forward(&b);
    net_fixture_results(&a, x);
    net_fixture_results(&b, y);
    assert_null(net_fixture_value(&a, STEM)); /* its memory was reused */
    for (int i = 0; i < BATCH; i++) {
        assert_near((double)x[i].l1, (double)y[i].l1, 1e-3);
        assert_near((double)x[i].ce, (double)y[i].ce, 1e-3);
    }
    net_fixture_close(&a);
    net_fixture_close(&b);
    graph_clear(&g);
}

static void plan_full(struct plan *p, struct graph *g, int batch, bool training)
{
    struct resnet_spec spec = {
        .size = 224,
        .width = 64,
        .blocks = {3, 4, 6, 3},
        .head_dropout = 0.5,
        .loss = {.classes = 20, .box_scale = 1, .class_scale = 25}};
    resnet_build(g, &spec);
    plan_init(p, g, batch, 16, training);
    plan_assign_offsets(p);
}

/* The largest number of elements that are live at the same time: the lower
 * bound of any plan. */
static size_t peak_live_elements(const struct plan *p)
{
    size_t most = 0;
    for (int t = 0; t <= 2 * p->n_units; t++) {
        size_t n = 0;
        for (int i = 0; i < p->n_buffers; i++)
            if (p->buffers[i].first_use <= t && t <= p->buffers[i].last_use)
                n += p->buffers[i].n;
        most = n > most ? n : most;
    }
    return most;
}

/* `limits` are in MB, [batch 32, 4][eval, train]. Each layer1 value that is not
 * kept takes 26 MB. */
static void the_plan_of_the_full_network_is_near_the_lower_bound(void **state)
{
    static const double limits[2][2] = {{129, 704}, {17, 89}};
    (void)state;
    for (int k = 0; k < 2; k++) {
        for (int training = 0; training < 2; training++) {
            struct graph g;
            struct plan p;
            plan_full(&p, &g, k ? 4 : 32, training);
            assert_true(p.arena >= peak_live_elements(&p));
            assert_true((double)p.arena <=
                        1.02 * (double)peak_live_elements(&p));
            assert_true((double)p.arena * 4e-6 <= limits[k][training]);
            plan_clear(&p);
            graph_clear(&g);
        }
    }
}

/* The block's input has another reader after it: the sum must not be computed
 * in place. */
static void a_value_with_later_readers_is_kept(void **state)
{
    static const struct shape s = {16, 3, 16, 3, 1, 2, false};
    struct graph_loss loss = {
        .size = 16, .classes = 3, .box_scale = 1, .class_scale = 3};
    struct graph g;
    (void)state;
    graph_init(&g);
    int x = graph_conv(&g, graph_input(&g, 16), "a", 16, 3, 1, 1);
    x = graph_relu(&g, graph_norm(&g, x, "na"));
    int y = graph_norm(&g, graph_conv(&g, x, "b", 16, 3, 1, 1), "nb");
    y = graph_relu(&g, graph_add(&g, y, x));
    y = graph_flatten(&g, graph_add(&g, y, x));
    graph_loss(&g, graph_linear(&g, y, "head.fc", 7), &loss);
    graph_finish(&g, 1, false);
    compare_graph(&g, &s);
    graph_clear(&g);
}

/* ---- equal bits ---- */

#define STEPS 3

static void net_fixture_set_threads(struct net_fixture *f, enum net_mode mode,
                                    int threads)
{
    struct net_spec spec = {.graph = f->graph,
                            .weights = &f->weights,
                            .micro_batch = f->batch,
                            .mode = mode,
                            .threads = threads,
                            .optim = net_fixture_adam(),
                            .std = {1, 1, 1}};
    f->backend.ops->net_free(f->net);
    f->net = NULL;
    assert_int_equal(f->backend.ops->net_new(&f->backend, &spec, &f->net),
                     VD_OK);
}

/* Canonical parameters after STEPS steps; the caller frees them. */
static float *train(const struct graph *g, int threads)
{
    struct net_fixture f;
    struct result results[4];
    struct optim optim = net_fixture_adam();
    net_fixture_open(&f, "cpu", g, 4, NET_TRAIN, &optim);
    net_fixture_set_threads(&f, NET_TRAIN, threads);
    net_fixture_fill(&f, 21);
    for (uint64_t step = 1; step <= STEPS; step++) {
        f.scalars.step = step;
        net_fixture_stage(&f);
        net_fixture_backward(&f);
        net_fixture_update(&f);
        net_fixture_results(&f, results);
    }
    float *params = net_fixture_get(&f, &f.weights.param);
    net_fixture_close(&f);
    return params;
}

static void a_repeated_run_gives_the_same_bits(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        struct graph g;
        small_net_build(&g, 0.5, RESNET_FREEZE_NONE, false);
        float *x = train(&g, threads), *y = train(&g, threads);
        assert_memory_equal(x, y, g.n_params * sizeof *x);
        free(x);
        free(y);
        graph_clear(&g);
    }
}

/* Norms and optimizer divide their work by shape, not by thread: the batch
 * statistics, which follow forward convolutions, are the same for any number of
 * threads. */
static void statistics_do_not_depend_on_threads(void **state)
{
    struct shape s = {32, 16, 32, 3, 1, 4, false};
    struct graph g;
    struct optim optim = net_fixture_adam();
    float *first = NULL;
    (void)state;
    shape_build(&g, &s);
    for (int threads = 1; threads <= 5; threads++) {
        struct net_fixture f;
        net_fixture_open(&f, "cpu", &g, s.batch, NET_TRAIN, &optim);
        net_fixture_set_threads(&f, NET_TRAIN, threads);
        net_fixture_fill(&f, 8);
        net_fixture_stage(&f);
        net_fixture_backward(&f);
        float *all = net_fixture_get(&f, &f.exchange);
        float *stats = all + g.n_trainable;
        if (first)
            assert_memory_equal(first + g.n_trainable, stats,
                                (g.n_stats + 1) * sizeof *stats);
        else
            first = all;
        if (first != all)
            free(all);
        net_fixture_close(&f);
    }
    free(first);
    graph_clear(&g);
}

/* ---- evaluation ---- */

struct worker {
    struct net_fixture fixture;
    struct result results[3];
    pthread_t thread;
};

static void evaluate(struct net_fixture *f, struct result *results)
{
    for (int i = 0; i < 5; i++) {
        net_fixture_stage(f);
        net_fixture_forward(f);
        net_fixture_results(f, results);
    }
}

static void *worker_main(void *ctx)
{
    struct worker *w = ctx;
    evaluate(&w->fixture, w->results);
    return NULL;
}

static void worker_open(struct worker *w, const struct graph *g, uint64_t seed)
{
    struct optim optim = net_fixture_adam();
    net_fixture_open(&w->fixture, "cpu", g, 3, NET_EVAL, &optim);
    net_fixture_fill(&w->fixture, seed);
}

static void nets_in_parallel_are_independent(void **state)
{
    enum { N = 3 };
    struct worker alone[N], together[N];
    struct graph g;
    (void)state;
    small_net_build(&g, 0.5, RESNET_FREEZE_NONE, false);
    for (uint64_t i = 0; i < N; i++) {
        worker_open(&alone[i], &g, 30 + i);
        worker_open(&together[i], &g, 30 + i);
        evaluate(&alone[i].fixture, alone[i].results);
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(pthread_create(&together[i].thread, NULL, worker_main,
                                        &together[i]),
                         0);
    for (int i = 0; i < N; i++) {
        pthread_join(together[i].thread, NULL);
        assert_memory_equal(alone[i].results, together[i].results,
                            sizeof alone[i].results);
        net_fixture_close(&alone[i].fixture);
        net_fixture_close(&together[i].fixture);
    }
    graph_clear(&g);
}

/* After a change of the weights the net folds and packs them again. */
static void evaluation_follows_the_weights(void **state)
{
    struct graph g;
    struct worker w, fresh;
    struct result before[3];
    (void)state;
    small_net_build(&g, 0, RESNET_FREEZE_NONE, false);
    worker_open(&w, &g, 1);
    evaluate(&w.fixture, before);
    net_fixture_fill(&w.fixture, 2);
    evaluate(&w.fixture, w.results);
    worker_open(&fresh, &g, 2);
    evaluate(&fresh.fixture, fresh.results);
    assert_memory_equal(w.results, fresh.results, sizeof w.results);
    assert_memory_not_equal(w.results, before, sizeof before);
    net_fixture_close(&w.fixture);
    net_fixture_close(&fresh.fixture);
    graph_clear(&g);
}

/* A new NET_EVAL net with the fixture's weights. */
static struct net *new_eval_net(struct net_fixture *f)
{
    struct net *net = NULL;
    struct net_spec spec = {.graph = f->graph,
                            .weights = &f->weights,
                            .micro_batch = f->batch,
                            .mode = NET_EVAL,
                            .threads = 1,
                            .std = {1, 1, 1}};
    assert_int_equal(f->backend.ops->net_new(&f->backend, &spec, &net), VD_OK);
    return net;
}

static void evaluate_once(const struct net_fixture *f, struct net *net,
                          struct result *out)
{
    struct net_fixture other = *f;
    other.net = net;
    net_fixture_stage(&other);
    net_fixture_forward(&other);
    net_fixture_results(&other, out);
}

/* Also if the update changes only the head and the running statistics. */
static void evaluation_follows_an_update(void **state)
{
    static const int freezes[] = {RESNET_FREEZE_NONE, RESNET_FREEZE_BACKBONE};
    struct optim optim = net_fixture_adam();
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct graph g;
        struct net_fixture f;
        struct result before[3], after[3], fresh[3];
        small_net_build(&g, 0, freezes[k], false);
        net_fixture_open(&f, "cpu", &g, 3, NET_TRAIN, &optim);
        net_fixture_fill(&f, 1);
        struct net *old = new_eval_net(&f);
        evaluate_once(&f, old, before);
        net_fixture_stage(&f);
        net_fixture_backward(&f);
        net_fixture_update(&f);
        evaluate_once(&f, old, after);
        struct net *new = new_eval_net(&f);
        evaluate_once(&f, new, fresh);
        assert_memory_equal(after, fresh, sizeof after);
        assert_memory_not_equal(after, before, sizeof after);
        f.backend.ops->net_free(old);
        f.backend.ops->net_free(new);
        net_fixture_close(&f);
        graph_clear(&g);
    }
}

/* Three nets that share one copy of the packed weights. */
struct shared_nets {
    struct net_fixture first;
    struct net *others[2];
    struct result results[3][3];
};

static void shared_nets_open(struct shared_nets *c, const struct graph *g)
{
    struct optim optim = net_fixture_adam();
    net_fixture_open(&c->first, "cpu", g, 3, NET_EVAL, &optim);
    struct net_spec spec = {.graph = g,
                            .weights = &c->first.weights,
                            .micro_batch = 3,
                            .mode = NET_EVAL,
                            .threads = 1,
                            .share_from = c->first.net,
                            .std = {1, 1, 1}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(c->first.backend.ops->net_new(&c->first.backend, &spec,
                                                       &c->others[i]),
                         VD_OK);
}

/* A fixture for net `i`; everything else is that of the first. */
static struct net_fixture shared_nets_fixture(const struct shared_nets *c,
                                              int i)
{
    struct net_fixture f = c->first;
    f.net = i ? c->others[i - 1] : c->first.net;
    return f;
}

struct shared_worker {
    struct net_fixture fixture;
    struct result *results;
    pthread_t thread;
};

static void *shared_worker_main(void *ctx)
{
    struct shared_worker *w = ctx;
    evaluate(&w->fixture, w->results);
    return NULL;
}

static void shared_nets_evaluate(struct shared_nets *c)
{
    struct shared_worker workers[3];
    for (int i = 0; i < 3; i++) {
        workers[i] =
            (struct shared_worker){shared_nets_fixture(c, i), c->results[i], 0};
        assert_int_equal(pthread_create(&workers[i].thread, NULL,
                                        shared_worker_main, &workers[i]),
                         0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(workers[i].thread, NULL);
}

/* All nets evaluate in parallel, right after a change of the weights. */
static void nets_that_share_weights_follow_changes(void **state)
{
    struct graph g;
    struct shared_nets c;
    (void)state;
    small_net_build(&g, 0, RESNET_FREEZE_NONE, false);
    shared_nets_open(&c, &g);
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct worker alone;
        net_fixture_fill(&c.first, seed);
        worker_open(&alone, &g, seed);
        evaluate(&alone.fixture, alone.results);
        shared_nets_evaluate(&c);
        for (int i = 0; i < 3; i++)
            assert_memory_equal(c.results[i], alone.results,
                                sizeof alone.results);
        net_fixture_close(&alone.fixture);
    }
    /* Nets can be freed in any order; the last one frees the packed weights. */
    struct net_fixture first = shared_nets_fixture(&c, 0),
                       last = shared_nets_fixture(&c, 2);
    first.backend.ops->net_free(c.others[0]);
    first.backend.ops->net_free(first.net);
    evaluate(&last, c.results[0]);
    assert_memory_equal(c.results[0], c.results[2], sizeof c.results[2]);
    c.first.net = last.net;
    net_fixture_close(&c.first);
    graph_clear(&g);
}

/* ---- pixels ---- */

static double random_in(int i, uint32_t element, double low, double high)
{
    return low + (high - low) * rng_uniform(17, RNG_TEST, (uint64_t)i, element);
}

static void random_item(struct batch_item *item, int i, int32_t size)
{
    static const uint8_t orders[4][4] = {
        {0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}};
    double angle = random_in(i, 0, -0.3, 0.3), side = size;
    bool flip = i % 2;
    double c = cos(angle), s = sin(angle);
    float warp[6] = {(float)(flip ? -c : c),
                     (float)s,
                     (float)((flip ? side - 1 : 0) + random_in(i, 1, -9, 9)),
                     (float)-s,
                     (float)c,
                     (float)random_in(i, 2, -9, 9)};
    memcpy(item->warp, warp, sizeof warp);
    for (uint32_t k = 0; k < 3; k++)
        item->color[k] = (float)random_in(i, 3 + k, 0.6, 1.4);
    item->color[3] = (float)random_in(i, 6, -0.5, 0.5);
    memcpy(item->order, orders[i % 4], 4);
}

static void pixels_agree_with_the_reference(void **state)
{
    enum { SIZE = 40, N = 12 };
    const float mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};
    struct shape s = {SIZE, 3, 8, 3, 1, N, false};
    struct graph g;
    struct net_fixture f;
    struct optim optim = net_fixture_adam();
    size_t n = (size_t)3 * SIZE * SIZE;
    double *expected = xcalloc(n, sizeof *expected);
    (void)state;
    shape_build(&g, &s);
    net_fixture_open(&f, "cpu", &g, N, NET_EVAL, &optim);
    net_fixture_fill(&f, 4);
    for (int i = 0; i < N - 1; i++)
        random_item(&f.items[i], i, SIZE);
    net_fixture_stage(&f);
    net_fixture_forward(&f);
    float *input = net_fixture_value(&f, 0);
    for (int i = 0; i < N; i++) {
        pixels_to_input(&f.items[i], f.images[i], SIZE, mean, std, expected);
        for (size_t k = 0; k < n; k++)
            assert_near((double)input[(size_t)i * n + k], expected[k],
                        0.2 / 255);
    }
    free(input);
    free(expected);
    net_fixture_close(&f);
    graph_clear(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_of_the_full_network_agree_with_ref),
        cmocka_unit_test(convolutions_of_tiny_maps_agree_with_ref),
        cmocka_unit_test(convolutions_of_odd_shapes_agree_with_ref),
        cmocka_unit_test(training_in_shared_memory_agrees_with_ref),
        cmocka_unit_test(evaluation_in_shared_memory_agrees_with_ref),
        cmocka_unit_test(the_plan_of_the_full_network_is_near_the_lower_bound),
        cmocka_unit_test(a_value_with_later_readers_is_kept),
        cmocka_unit_test(a_repeated_run_gives_the_same_bits),
        cmocka_unit_test(statistics_do_not_depend_on_threads),
        cmocka_unit_test(nets_in_parallel_are_independent),
        cmocka_unit_test(evaluation_follows_the_weights),
        cmocka_unit_test(evaluation_follows_an_update),
        cmocka_unit_test(nets_that_share_weights_follow_changes),
        cmocka_unit_test(pixels_agree_with_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
