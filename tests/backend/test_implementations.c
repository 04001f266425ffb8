/*
 * oneDNN must not select its reference implementation for any layer, for the
 * usual widths, image sizes and micro-batches. The test only creates primitive
 * descriptors, so hundreds of networks take seconds. It is skipped if oneDNN
 * uses no AVX2.
 */
#include "check.h"

#include "backend/cpu/cpu_net.h"
#include "model/resnet.h"

#define MAX_BATCH 32

static const char *const direction_names[] = {"forward", "backward data",
                                              "backward weights"};

struct implementation_count {
    int n_queried, n_reference;
};

/* Adds the units of one network to the counts and prints the slow ones. */
static void count_implementations(const struct net *net, int size, int width,
                                  struct implementation_count *t)
{
    for (int i = 0; i < net->plan.n_units; i++) {
        for (int d = 0; d < DNN_DIRECTIONS; d++) {
            const char *name =
                unit_implementation(&net->units[i], (enum dnn_direction)d);
            if (!name)
                continue;
            t->n_queried++;
            if (!dnn_is_reference(name))
                continue;
            t->n_reference++;
            print_error("%d px, width %d, batch %d, %s: %s, %s: %s\n", size,
                        width, net->spec.micro_batch,
                        net->spec.mode == NET_TRAIN ? "train" : "eval",
                        unit_name(&net->plan, i), direction_names[d], name);
        }
    }
}

static void count_all_batches(const struct graph *g, int size, int width,
                              struct implementation_count *t)
{
    for (int batch = 1; batch <= MAX_BATCH; batch++) {
        for (int mode = NET_TRAIN; mode <= NET_EVAL; mode++) {
            struct net *net = NULL;
            struct net_spec spec = {.graph = g,
                                    .micro_batch = batch,
                                    .mode = (enum net_mode)mode,
                                    .threads = 1};
            assert_int_equal(net_prepare(&spec, &net), VD_OK);
            count_implementations(net, size, width, t);
            cpu_net_free(net);
        }
    }
}

/* One block per layer has all shapes of the full network. */
static void no_layer_is_computed_by_reference_loops(void **state)
{
    static const int widths[] = {8, 16, 32, 64};
    static const int sizes[] = {32, 64, 96, 224, 640};
    struct implementation_count t = {0};
    char text[80];
    (void)state;
    dnn_describe(text, sizeof text);
    if (dnn_vector_bits() == 0) {
        print_message("%s: no AVX2 in effect\n", text);
        skip();
    }
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            struct graph g;
            struct resnet_spec spec = {
                .size = sizes[s],
                .width = widths[w],
                .blocks = {1, 1, 1, 1},
                .loss = {.classes = 20, .box_scale = 1, .class_scale = 25}};
            resnet_build(&g, &spec);
            count_all_batches(&g, sizes[s], widths[w], &t);
            graph_clear(&g);
        }
    }
    print_message("%s: %d of %d by reference loops\n", text, t.n_reference,
                  t.n_queried);
    assert_true(t.n_queried > 20000);
    assert_int_equal(t.n_reference, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_layer_is_computed_by_reference_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
