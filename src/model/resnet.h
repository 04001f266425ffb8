/*
 * The network: a ResNet of basic blocks with torchvision's tensor names, and a
 * head that predicts box and class.
 *
 *     conv1 7x7/2, bn1, relu, maxpool 3x3/2              width
 *     layer1 .. layer4: blocks[i] basic blocks           width << i
 *     flatten, relu, dropout, head.fc1 (256), relu,
 *     head.bn, dropout, head.fc2 (4 + classes), loss
 *
 * width 64, blocks 3 4 6 3 is torchvision's resnet34. Local.
 */
#ifndef VOCDIST_MODEL_RESNET_H
#define VOCDIST_MODEL_RESNET_H

#include "model/graph.h"

#define RESNET_HEAD_WIDTH 256
#define RESNET_STRIDE     32 /* input pixels per feature */

/* All layers from the input up to and including this one are frozen. */
enum resnet_freeze {
    RESNET_FREEZE_NONE,
    RESNET_FREEZE_STEM,
    RESNET_FREEZE_LAYER1,
    RESNET_FREEZE_LAYER2,
    RESNET_FREEZE_LAYER3,
    RESNET_FREEZE_BACKBONE,
};

struct resnet_spec {
    int32_t size;  /* of the square input image, pixels */
    int32_t width; /* channels of the stem and of layer1 */
    int32_t blocks[4];
    double head_dropout; /* rate of both dropout nodes, 0 <= rate < 1 */
    enum resnet_freeze freeze;
    bool fixed_norms; /* frozen norms use running statistics in training */
    struct graph_loss loss; /* loss.size is set from `size` */
};

/* VD_CONFIG, with the option to change, if resnet_build() cannot build it. */
enum vd_err resnet_check(const struct resnet_spec *spec) VD_MUST_USE;

/* Builds the finished graph of a checked spec; the caller clears `g`. */
void resnet_build(struct graph *g, const struct resnet_spec *spec);

#endif
