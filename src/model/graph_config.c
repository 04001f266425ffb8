#include "model/graph_config.h"

#include "model/resnet.h"

#include <stdbool.h>

static const enum resnet_freeze freezes[] = {
    [FREEZE_AUTO] = RESNET_FREEZE_NONE,
    [FREEZE_NONE] = RESNET_FREEZE_NONE,
    [FREEZE_STEM] = RESNET_FREEZE_STEM,
    [FREEZE_LAYER1] = RESNET_FREEZE_LAYER1,
    [FREEZE_LAYER2] = RESNET_FREEZE_LAYER2,
    [FREEZE_LAYER3] = RESNET_FREEZE_LAYER3,
    [FREEZE_BACKBONE] = RESNET_FREEZE_BACKBONE,
};

enum vd_err graph_from_config(const struct config *config, int n_classes,
                              int32_t size, struct graph *graph)
{
    struct resnet_spec spec = {
        .size = size,
        .width = (int32_t)config->model.width,
        .head_dropout = config->model.head_dropout,
        .freeze = freezes[config->model.freeze],
        .fixed_norms = config->model.freeze_bn == FREEZE_BN_EVAL,
        .loss = {.classes = n_classes,
                 .box_scale = config->loss.box_scale,
                 .class_scale = config->loss.class_scale},
    };
    for (int i = 0; i < 4; i++)
        spec.blocks[i] = (int32_t)config->model.blocks.values[i];
    VD_TRY(resnet_check(&spec));
    resnet_build(graph, &spec);
    return VD_OK;
}

/* ImageNet's, as torchvision documents them for its pretrained weights. */
void normalization_from_config(const struct config *config, float mean[3],
                               float std[3])
{
    const float imagenet_mean[3] = {0.485f, 0.456f, 0.406f};
    const float imagenet_std[3] = {0.229f, 0.224f, 0.225f};
    bool imagenet = config->data.normalize == NORMALIZE_IMAGENET;
    for (int k = 0; k < 3; k++) {
        mean[k] = imagenet ? imagenet_mean[k] : 0;
        std[k] = imagenet ? imagenet_std[k] : 1;
    }
}
