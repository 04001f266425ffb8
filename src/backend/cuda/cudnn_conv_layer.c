/* The operations of a network's nodes, and the stem by space-to-depth. */
#include "backend/cuda/cudnn_conv.h"

#include <string.h>

#define STEM_CHANNELS 16 /* 2 x 2 pixels of 3 channels, and 4 of zeros */
#define STEM_KERNEL   4
#define STEM_BORDER   3 /* zero rows above and below the image */

/* The input of `node` as a map: a flattened map is stored with its padding
 * channels, and element-wise nodes keep its order. */
static const struct graph_node *input_map(const struct graph *g,
                                          const struct graph_node *node)
{
    const struct graph_node *in = &g->nodes[node->in[0]];
    while (in->op == GRAPH_FLATTEN || in->op == GRAPH_RELU ||
           in->op == GRAPH_DROPOUT || in->op == GRAPH_NORM)
        in = &g->nodes[in->in[0]];
    return in;
}

static void stem_spec(const struct graph_node *conv, int32_t size,
                      struct conv_spec *out)
{
    VD_ASSERT(conv->kernel == 7 && conv->stride == 2 && conv->pad == 3);
    VD_ASSERT(size % 2 == 0);
    out->h = out->w = size / 2 + STEM_KERNEL - 1;
    out->c = STEM_CHANNELS;
    out->kernel = STEM_KERNEL;
    out->stride = 1;
    out->pad = 0;
}

void conv_spec_of_node(const struct graph *g, int node, int batch,
                       enum conv_stem stem, struct conv_spec *out)
{
    const struct graph_node *n = &g->nodes[node];
    VD_ASSERT(n->op == GRAPH_CONV || n->op == GRAPH_LINEAR);
    const struct graph_node *in =
        n->op == GRAPH_LINEAR ? input_map(g, n) : &g->nodes[n->in[0]];
    int32_t channels = conv_padded_channels(in->c);
    memset(out, 0, sizeof *out);
    out->batch = batch;
    out->out_c = conv_padded_channels(n->c);
    if (n->op == GRAPH_LINEAR) {
        out->h = out->w = out->kernel = out->stride = 1;
        out->c = in->h * in->w * channels;
    } else if (in->op == GRAPH_INPUT && stem == CONV_STEM_SPACE_TO_DEPTH) {
        stem_spec(n, in->h, out);
    } else {
        out->h = in->h;
        out->w = in->w;
        out->c = channels;
        out->kernel = n->kernel;
        out->stride = n->stride;
        out->pad = n->pad;
    }
}

/*
 * Output row o of the 7 x 7 convolution reads rows 2 o - 3 .. 2 o + 3 of the
 * image, 2 o .. 2 o + 6 with the border. Behind them a zero weight completes
 * the 4 pairs of rows o .. o + 3.
 */
size_t conv_stem_pixel(int32_t size, int32_t y, int32_t x, int32_t channel)
{
    int32_t row = y + STEM_BORDER, column = x + STEM_BORDER;
    int32_t pairs = size / 2 + STEM_KERNEL - 1;
    int32_t pair = row / 2 * pairs + column / 2;
    int32_t c = 3 * (2 * (row % 2) + column % 2) + channel;
    return (size_t)pair * STEM_CHANNELS + (size_t)c;
}

size_t conv_stem_weight(int32_t out, int32_t channel, int32_t ky, int32_t kx)
{
    int32_t pair = (out * STEM_KERNEL + ky / 2) * STEM_KERNEL + kx / 2;
    int32_t c = 3 * (2 * (ky % 2) + kx % 2) + channel;
    return (size_t)pair * STEM_CHANNELS + (size_t)c;
}
