#include "model/resnet.h"

#include <stdio.h>

#define MIN_SIZE   32
#define MAX_SIZE   1024
#define MAX_WIDTH  512
#define MAX_BLOCKS 64

enum vd_err resnet_check(const struct resnet_spec *spec)
{
    int32_t size = spec->size;
    if (size < MIN_SIZE || size > MAX_SIZE || size % RESNET_STRIDE)
        return VD_FAIL(VD_CONFIG,
                       "images of %d x %d pixels: the network takes "
                       "multiples of %d from %d to %d\n"
                       "pack the data again with --size %d",
                       size, size, RESNET_STRIDE, MIN_SIZE, MAX_SIZE, 224);
    if (spec->width < 1 || spec->width > MAX_WIDTH)
        return VD_FAIL(VD_CONFIG,
                       "model.width %d: must be 1 to %d\n"
                       "ResNet34 has 64",
                       spec->width, MAX_WIDTH);
    for (int i = 0; i < 4; i++) {
        if (spec->blocks[i] < 1 || spec->blocks[i] > MAX_BLOCKS)
            return VD_FAIL(VD_CONFIG,
                           "model.blocks: %d blocks in layer%d, must be 1 to "
                           "%d\nResNet34 has 3,4,6,3",
                           spec->blocks[i], i + 1, MAX_BLOCKS);
    }
    if (!(spec->head_dropout >= 0 && spec->head_dropout < 1))
        return VD_FAIL(VD_CONFIG,
                       "model.head_dropout %g: must be at least 0 and below 1",
                       spec->head_dropout);
    if (spec->loss.classes < 1)
        return VD_FAIL(VD_CONFIG,
                       "data: no classes: the data set has no class names\n"
                       "pack it again");
    return VD_OK;
}

/* "layer1.0.conv1" */
struct layer_name {
    char text[GRAPH_MAX_NAME];
};

static struct layer_name layer_name(int layer, int block, const char *part)
{
    struct layer_name name;
    snprintf(name.text, sizeof name.text, "layer%d.%d.%s", layer, block, part);
    return name;
}

/* Basic residual block: two 3x3 convolutions and a shortcut, which is a 1x1
 * convolution if the shape changes. Nodes are in torchvision's order. */
static int basic_block(struct graph *g, int in, int layer, int block,
                       int32_t width, int32_t stride)
{
    int x = graph_conv(g, in, layer_name(layer, block, "conv1").text, width, 3,
                       stride, 1);
    x = graph_norm(g, x, layer_name(layer, block, "bn1").text);
    x = graph_relu(g, x);
    x = graph_conv(g, x, layer_name(layer, block, "conv2").text, width, 3, 1,
                   1);
    x = graph_norm(g, x, layer_name(layer, block, "bn2").text);
    int shortcut = in;
    if (stride != 1 || g->nodes[in].c != width) {
        shortcut =
            graph_conv(g, in, layer_name(layer, block, "downsample.0").text,
                       width, 1, stride, 0);
        shortcut = graph_norm(g, shortcut,
                              layer_name(layer, block, "downsample.1").text);
    }
    return graph_relu(g, graph_add(g, x, shortcut));
}

/* Returns the head's first node with parameters. */
static int add_resnet_head(struct graph *g, int x,
                           const struct resnet_spec *spec)
{
    x = graph_relu(g, graph_flatten(g, x));
    x = graph_dropout(g, x, spec->head_dropout);
    int first = graph_linear(g, x, "head.fc1", RESNET_HEAD_WIDTH);
    x = graph_norm(g, graph_relu(g, first), "head.bn");
    x = graph_dropout(g, x, spec->head_dropout);
    x = graph_linear(g, x, "head.fc2", 4 + spec->loss.classes);
    struct graph_loss loss = spec->loss;
    loss.size = spec->size;
    graph_loss(g, x, &loss);
    return first;
}

void resnet_build(struct graph *g, const struct resnet_spec *spec)
{
    graph_init(g);
    int x = graph_input(g, spec->size);
    int first[RESNET_FREEZE_BACKBONE + 1]; /* trainable node of each level */
    first[RESNET_FREEZE_NONE] = g->n_nodes;
    x = graph_conv(g, x, "conv1", spec->width, 7, 2, 3);
    x = graph_relu(g, graph_norm(g, x, "bn1"));
    x = graph_maxpool(g, x, 3, 2, 1);
    for (int i = 0; i < 4; i++) {
        first[RESNET_FREEZE_STEM + i] = g->n_nodes;
        for (int k = 0; k < spec->blocks[i]; k++)
            x = basic_block(g, x, i + 1, k, spec->width << i,
                            (i && !k) ? 2 : 1);
    }
    first[RESNET_FREEZE_BACKBONE] = add_resnet_head(g, x, spec);
    graph_finish(g, first[spec->freeze], spec->fixed_norms);
}
